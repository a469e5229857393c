"""The slow, obvious twin of weighted kNN."""

import numpy as np


def slow_knn(bank, labels, queries, num_classes, k, temperature):
    """Twin in float64: the whole similarity matrix, a sort and a vote at a time."""
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    similarity = unit(queries.astype(np.float64)) @ unit(bank.astype(np.float64)).T
    scores = np.zeros((len(queries), num_classes))
    for i, row in enumerate(similarity):
        for j in np.argsort(-row)[:k]:
            scores[i, labels[j]] += np.exp(row[j] / temperature)
    return scores / scores.sum(axis=1, keepdims=True)
