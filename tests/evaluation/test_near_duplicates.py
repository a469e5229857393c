"""Groups of near duplicates beside a search of all pairs, and the features of thumbnails beside loops over pixels."""

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation import near_duplicates
from simclr_keras.evaluation.near_duplicates import (
    THRESHOLD,
    group_images,
    near_duplicate_groups,
    thumbnail_features,
)
from simclr_keras.evaluation.simple_features import color_histograms


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


def slow_edges(image):
    """Twin: differences between the neighbors of each pixel, added up by quarter and direction in degrees."""
    gray = (image @ [0.299, 0.587, 0.114]).astype(np.float32)
    height, width = gray.shape
    sums = np.zeros([2, 2, 8])
    for i in range(height):
        for j in range(width):
            up, down, left, right = (
                max(i - 1, 0),
                min(i + 1, height - 1),
                max(j - 1, 0),
                min(j + 1, width - 1),
            )
            dy, dx = (
                (gray[down, j] - gray[up, j]) / (down - up),
                (gray[i, right] - gray[i, left]) / (right - left),
            )
            direction = int(np.degrees(np.arctan2(dy, dx)) % 180 / 22.5) % 8
            sums[i * 2 // height, j * 2 // width, direction] += np.hypot(dy, dx)
    return sums.ravel() / sums.sum()


def slow_features(images):
    parts = []
    for histograms in (color_histograms(images), [slow_edges(image) for image in images]):
        roots = np.sqrt(histograms) - np.mean(np.sqrt(histograms), axis=0)
        parts.append(roots / np.linalg.norm(roots, axis=1, keepdims=True))
    return np.hstack(parts)


def test_thumbnail_features_are_colors_and_edges(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_CHUNK", 2)
    images = np.random.default_rng(1).integers(0, 256, (3, 9, 12, 3), np.uint8)
    features = thumbnail_features(images)
    np.testing.assert_allclose(features, slow_features(images), atol=1e-3)
    np.testing.assert_array_equal(thumbnail_features(images / 255), features)
    assert thumbnail_features(images[:0]).shape == (0, 544)


def scenes(count):
    rng = np.random.default_rng(2)
    return np.kron(rng.random((count, 5, 5, 3)), np.ones([1, 8, 8, 1]))


def test_a_moved_copy_is_a_near_duplicate_and_another_image_is_not():
    images = scenes(12)
    images = np.concatenate([images, np.roll(images[:2], 2, axis=2)])
    groups, threshold = group_images(images)
    assert (groups.tolist(), threshold) == ([*range(12), 0, 1], THRESHOLD)


def test_the_threshold_rises_if_all_images_are_alike():
    images = np.tile(scenes(1), (40, 1, 1, 1))
    images += 0.1 * np.random.default_rng(3).random(images.shape) * np.linspace(0, 1, 40)[:, None, None, None]
    groups, threshold = group_images(np.clip(images, 0, 1))
    assert threshold > THRESHOLD
    assert np.bincount(groups).max() <= 10


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
    with pytest.raises(InputError, match="2 pixels wide"):
        thumbnail_features(np.zeros([1, 1, 9, 3]))
