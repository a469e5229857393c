"""The loss of guessing, and the problems that the figures of an epoch show."""

import itertools
import math
import types

import numpy as np
import pytest

from simclr_keras.data.sampler import shuffled_indices
from simclr_keras.training.engine.epochs import epoch_ends
from simclr_keras.training.engine.learning import (
    chance_loss,
    classifier_problem,
    contrastive_chance,
    contrastive_problem,
)
from tests.objectives.nt_xent_twin import twin


def config_of(memory="queue", memory_size=48, color_strength=1.0):
    return types.SimpleNamespace(
        batch_size=8,
        epochs=6,
        train_steps=None,
        memory=memory,
        memory_size=memory_size,
        color_strength=color_strength,
    )


def test_loss_of_guessing_is_that_of_projections_that_are_alike():
    alike = np.ones([8, 4])
    assert chance_loss(8) == pytest.approx(twin(alike, alike)[0])
    assert contrastive_chance(config_of("none"), 40, 3) == chance_loss(8)


@pytest.mark.parametrize(("memory_size", "images"), [(48, 40), (160, 40), (48, 21)])
def test_memory_counts_the_negatives_that_are_there(memory_size, images):
    """Beside a queue of ids, filled step by step in the order of a run."""
    config, queue, losses = config_of(memory_size=memory_size), [], []
    ends = epoch_ends(config, images)
    for step in range(ends[-1]):
        ids = shuffled_indices(np.arange(8 * step, 8 * step + 8), images, 5).numpy().tolist()
        others = [sum(past != own for past in queue) for own in ids]
        losses.append(np.mean([2 * math.log(15 + count) for count in others]))
        queue = [*queue, *ids, *ids][-memory_size:]
    losses_of_guessing = [contrastive_chance(config, images, epoch) for epoch in range(1, 7)]
    expected = [np.mean(losses[start:end]) for start, end in itertools.pairwise(ends)]
    np.testing.assert_allclose(losses_of_guessing, expected, rtol=4e-3)
    full = contrastive_chance(config, images, 6)
    assert full < chance_loss(8, memory_size)  # without the image's own past views


def contrastive_row(loss=5.0, rank=30.0):
    chance = chance_loss(8)
    return {
        "epoch": 2,
        "contrastive_loss": loss * chance,
        "contrastive_loss_of_chance": chance,
        "effective_rank": rank,
    }


@pytest.mark.parametrize(
    ("row", "name", "remedy"),
    [
        (contrastive_row(1.2), "loss above chance", "a lower --learning_rate"),
        (contrastive_row(0.995), "loss at chance", "another --learning_rate"),
        (contrastive_row(0.9, 1.2), "collapsed features", "effective rank of 1.20"),
    ],
)
def test_pretraining_that_learns_nothing_has_remedies(row, name, remedy):
    problem = contrastive_problem(row, config_of())
    assert problem.name == name
    for words in (remedy, "--batch_size", "a lower --color_strength than 1 (such as 0.3)"):
        assert words in problem.advice
    assert "--color_strength" not in contrastive_problem(row, config_of(color_strength=0.3)).advice


def test_pretraining_that_learns_has_no_problem():
    for row in (contrastive_row(0.98), contrastive_row(0.9, None), {"epoch": 1, "contrastive_loss": None}):
        assert contrastive_problem(row, config_of()) is None


def test_classifier_is_compared_with_guessing():
    def name(loss, **figures):
        problem = classifier_problem({"epoch": 1, "loss": loss, "loss_of_chance": 2.3, **figures})
        return problem and problem.name

    assert [name(loss, accuracy=0.1) for loss in (4.7, 2.29, 2.2)] == [
        "loss above chance",
        "loss at chance",
        None,
    ]
    assert name(2.29, agreement=0.9) is None  # of a student, whose teacher may be as uncertain
    assert classifier_problem({"epoch": 1, "loss": None, "loss_of_chance": None}) is None
