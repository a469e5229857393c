"""Test images: a share of each class, whole groups of near duplicates, and something left to learn from."""

import numpy as np

from simclr_keras.fit.hold_out import choose_test


def _random(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(80), rng.integers(1, 6, 80))
    labels = rng.integers(0, 5, 80)[groups]
    labels[rng.random(len(labels)) < 0.3] = -1
    return labels, groups, rng.integers(0, 2**63, len(labels), np.uint64)


def test_groups_stay_together_and_classes_keep_two():
    for seed in range(5):
        labels, groups, order = _random(seed)
        is_test = choose_test(labels, groups, order, 0.2)
        assert not np.any(is_test & (labels < 0))
        assert not set(groups[is_test]) & set(groups[(labels >= 0) & ~is_test])
        for label in range(5):
            own = labels == label
            assert 0.08 * own.sum() <= np.sum(own & is_test) <= 0.4 * own.sum()
            assert len(set(groups[own & ~is_test])) >= 2


def test_few_different_images_are_not_held_out():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    groups = np.array([0, 0, 0, 1, 1, 2, 3])
    is_test = choose_test(labels, groups, np.arange(7, dtype=np.uint64), 0.2)
    assert is_test.tolist() == [False, False, False, True, True, False, False]  # a group of two, by its order


def test_more_labels_keep_the_test_images():
    labels, groups, order = (
        np.arange(60) % 3,
        np.arange(60),
        np.random.default_rng(1).permutation(60).astype(np.uint64),
    )
    before = choose_test(np.where(np.arange(60) < 45, labels, -1), groups, order, 0.2)
    after = choose_test(labels, groups, order, 0.2)
    assert np.sum(before & after) >= 0.6 * before.sum()
