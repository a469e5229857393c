"""Color histograms and raw pixels beside loops over pixels; thumbnails."""

import numpy as np
import pytest

from simclr_keras.data.sources.source import ArrayStore, RowIds, Source
from simclr_keras.errors import InputError
from simclr_keras.evaluation.simple_features import color_histograms, raw_pixels, thumbnails_of

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), np.uint8)


def slow_histogram(image, bins):
    """Twin: one pixel at a time into a cube of cells."""
    counts = np.zeros([bins] * 3)
    for pixel in image.reshape(-1, 3):
        counts[tuple(int(value / 256 * bins) for value in pixel)] += 1
    return (counts / counts.sum()).ravel()


@pytest.mark.parametrize("bins", [1, 3, 8])
def test_histograms_are_shares_of_pixels(bins):
    expected = [slow_histogram(image, bins) for image in IMAGES]
    np.testing.assert_allclose(color_histograms(IMAGES, bins), expected, rtol=1e-6)
    np.testing.assert_array_equal(color_histograms(IMAGES / 255, bins), color_histograms(IMAGES, bins))


def test_raw_pixels_are_in_order_and_scaled():
    expected = [[value / 255 for value in image.ravel().tolist()] for image in IMAGES]
    np.testing.assert_allclose(raw_pixels(IMAGES), expected, rtol=1e-6)
    np.testing.assert_allclose(raw_pixels(IMAGES / 255), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "images", [IMAGES[0], IMAGES.astype(int), IMAGES * 1.0, np.full([1, 2, 2, 3], np.nan)]
)
def test_other_images_are_refused(images):
    for features in (color_histograms, raw_pixels):
        with pytest.raises(InputError, match="images must be"):
            features(images)
    with pytest.raises(InputError, match="bins=0"):
        color_histograms(IMAGES, 0)


def test_thumbnails_are_antialiased():
    """Or fine patterns, which move by a pixel, make the photos of a burst differ more."""
    checkerboard = np.uint8(255 * (np.indices((96, 96)).sum(0) % 2))[None, ..., None].repeat(3, -1)
    thumbnails = thumbnails_of(Source("board", ArrayStore(checkerboard), RowIds("board", 1)), side=32)
    assert thumbnails.shape == (1, 32, 32, 3)
    assert np.abs(thumbnails[:, 2:-2, 2:-2].astype(float) - 127.5).max() < 20
