"""Weighted k-nearest-neighbor classification of frozen features, which needs no training."""

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import UNLABELED, Accuracy, accuracy, check_label_range, labeled_rows

# Bounds the memory of the neighbor lists: 4096 x 200 of them are 13 MB.
_QUERY_BLOCK = 4096


def knn_predict(
    bank_features: np.ndarray,
    bank_labels: np.ndarray,
    query_features: np.ndarray,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
) -> np.ndarray:
    """Return class scores of queries from their k most similar bank rows.

    The weighted vote of Wu et al. 2018 ("Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination", section 3.4): a neighbor of cosine similarity s adds exp(s / temperature) to its
    class. Scores are divided by their sum, which changes no ranking. A zero vector has similarity 0 to
    everything. scikit-learn decides between bank rows at exactly the k-th similarity.

    Memory beyond the arguments is a copy of the features in float32 and the result; the matrix of
    distances is never stored.

    Args:
        bank_features: finite floats [m, d].
        bank_labels: integers [m] in [0, num_classes); rows labeled -1 are left out.
        query_features: finite floats [n, d].
        num_classes: classes to score.
        k: neighbors that vote, at least 1; capped by the number of labeled bank rows.
        temperature: above 0; small values give the nearest more weight.

    Returns:
        float32 [n, num_classes], every row summing to 1.

    Raises:
        InputError: shapes, labels or features do not fit, or no bank row is labeled.
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import, and training begins without it

    if k < 1 or not temperature > 0:
        raise InputError(f"kNN needs k >= 1 and temperature > 0. Received: k={k}, temperature={temperature}")
    bank, labels = labeled_rows(bank_features, bank_labels, name="bank_features")
    check_label_range(labels, num_classes)
    if not len(labels):
        raise InputError("kNN needs at least one labeled row in its bank")
    bank, is_zero = _unit_rows(bank, "bank_features")
    queries, _ = _unit_rows(np.asarray(query_features), "query_features")
    if queries.shape[1] != bank.shape[1]:
        raise InputError(
            "bank and query features must have the same width. "
            f"Received: {bank.shape[1]} and {queries.shape[1]}"
        )
    if is_zero.any():
        # One more axis puts a zero bank row at right angles to every query; left at the origin it would
        # be nearer than a row at 90 degrees. A zero query is equally far from all rows either way.
        bank = np.column_stack([bank, is_zero.astype(np.float32)])
        queries = np.column_stack([queries, np.zeros(len(queries), np.float32)])

    # Between unit vectors |a - b|^2 = 2 - 2 cos: the euclidean search, scikit-learn's blocked one, finds
    # the same neighbors as metric="cosine", without its gigabyte blocks of distances.
    index = NearestNeighbors(n_neighbors=min(k, len(bank)), algorithm="brute", metric="euclidean").fit(bank)
    scores = np.zeros((len(queries), num_classes), np.float32)
    for start in range(0, len(queries), _QUERY_BLOCK):
        distances, neighbors = index.kneighbors(queries[start : start + _QUERY_BLOCK])
        similarity = 1.0 - np.square(distances, dtype=np.float64) / 2.0
        # Relative to the nearest, so that no temperature overflows.
        weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        rows = np.arange(len(weights))[:, None]
        cells = (rows * num_classes + labels[neighbors]).ravel()
        votes = np.bincount(cells, weights.ravel(), minlength=len(weights) * num_classes)
        scores[start : start + len(weights)] = votes.reshape(-1, num_classes)
    return scores


def knn_accuracy(
    bank_features: np.ndarray,
    bank_labels: np.ndarray,
    query_features: np.ndarray,
    query_labels: np.ndarray,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
) -> Accuracy:
    """Return top-1 and top-5 accuracy of `knn_predict` over the labeled queries.

    Args:
        query_labels: integers [n]; queries labeled -1 are not counted.
        bank_features, bank_labels, query_features, num_classes, k, temperature: as in `knn_predict`.

    Returns:
        An `Accuracy`; ties count against the model, see `top_k_accuracy`.
    """
    queries, labels = labeled_rows(query_features, query_labels, name="query_features")
    scores = knn_predict(
        bank_features, bank_labels, queries, num_classes=num_classes, k=k, temperature=temperature
    )
    return accuracy(scores, labels)


def cap_bank(num_rows: int, labels: np.ndarray | None, limit: int | None, seed: int) -> np.ndarray:
    """Return the rows that a bank of at most `limit` keeps: a seeded draw, stratified by label.

    With labels every class keeps the same share of its rows, and at least one while `limit` allows it;
    rows labeled -1 cannot vote and are never kept. Without labels the draw is uniform.

    Args:
        num_rows: rows to choose from.
        labels: integers [num_rows], or None.
        limit: rows to keep at most, at least 1; None keeps all that can vote.
        seed: integer; the same arguments give the same rows.

    Returns:
        int64 row numbers, sorted.
    """
    if limit is not None and limit < 1:
        raise InputError(f"the bank must keep at least one row. Received: limit={limit}")
    if labels is None:
        labels = np.zeros(num_rows, np.int64)
    labels = np.asarray(labels)
    if labels.shape != (num_rows,):
        raise InputError(f"labels must be [{num_rows}], one per row. Received: shape {labels.shape}")
    rows = np.flatnonzero(labels != UNLABELED)
    if limit is None or len(rows) <= limit:
        return rows

    rows = np.random.default_rng(seed).permutation(rows)
    # Taking the rows of smallest (rank within the class / size of the class) takes an equal share of
    # every class, rounded up; the stable sort leaves ties in the random order.
    _, classes, sizes = np.unique(labels[rows], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    rank = np.empty(len(rows), np.int64)
    rank[by_class] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(rows[np.argsort(rank / sizes[classes], kind="stable")[:limit]])


def _unit_rows(features, name):
    """Return `features` [n, d] as l2-normalized float32, and which rows [n] are zero."""
    if features.ndim != 2:
        raise InputError(f"{name} must be [n, d]. Received: shape {features.shape}")
    features = np.ascontiguousarray(features, np.float32)
    largest = np.max(np.abs(features), axis=1, keepdims=True, initial=0.0)
    if not np.all(np.isfinite(largest)):
        raise InputError(
            f"{name} must be finite but contain NaN or infinity; check whether training diverged"
        )
    is_zero = largest == 0
    # Scaled first, so that squares neither overflow nor vanish in float32.
    features = features / np.where(is_zero, 1, largest)
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(is_zero, 1, norm)
    return features, is_zero[:, 0]
