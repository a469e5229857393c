"""The choice of test images: a share of every class, in whole groups of near duplicates."""

import numpy as np


def choose_test(labels: np.ndarray, groups: np.ndarray, order: np.ndarray, fraction: float) -> np.ndarray:
    """Return which images are test images, bool [n].

    Groups are taken in the order of their smallest number in `order`, so that the choice depends on the content of
    the images and hardly changes when labels are added. At least two groups of every class are left to learn from.

    Args:
        labels: int [n], -1 for unlabeled images, which are never chosen.
        groups: int [n]; images of one number stay together. order: uint64 [n], random numbers.
        fraction: of the images of each class, in (0, 1).
    """
    is_test = np.zeros(len(labels), bool)
    counts = np.bincount(labels[labels >= 0])
    for label in np.argsort(counts, kind="stable"):  # rare classes first: groups may contain several classes
        rows = np.flatnonzero(labels == label)
        names, first = np.unique(groups[rows], return_inverse=True)
        sizes = np.bincount(first)
        smallest = np.full(len(names), np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(smallest, first, order[rows].astype(np.uint64))
        chosen = np.isin(names, groups[is_test])
        goal = max(round(fraction * len(rows)), 1)
        for group in np.argsort(smallest, kind="stable"):
            count = int(sizes[chosen].sum())
            left = len(names) - int(chosen.sum())
            if count >= goal or left <= 2:
                break
            if not chosen[group] and count + sizes[group] <= max(goal + goal // 2, goal + 1):
                chosen[group] = True
        is_test |= np.isin(groups, names[chosen]) & (labels >= 0)
    return is_test
