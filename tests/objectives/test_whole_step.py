"""Ten whole pretraining steps against a float64 twin written from the papers' description."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.config.modes import PretrainConfig
from simclr_keras.models.zoo import create_model
from simclr_keras.objectives.contrastive import ContrastiveLearner
from simclr_keras.training.engine.optimizers import make_optimization
from tests.objectives import release_twin
from tests.objectives.release_twin import Twin, is_normalization

STEPS = 10
EXAMPLES = 24
CLASSES = 5
# 3 epochs of 3 steps and the one more that makes up for step 0: warm-up 3, the last step still has a small rate.
CONFIG = PretrainConfig(
    model="r18_0.125x_sk0",
    image_size=8,
    batch_size=8,
    epochs=3,
    warmup_epochs=1.0,
    optimizer="lars",
    learning_rate=4.0,
    learning_rate_scaling="linear",
    # The release's supervised head shares the LARS optimizer, without adaptation or decay: plain momentum at the
    # encoder's rate. Our probe has an optimizer of its own; given the same rate, ours is the release's step.
    probe_learning_rate=4.0,
    weight_decay=1e-3,
    temperature=0.5,
    proj_dim=16,
    precision="float64",
)
MOMENTUM_SGD = dataclasses.replace(
    CONFIG, optimizer="momentum", learning_rate=0.5, probe_learning_rate=8.0, weight_decay=1e-2
)


@pytest.fixture
def batches():
    random = np.random.default_rng(3)
    images = random.uniform(size=(STEPS, 8, 1, 8, 8, 3))
    views = np.clip(images + random.normal(scale=0.2, size=(STEPS, 8, 2, 8, 8, 3)), 0, 1)
    labels = random.integers(CLASSES, size=(STEPS, 8), dtype=np.int32)
    return [{"views": v, "label": y, "id": np.arange(8, dtype=np.int32)} for v, y in zip(views, labels)]


def make_learner(config):
    tf.keras.utils.set_random_seed(0)
    model = create_model(
        config.model,
        num_classes=CLASSES,
        proj_dim=config.proj_dim,
        image_size=config.image_size,
        stop_gradient=True,
        dtype=config.precision,
    )
    optimization = make_optimization(config, EXAMPLES)
    learner = ContrastiveLearner(
        model,
        temperature=config.temperature,
        weight_decay=config.weight_decay,
        decayed_in_loss=optimization.decayed_in_loss,
    )
    learner.compile(optimization.optimizer, optimization.probe_optimizer)
    return learner


def named_weights(learner):
    return {v.path.removeprefix("simclr/"): v.numpy() for v in learner.model.variables}


def velocities(learner):
    slots = {key: v.numpy() for key, v in learner.state().items() if "optimizer/" in key}
    return {
        name: next(v for key, v in slots.items() if f"/simclr_{name.replace('/', '_')}_" in key)
        for name in named_weights(learner)
        if release_twin.is_trained(name)
    }


def make_twin(learner, config):
    lars = config.optimizer == "lars"
    return Twin(
        named_weights(learner),
        rule=release_twin.lars if lars else release_twin.nesterov,
        probe_rule=release_twin.plain_momentum,
        decay=config.weight_decay,
        decayed_in_loss=(lambda name: name == "classifier/kernel")
        if lars
        else (lambda name: not is_normalization(name)),
        temperature=config.temperature,
    )


def rates(base):
    result = release_twin.learning_rates(base, batch=8, examples=EXAMPLES, epochs=3, warmup_epochs=1.0)
    assert len(result) == STEPS
    return result


def run_both(config, batches):
    """Takes all steps in both; returns the learner, the twin, and the figures and rates of every step of both."""
    learner = make_learner(config)
    twin = make_twin(learner, config)
    step = tf.function(learner.train_step, autograph=False)
    figures, expected = [], []
    for batch, rate, probe_rate in zip(
        batches, rates(config.learning_rate), rates(config.probe_learning_rate)
    ):
        expected.append({**twin.step(batch["views"], batch["label"], rate, probe_rate), "rate": rate})
        learner.reset_metrics()
        before = float(learner.optimizer.learning_rate.numpy())
        views = tf.cast(batch["views"], config.precision)
        logs = step({**batch, "views": views})
        figures.append({**{name: value.numpy() for name, value in logs.items()}, "rate": before})
    return learner, twin, figures, expected


def close_throughout(figures, expected, **tolerance):
    for number, (ours, theirs) in enumerate(zip(figures, expected)):
        theirs = {"loss": theirs["contrastive_loss"], **theirs}  # the name that Keras' callbacks expect
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, err_msg=f"{name} of step {number}", **tolerance)


def same_state(learner, twin):
    for ours, theirs in ((named_weights(learner), twin.weights), (velocities(learner), twin.velocities)):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            scale = np.abs(value).max()
            np.testing.assert_allclose(ours[name], value, rtol=1e-8, atol=1e-9 * scale, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [dataclasses.replace(CONFIG, model="r50_0.125x_sk0"), MOMENTUM_SGD],
    ids=["lars, bottlenecks", "momentum_sgd"],
)
def test_ten_steps_are_those_of_the_twin(config, batches):
    learner, twin, figures, expected = run_both(config, batches)
    close_throughout(figures, expected, rtol=1e-8)
    same_state(learner, twin)


@pytest.mark.slow
def test_ten_steps_in_float32_stay_near_the_twin(batches):
    # A small rate: at the other one, a ReLU that rounding turns on or off sends the losses apart by the fifth step.
    config = dataclasses.replace(CONFIG, precision="float32", learning_rate=0.5)
    _, _, figures, expected = run_both(config, batches)
    close_throughout(figures, expected, rtol=1e-3)
