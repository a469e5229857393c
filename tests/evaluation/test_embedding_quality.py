"""Alignment, uniformity and effective rank beside their definitions, written out."""

import math

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation import embedding_quality
from simclr_keras.evaluation.embedding_quality import alignment, effective_rank, uniformity


def unit(row):
    return row / math.sqrt(sum(value * value for value in row))


def squared_distance(a, b):
    return sum((x - y) ** 2 for x, y in zip(unit(a), unit(b)))


def slow_uniformity(rows):
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
    return math.log(sum(math.exp(-2 * squared_distance(a, b)) for a, b in pairs) / len(pairs))


def slow_rank(rows):
    values = np.linalg.svd(rows, compute_uv=False)
    shares = [value / sum(values) for value in values if value > 0]
    return math.exp(-sum(share * math.log(share) for share in shares))


@pytest.mark.parametrize("shape", [(7, 4), (3, 5), (2, 1)])
def test_figures_are_their_definitions(shape):
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, *shape))
    expected = sum(map(squared_distance, first, second)) / len(first)
    assert alignment(first, second) == pytest.approx(expected)
    assert uniformity(first) == pytest.approx(slow_uniformity(first))
    assert effective_rank(first) == pytest.approx(slow_rank(first), rel=1e-5)


def test_extremes_are_those_of_the_papers(monkeypatch):
    alike = np.ones([6, 4], np.float32)
    assert (alignment(alike, 3 * alike), uniformity(alike)) == pytest.approx((0, 0))
    assert effective_rank(alike) == pytest.approx(1)
    assert effective_rank(np.zeros([6, 4])) == 1
    monkeypatch.setattr(embedding_quality, "MOST_ROWS", 4)
    assert effective_rank(np.repeat(np.eye(4), 5, axis=0)) == pytest.approx(4)


@pytest.mark.parametrize(
    ("figure", "arguments", "words"),
    [
        (alignment, (np.ones([2, 3]), np.ones([3, 3])), "two"),
        (uniformity, (np.ones([1, 3]),), "n >= 2"),
        (effective_rank, (np.ones([3]),), "n >= 1"),
    ],
)
def test_other_shapes_are_refused(figure, arguments, words):
    with pytest.raises(InputError, match=words):
        figure(*arguments)
