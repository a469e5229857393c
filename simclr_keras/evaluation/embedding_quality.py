"""What embeddings are like, without labels: alignment, uniformity and effective rank."""

import numpy as np

from simclr_keras.errors import InputError

MOST_ROWS = 2048  # of a rank: the eigenvalues of a larger matrix take seconds


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean squared distance between the unit-length embeddings of two views.

    Source: Wang and Isola 2020, arXiv 2005.10242, equation 3, alpha = 2. 0 is best; embeddings at random have about 2.

    >>> import numpy as np
    >>> alignment(np.eye(3), 2 * np.eye(3))
    0.0

    Args:
        first, second: finite floats [n, d] of the two views of n images, n at least 1.

    Raises:
        InputError: shapes that differ, or no rows.
    """
    if first.shape != second.shape or first.ndim != 2 or not len(first):
        raise InputError(f"alignment needs two [n, d]. Received: {first.shape} and {second.shape}")
    return float(np.mean(np.sum((_unit_rows(first) - _unit_rows(second)) ** 2, axis=1)))


def uniformity(embeddings: np.ndarray) -> float:
    """Return the log of the mean of exp(-2 * squared distance) over pairs of unit-length embeddings.

    Source: Wang and Isola 2020, arXiv 2005.10242, equation 5, t = 2. 0 if all are alike; the lower, the more evenly
    they cover the sphere, down to about -4.

    >>> import numpy as np
    >>> uniformity(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    -8.0

    Args:
        embeddings: finite floats [n, d], n at least 2.

    Raises:
        InputError: another shape, or fewer than 2 rows.
    """
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise InputError(f"uniformity needs [n, d] with n >= 2. Received: shape {embeddings.shape}")
    rows = _unit_rows(embeddings)
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), k=1)]
    return float(np.log(np.mean(np.exp(-4 * (1 - cosines)))))


def effective_rank(embeddings: np.ndarray) -> float:
    """Return the exponential of the entropy of the singular values, scaled to sum 1 (RankMe).

    Source: Garrido et al. 2023, arXiv 2210.02885, equation 1. From 1, if all rows are multiples of one, to min(n, d).

    >>> import numpy as np
    >>> round(effective_rank(np.eye(3)), 6)
    3.0

    Args:
        embeddings: finite floats [n, d], n at least 1. Of more than MOST_ROWS rows, so many evenly spaced ones count.

    Raises:
        InputError: another shape, or no rows.
    """
    if embeddings.ndim != 2 or not embeddings.size:
        raise InputError(f"effective_rank needs [n, d] with n >= 1. Received: shape {embeddings.shape}")
    if len(embeddings) > MOST_ROWS:
        embeddings = embeddings[np.linspace(0, len(embeddings) - 1, MOST_ROWS).astype(int)]
    rows = embeddings.astype(np.float64)
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    # What rounding makes of a 0 would count as a direction.
    singular = singular[singular > 1e-7 * singular.max()]
    if not len(singular):  # all rows are 0
        return 1.0
    shares = singular / singular.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _unit_rows(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
