"""Networks that were trained are freed, so that a process can train many times."""

import gc
import weakref

from simclr_keras.backend import custom_gradients_freed
from tests.objectives.tiny_learner import make_batches, make_learner, train


def trained():
    with custom_gradients_freed():
        learner = make_learner()
        train(learner, make_batches(1))
        return weakref.ref(learner)


def test_a_learner_with_custom_gradients_is_freed():
    learner = trained()
    gc.collect()
    assert learner() is None
