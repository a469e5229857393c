"""Groups of near duplicates, such as photos of one burst: images whose features point in almost one direction."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from simclr_keras.errors import InputError
from simclr_keras.evaluation.simple_features import check_images, color_histograms

# By benchmarks/studies/near_duplicates.py on 732 photos of fruit in shops (14 classes, with bursts): above 0.75, 330
# pairs of one class and 2 of two, in 117 groups of 2 to 15; above 0.7, 550 and 18; above 0.8, 184 and 0.
THRESHOLD = 0.75
_HIGHER = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
_LARGEST_GROUP, _LARGE = 0.1, 10  # share of the images; number of images that is never too many
_CELLS, _ORIENTATIONS = 2, 8
_MOST_PAIRS = 16 * 1024**2  # similarities in memory at once, of 64 MB
_CHUNK = 1024  # images whose edges are in memory at once


def near_duplicate_groups(features: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
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


def group_images(images: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the groups of near duplicates among images, and the threshold that they were found with.

    The threshold is THRESHOLD. It rises if a tenth of the images would be one group, as with images that are all alike.

    Args:
        images: as in `thumbnail_features`.

    Returns:
        (int64 [n] as from `near_duplicate_groups`; float)
    """
    features = thumbnail_features(images)
    for threshold in (THRESHOLD, *_HIGHER):
        groups = near_duplicate_groups(features, threshold)
        if np.bincount(groups).max(initial=0) <= max(_LARGEST_GROUP * len(groups), _LARGE):
            break
    return groups, threshold


def thumbnail_features(images: np.ndarray) -> np.ndarray:
    """Return features for `near_duplicate_groups` that need no network: colors, and directions of edges.

    The root of a color histogram (8 x 8 x 8) and the root of a histogram of 8 directions of edges in each quarter of
    the image. The mean over all images is subtracted from both, and both have length 1: give all images at once.

    >>> import numpy as np
    >>> thumbnail_features(np.zeros([2, 32, 32, 3], np.uint8)).shape
    (2, 544)

    Args:
        images: uint8 or floats in [0, 1], [n, height, width, 3], at least 2 pixels wide; best of `thumbnails_of`.

    Returns:
        float32 [n, 544].

    Raises:
        InputError: no such images.
    """
    images = check_images(images)
    if min(images.shape[1:3]) < 2:
        raise InputError(f"thumbnails must be at least 2 pixels wide. Received: shape {images.shape}")
    chunks = [_edges(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    edges = np.concatenate(chunks) if chunks else np.zeros([0, _CELLS**2 * _ORIENTATIONS], np.float32)
    shares = np.sqrt(color_histograms(images)), np.sqrt(edges)
    # Without images there is no mean.
    return np.hstack([_unit_rows(part - part.mean(axis=0)) if len(part) else part for part in shares])


def _edges(images):
    """Return the shares of the edges that are in each quarter and direction, float32 [n, 32]."""
    gray = (images if images.dtype == np.uint8 else np.rint(images * 255)) @ np.array([0.299, 0.587, 0.114])
    down, right = np.gradient(gray.astype(np.float32), axis=(1, 2))
    turns = np.arctan2(down, right) / np.pi % 1  # opposite directions are one
    directions = (turns * _ORIENTATIONS).astype(np.int64) % _ORIENTATIONS
    n, height, width = gray.shape
    quarters = [np.arange(side) * _CELLS // side for side in (height, width)]
    cells = (quarters[0][:, None] * _CELLS + quarters[1]) * _ORIENTATIONS + directions
    size = _CELLS**2 * _ORIENTATIONS
    cells = (np.arange(n)[:, None, None] * size + cells).ravel()
    sums = np.bincount(cells, np.hypot(down, right).ravel(), minlength=n * size).reshape(n, size)
    return (sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)


def _unit_rows(rows):
    rows = rows.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
