"""Batches with one bad image, and a tiny learner on one or more replicas to train with them."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from simclr_keras.objectives.contrastive import ContrastiveLearner
from tests.objectives.tiny_learner import make_batches, make_learner, make_step

NAN, INF = float("nan"), float("inf")


class Spoiled(ContrastiveLearner):
    """Its batches have a "factor" on the loss of each image, and a "probe" that the probe's loss gets added."""

    def loss_of(self, outputs, batch, training=True):
        loss, figures = super().loss_of(outputs, batch, training)
        loss *= tf.reduce_mean(batch["factor"])
        probe = tf.reduce_mean(batch["probe"]) * tf.reduce_sum(
            tf.convert_to_tensor(self.model.classifier.kernel)
        )
        return loss + probe, figures


def good_batches(count):
    ones = np.ones(8, np.float32)
    return [
        {**batch, "views": (batch["views"] / 255).astype(np.float32), "factor": ones, "probe": 0 * ones}
        for batch in make_batches(count)
    ]


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What is wrong with the last image, which is the last replica's, and whether loss and gradients show it."""

    name: str
    place: tuple
    value: float
    loss: bool = True
    gradients: bool = True

    def batch(self):
        batch = {name: array.copy() for name, array in good_batches(4)[-1].items()}
        key, *index = self.place
        batch[key][(7, *index)] = self.value
        return batch


TROUBLES = [
    Trouble("NaN in one pixel", ("views", 0, 3, 3, 0), NAN),
    Trouble("infinite pixel", ("views", 1, 3, 3, 0), INF),
    Trouble("loss of NaN", ("factor",), NAN),
    Trouble("infinite loss", ("factor",), INF),
    Trouble("NaN in the probe alone", ("probe",), NAN),
    Trouble("gradients overflow", ("factor",), 2e38, loss=False),
    # The variance is infinite, so that every feature is normalized to 0.
    Trouble("statistics overflow", ("views",), 1e25, loss=False, gradients=False),
]


@functools.cache  # one, because two strategies would give their collectives the same numbers
def strategy_of(replicas):
    if replicas == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])


class Trainer:
    """A tiny learner on some replicas, that can be set back to its start."""

    def __init__(self, replicas, learner_class=Spoiled, **options):
        self.strategy = strategy_of(replicas)
        with self.strategy.scope():
            self.learner = make_learner(learner_class=learner_class, **options)
        self.step = make_step(self.learner, self.strategy)
        self.start = self.state()

    def state(self):
        """All copies of every variable: dict of name to [replicas, ...]."""
        return {
            name: np.stack(
                [copy.numpy() for copy in self.strategy.experimental_local_results(variable.value)]
            )
            for name, variable in self.learner.state().items()
        }

    def reset(self):
        for name, variable in self.learner.state().items():
            variable.assign(self.start[name][0])
        return self

    def train(self, batches):
        for batch in batches:
            self.step(batch)

    def move_on(self):
        """The next batch shall be the one after the next."""
        for optimizer in (self.learner.optimizer, self.learner.probe_optimizer):
            optimizer.iterations.assign(optimizer.iterations + 1)


@functools.cache
def trainer(replicas, **options):
    return Trainer(replicas, **options)
