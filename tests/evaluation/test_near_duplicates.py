"""Groups of near duplicates beside a search of all pairs, and thumbnails beside loops over pixels."""

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation import near_duplicates
from simclr_keras.evaluation.near_duplicates import near_duplicate_groups, thumbnail_features


def slow_groups(features, threshold):
    """Twin: every row in a group of its own; the later group of every similar pair becomes the earlier one."""
    groups = list(range(len(features)))
    for i, a in enumerate(features):
        for j, b in enumerate(features[:i]):
            norms = np.linalg.norm(a) * np.linalg.norm(b)
            if norms and a @ b / norms > threshold:
                both = {groups[i], groups[j]}
                groups = [min(both) if group in both else group for group in groups]
    return [sorted(set(groups)).index(group) for group in groups]


@pytest.mark.parametrize("threshold", [0.3, 0.8])
@pytest.mark.parametrize("pairs", [1, 40, 10**6])  # in memory at once
def test_groups_are_those_of_all_pairs(monkeypatch, threshold, pairs):
    monkeypatch.setattr(near_duplicates, "_MOST_PAIRS", pairs)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    features[7] = 0
    groups = near_duplicate_groups(features, threshold)
    assert groups.dtype == np.int64
    assert groups.tolist() == slow_groups(features, threshold)
    assert 1 < len(set(groups)) < 30


def test_a_chain_of_similar_rows_is_one_group():
    angles = np.radians([0, 90, 20, 40, 60, 75])
    assert near_duplicate_groups(np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.93).tolist() == [0] * 6
    assert near_duplicate_groups(np.zeros([0, 3])).tolist() == []


def slow_thumbnail(image):
    """Twin: the mean of the pixels of each of 8 x 8 parts, and less the mean of these."""
    height, width, _ = image.shape
    parts = np.zeros([8, 8, 3])
    for i in range(8):
        for j in range(8):
            rows, columns = (
                slice(i * height // 8, (i + 1) * height // 8),
                slice(j * width // 8, (j + 1) * width // 8),
            )
            parts[i, j] = image[rows, columns].astype(float).mean(axis=(0, 1))
    return (parts - parts.mean(axis=(0, 1))).ravel()


def test_thumbnails_are_means_of_parts():
    images = np.random.default_rng(1).integers(0, 256, (3, 19, 32, 3), np.uint8)
    features = thumbnail_features(images)
    np.testing.assert_allclose(features, [slow_thumbnail(image) for image in images], atol=1e-3)
    np.testing.assert_allclose(thumbnail_features(images / 255), features / 255, atol=1e-5)
    assert thumbnail_features(images[:, :4, :5]).shape == (3, 60)


def test_a_brighter_and_moved_copy_is_a_near_duplicate_and_another_image_is_not():
    rng = np.random.default_rng(2)
    scenes = np.kron(rng.random((2, 5, 5, 3)), np.ones([1, 8, 8, 1]))
    copy = np.clip(np.roll(scenes[:1], 1, axis=2) * 0.8 + 0.1, 0, 1)
    assert near_duplicate_groups(thumbnail_features(np.concatenate([scenes, copy]))).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("features", "threshold", "words"),
    [
        (np.ones(3), 0.5, "n, d"),
        (np.ones([2, 2]), 1.0, "threshold"),
        (np.full([2, 2], np.nan), 0.5, "finite"),
    ],
)
def test_other_features_and_thresholds_are_refused(features, threshold, words):
    with pytest.raises(InputError, match=words):
        near_duplicate_groups(features, threshold)
