"""Each operation against PIL itself, level for level."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from simclr_keras.data.views import pil_operations

GRAY = (128, 128, 128)


def _images(size):
    """Noise, a smooth picture, one of few levels, one of a narrow range, planes, one bright pixel, black and white."""
    rng = np.random.default_rng(size)
    y, x = np.mgrid[:size, :size]
    waves = 128 + 127 * np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)], axis=-1)
    noise = rng.integers(0, 256, (size, size, 3))
    bright = np.zeros((size, size, 3))
    bright[2, 3] = 255, 17, 0
    return np.stack(
        [
            noise,
            waves,
            noise // 90 * 90,
            100 + noise // 16,
            np.broadcast_to([7, 200, 255], noise.shape),
            bright,
            255 * (noise > 127),
        ]
    ).astype(np.uint8)


def _moved(image, *coefficients):
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, fillcolor=GRAY)


PIL = {
    "shear_x": lambda image, v: _moved(image, 1, v, 0, 0, 1, 0),
    "shear_y": lambda image, v: _moved(image, 1, 0, 0, v, 1, 0),
    "translate_x": lambda image, v: _moved(image, 1, 0, v, 0, 1, 0),
    "translate_y": lambda image, v: _moved(image, 1, 0, 0, 0, 1, v),
    "rotate": lambda image, v: image.rotate(v, fillcolor=GRAY),
    "invert": lambda image, _: ImageOps.invert(image),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "solarize": lambda image, v: ImageOps.solarize(image, v),
    "posterize": lambda image, v: ImageOps.posterize(image, int(v)),
    "color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    "brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    "sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
}
STRENGTHS = {
    "shear_x": [-0.3, -0.1, 0.0, 0.17, 0.3],
    "shear_y": [-0.3, -0.1, 0.0, 0.17, 0.3],
    "translate_x": [-9.0, -2.7, 0.0, 3.0, 200.0],
    "translate_y": [-9.0, -2.7, 0.0, 3.0, 200.0],
    "rotate": [-30.0, -80 / 3, 0.0, 10.0, 30.0],
    "solarize": [0.0, 1.0, 113.8, 128.0, 255.0, 256.0],
    "posterize": [1, 2, 4, 5, 6, 7, 8],
    "color": [0.0, 0.1, 0.5, 1.0, 1.4, 1.9],
    "contrast": [0.0, 0.1, 0.5, 1.0, 1.4, 1.9],
    "brightness": [0.0, 0.1, 0.5, 1.0, 1.4, 1.9],
    "sharpness": [0.0, 0.1, 0.5, 1.0, 1.4, 1.9],
}
# PIL's C compiler may fuse the product and the sum of a blend, which can turn the level a truncation gives.
BLENDS = ("color", "contrast", "brightness", "sharpness")


@pytest.mark.parametrize("size", [8, 33, 100])
@pytest.mark.parametrize("name", PIL)
def test_an_operation_gives_what_pil_gives(name, size):
    images = _images(size)
    operation = tf.function(getattr(pil_operations, name))
    for strength in STRENGTHS.get(name, [0.0]):
        strength = np.float32(strength)
        found = operation(images, tf.fill([len(images)], strength)).numpy()
        expected = np.stack([PIL[name](Image.fromarray(image), float(strength)) for image in images])
        assert found.dtype == np.uint8
        difference = np.abs(found.astype(int) - expected)
        if name in BLENDS:
            assert difference.max() <= 1
            assert difference.mean() < 1e-3
        else:
            assert difference.max() == 0


@pytest.mark.parametrize("name", STRENGTHS)
def test_every_image_has_a_strength_of_its_own(name):
    images = np.stack([_images(33)[0]] * len(STRENGTHS[name]))
    strengths = np.array(STRENGTHS[name], np.float32)
    together = getattr(pil_operations, name)(images, tf.constant(strengths)).numpy()
    for image, strength, found in zip(images, strengths, together):
        alone = getattr(pil_operations, name)(image[None], tf.constant([strength])).numpy()[0]
        np.testing.assert_array_equal(found, alone)
    assert len(np.unique(together.reshape(len(images), -1), axis=0)) == len(images)


@pytest.mark.parametrize("name", PIL)
def test_no_images_are_no_images(name):
    none = tf.zeros([0, 16, 16, 3], tf.uint8)
    assert getattr(pil_operations, name)(none, tf.zeros([0])).shape == (0, 16, 16, 3)


def test_the_smoothing_is_pils_filter():
    image = _images(33)[0]
    smooth = np.asarray(Image.fromarray(image).filter(ImageFilter.SMOOTH))
    np.testing.assert_array_equal(pil_operations.sharpness(image[None], tf.zeros([1]))[0], smooth)
