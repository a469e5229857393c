"""Groups of near duplicates, such as photos of one burst: images whose features point in almost one direction."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from simclr_keras.errors import InputError
from simclr_keras.evaluation.simple_features import check_images

THUMBNAIL_SIZE = 8
# On 732 photos of fruit in shops (14 classes, with bursts), above 0.8: 19 pairs of one class, all of the same shelf or
# hand moments apart, and no pair of two classes. Above 0.75: 33 and 12, dark and bright halves being alike.
THUMBNAIL_THRESHOLD = 0.8
_MOST_PAIRS = 16 * 1024**2  # similarities in memory at once, of 64 MB


def near_duplicate_groups(features: np.ndarray, threshold: float = THUMBNAIL_THRESHOLD) -> np.ndarray:
    """Return a group number for every row: the connected components of similar pairs.

    Two rows are similar if the cosine of their features is above the threshold. A row of zeros is similar to none.
    Memory beyond the features stays bounded; time grows with the square of n.

    >>> import numpy as np
    >>> near_duplicate_groups(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1]]))
    array([0, 1, 0])

    Args:
        features: finite floats [n, d].
        threshold: in [-1, 1).

    Returns:
        int64 [n]; groups are numbered from 0 in the order of their first rows.

    Raises:
        InputError: another shape or threshold, or features that are not finite.
    """
    features = np.asarray(features)
    if features.ndim != 2 or not -1 <= threshold < 1:
        raise InputError(
            "near duplicates need features [n, d] and a threshold in [-1, 1). "
            f"Received: shape {features.shape}, threshold={threshold}"
        )
    if not np.all(np.isfinite(features)):
        raise InputError("near duplicates need finite features; these contain NaN or infinity")
    rows = _unit_rows(features)
    n = len(rows)
    groups, size = np.arange(n), max(_MOST_PAIRS // max(n, 1), 1)
    for start in range(0, n, size):
        # The pairs of earlier rows are done.
        first, second = np.nonzero(rows[start : start + size] @ rows[start:].T > threshold)
        edges = groups[start + first], groups[start + second]
        graph = coo_array((np.ones(len(first), bool), edges), shape=(n, n))
        groups = connected_components(graph, directed=False)[1][groups]
    _, firsts, groups = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[groups]


def thumbnail_features(images: np.ndarray) -> np.ndarray:
    """Return features for `near_duplicate_groups` that need no network: 8 x 8 thumbnails without their mean color.

    >>> import numpy as np
    >>> thumbnail_features(np.zeros([2, 32, 32, 3], np.uint8)).shape
    (2, 192)

    Args:
        images: uint8 or floats in [0, 1], [n, height, width, 3].

    Returns:
        float32 [n, d], d = 192: mean colors of 8 x 8 parts of the image, or of its pixels if it is smaller. The mean of
        each channel is 0, so that not every pair of bright images is similar.

    Raises:
        InputError: no such images.
    """
    thumbnails = check_images(images)
    for axis in (1, 2):
        side = thumbnails.shape[axis]
        parts = min(side, THUMBNAIL_SIZE)
        starts = np.arange(parts) * side // parts
        shape = [-1 if i == axis else 1 for i in range(4)]
        sums = np.add.reduceat(thumbnails, starts, axis=axis, dtype=np.float32)
        thumbnails = sums / np.diff(starts, append=side).astype(np.float32).reshape(shape)
    thumbnails = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True)
    return thumbnails.reshape(len(thumbnails), -1)


def _unit_rows(rows):
    rows = rows.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
