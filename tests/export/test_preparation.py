"""The NumPy and Pillow code in an export's README gives what the network's own preprocessing gives."""

import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras import preprocess
from simclr_keras.export import preparation
from simclr_keras.preprocess import CROP_PROPORTION

TOLERANCE = 1e-3  # as the README states
LEVEL = 1 / 255


def prepare_of(size, antialias, proportion=CROP_PROPORTION):
    """The function in the README of such an export."""
    how = {"crop_proportion": proportion, "antialias": antialias}
    text = preparation.images_section({"image_size": size, "preprocessing": how, "files": []})
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    return names["prepare"]


def view_of(path, size, antialias):
    image = preprocess.decode(tf.io.read_file(str(path)))
    return preprocess.evaluation_view(image, size, antialias=antialias).numpy()


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Paths of PNGs of several shapes: the hardest images for an interpolation."""
    folder, random = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    paths = []
    for height, width in ((130, 171), (171, 40), (9, 200)):
        paths.append(folder / f"{height}x{width}.png")
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(paths[-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(paths[0]) as image:
        paths.append(folder / "exif.png")
        image.save(paths[-1], exif=exif)
    for most in (256, 65536):
        paths.append(folder / f"deep{most}.png")
        Image.fromarray(random.integers(0, most, (80, 90), np.uint16)).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """Path of a JPEG with an edge, turned by its EXIF."""
    y, x = np.mgrid[0:120, 0:150]
    pixels = np.stack([x, y * 2, np.where(x + y > 130, 220, 30)], axis=-1).astype(np.uint8)
    path, exif = tmp_path_factory.mktemp("photo") / "a.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    return path


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("size", "proportion"), [(40, CROP_PROPORTION), (16, None)])
def test_the_readme_code_prepares_as_the_network(noise, photo, size, proportion, antialias):
    prepare = prepare_of(size, antialias, proportion)
    for path in noise:
        expected = view_of(path, size, antialias)
        prepared = prepare(path)
        assert (prepared.dtype, prepared.shape) == (np.float32, (size, size, 3))
        assert np.abs(prepared - expected).max() <= TOLERANCE, path
    assert np.abs(prepare(photo) - view_of(photo, size, antialias)).max() <= 5 * LEVEL  # two JPEG decoders


def test_antialiasing_is_that_of_pillow_up_to_its_rounding(photo):
    image = Image.fromarray(preprocess.decode(tf.io.read_file(str(photo))).numpy())
    side = round(CROP_PROPORTION * min(image.size))
    left, top = ((length - side + 1) // 2 for length in image.size)
    resized = image.crop((left, top, left + side, top + side)).resize((40, 40), Image.BICUBIC)
    gaps = {
        antialias: np.abs(np.asarray(resized) * LEVEL - view_of(photo, 40, antialias)).mean()
        for antialias in (False, True)
    }
    assert gaps[True] < 0.4 * LEVEL < gaps[False]


def test_the_words_state_what_the_network_does():
    for antialias, words in ((False, "It does not antialias"), (True, "It antialiases")):
        how = {"crop_proportion": 0.875, "antialias": antialias, "encoder_range": [0, 255]}
        files = [{"decode_images": True}]
        text = preparation.images_section({"image_size": 96, "preprocessing": how, "files": files})
        for part in (
            words,
            "central 87.5%",
            "96 x 96",
            "range that its encoder takes, 0 to 255",
            "_from_bytes",
        ):
            assert part in text
