"""Features that need no training, made of thumbnails: color histograms and raw pixels, the baselines of networks."""

import numpy as np

from simclr_keras.data import pipeline
from simclr_keras.errors import InputError

THUMBNAIL_SIDE = 64  # pixels, at which the thresholds of `near_duplicates` were measured
_BATCH = 256  # thumbnails that are in memory at once as floats


def thumbnails_of(source, side: int = THUMBNAIL_SIDE) -> np.ndarray:
    """Return the images of a Source with the evaluation preprocessing and antialiasing, uint8 [n, side, side, 3].

    Without antialiasing, fine patterns make the photos of a burst differ more.

    Args:
        source: Source or StreamSource of n images. side: in pixels, at least 8.
    """
    settings = {"image_size": side, "batch_size": _BATCH, "antialias": True}
    batches = pipeline.eval_batches(source, **settings) if len(source) else ()
    parts = [np.rint(255 * batch["image"].numpy()).astype(np.uint8) for batch in batches]
    return np.concatenate(parts) if parts else np.zeros([0, side, side, 3], np.uint8)


def color_histograms(images: np.ndarray, bins: int = 8) -> np.ndarray:
    """Return the joint RGB histogram of every image.

    >>> import numpy as np
    >>> color_histograms(np.zeros([1, 4, 4, 3], np.uint8), bins=2)
    array([[1., 0., 0., 0., 0., 0., 0., 0.]], dtype=float32)

    Args:
        images: uint8 or floats in [0, 1], [n, height, width, 3].
        bins: of each color, in 1 .. 256; equally wide.

    Returns:
        float32 [n, bins ** 3]: shares of the pixels in (red, green, blue), blue fastest; every row sums to 1.

    Raises:
        InputError: no such images, or no such number of bins.
    """
    images = check_images(images)
    if not 1 <= bins <= 256:
        raise InputError(f"a color histogram needs 1 to 256 bins. Received: bins={bins}")
    shares = np.zeros((len(images), bins**3), np.float32)
    for row, image in enumerate(images):
        levels = image if image.dtype == np.uint8 else np.rint(image * 255)
        cells = (levels.astype(np.int64) * bins // 256) @ (bins**2, bins, 1)
        shares[row] = np.bincount(cells.ravel(), minlength=bins**3) / cells.size
    return shares


def raw_pixels(images: np.ndarray) -> np.ndarray:
    """Return the pixels of every image as one row.

    >>> import numpy as np
    >>> raw_pixels(np.full([2, 4, 4, 3], 255, np.uint8)).shape
    (2, 48)

    Args:
        images: uint8 or floats in [0, 1], [n, height, width, 3].

    Returns:
        float32 [n, height * width * 3], in [0, 1].

    Raises:
        InputError: no such images.
    """
    images = check_images(images)
    scale = 255 if images.dtype == np.uint8 else 1
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(scale)


def check_images(images: np.ndarray) -> np.ndarray:
    """Return images, [n, height, width, 3], if they are uint8 or floats in [0, 1].

    Raises:
        InputError: they are not.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
        raise InputError(f"images must be [n, height, width, 3]. Received: shape {images.shape}")
    if images.dtype == np.uint8:
        return images
    # NaN is in no range.
    if not np.issubdtype(images.dtype, np.floating) or not np.all((images >= 0) & (images <= 1)):
        raise InputError(
            f"images must be uint8, or floats in [0, 1]. Received: {images.dtype} of other values"
        )
    return images
