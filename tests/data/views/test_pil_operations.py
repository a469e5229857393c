"""Each operation against PIL itself, level by level."""

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
    "rotate": lambda image, v: image.rotate(v, fillcolor=GRAY),
    "invert": lambda image, _: ImageOps.invert(image),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "solarize": lambda image, v: ImageOps.solarize(image, v),
    "posterize": lambda image, v: ImageOps.posterize(image, int(v)),
    "color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    "sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
}
STRENGTHS = {
    "shear_x": [-0.3, -0.1, 0.0, 0.17, 0.3],
    "rotate": [-30.0, -80 / 3, 0.0, 10.0, 30.0],
    "solarize": [0.0, 1.0, 113.8, 128.0, 255.0, 256.0],
    "posterize": [1, 2, 4, 5, 6, 7, 8],
    "color": [0.0, 0.1, 0.5, 1.0, 1.4, 1.9],
    "contrast": [0.0, 0.1, 0.5, 1.0, 1.4, 1.9],
    "sharpness": [0.0, 0.1, 0.5, 1.0, 1.4, 1.9],
}
# PIL's C compiler may fuse the product and the sum of a blend, which can turn the level a truncation gives.
BLENDS = ("color", "contrast", "sharpness")


@pytest.mark.slow
def test_operations_equal_pil():
    offenders = []
    for name in PIL:
        operation = tf.function(getattr(pil_operations, name), autograph=False)
        for size in (8, 33):
            images = _images(size)
            for strength in STRENGTHS.get(name, [0.0]):
                strength = np.float32(strength)
                views = operation(images, tf.fill([len(images)], strength)).numpy()
                expected = np.stack([PIL[name](Image.fromarray(image), float(strength)) for image in images])
                difference = np.abs(views.astype(int) - expected)
                most, mean = (1, 1e-3) if name in BLENDS else (0, 0)
                if views.dtype != np.uint8 or difference.max() > most or difference.mean() > mean:
                    offenders.append((name, size, strength, difference.max(), difference.mean()))
    assert not offenders


def test_every_image_has_its_own_strength():
    offenders = []
    for name, strengths in STRENGTHS.items():
        images = np.stack([_images(33)[0]] * len(strengths))
        strengths = np.array(strengths, np.float32)
        together = getattr(pil_operations, name)(images, tf.constant(strengths)).numpy()
        for image, strength, view in zip(images, strengths, together):
            alone = getattr(pil_operations, name)(image[None], tf.constant([strength])).numpy()[0]
            if np.any(view != alone):
                offenders.append((name, strength))
        if len(np.unique(together.reshape(len(images), -1), axis=0)) != len(images):
            offenders.append((name, "equal for two strengths"))
    assert not offenders


def test_an_empty_batch_stays_empty():
    none = tf.zeros([0, 16, 16, 3], tf.uint8)
    shapes = {name: getattr(pil_operations, name)(none, tf.zeros([0])).shape for name in PIL}
    assert set(map(tuple, shapes.values())) == {(0, 16, 16, 3)}


@pytest.mark.slow
def test_smoothing_equals_pil():
    image = _images(33)[0]
    smooth = np.asarray(Image.fromarray(image).filter(ImageFilter.SMOOTH))
    np.testing.assert_array_equal(pil_operations.sharpness(image[None], tf.zeros([1]))[0], smooth)
