"""Learner: which weights the loss decays, what compile asks for, names of the state."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.config.modes import PretrainConfig
from simclr_keras.errors import InputError
from simclr_keras.models.zoo import create_model
from simclr_keras.objectives.contrastive import ContrastiveLearner
from simclr_keras.objectives.learner import Learner
from simclr_keras.training.engine.optimizers import make_optimization

CONFIG = PretrainConfig(batch_size=8, epochs=3, warmup_epochs=0.0, weight_decay=0.1)


def make_model(**options):
    options = {"num_classes": 3, "image_size": 8, "proj_dim": 4, "stop_gradient": True, **options}
    return create_model("r18_0.125x_sk0", **options)


@pytest.fixture(scope="module")
def model():
    return make_model(se_ratio=0.25)


def optimization(optimizer):
    return make_optimization(dataclasses.replace(CONFIG, optimizer=optimizer), num_examples=24)


def decayed_in_loss(model, optimizer):
    """Names of the weights on which the L2 term depends."""
    learner = ContrastiveLearner(
        model, weight_decay=0.1, decayed_in_loss=optimization(optimizer).decayed_in_loss
    )
    with tf.GradientTape() as tape:
        decay = learner.decay_loss()
    weights = model.trainable_variables
    gradients = [None] * len(weights) if decay is None else tape.gradient(decay, weights)
    for weight, gradient in zip(weights, gradients):
        if gradient is not None:
            np.testing.assert_allclose(gradient, 0.1 * weight.numpy(), rtol=1e-6)
    return {weight.path for weight, gradient in zip(weights, gradients) if gradient is not None}


def decayed_by_optimizer(model, optimizer):
    """Names of the weights that move at a gradient of zero."""
    made = optimization(optimizer).optimizer
    weights = [v for v in model.trainable_variables if "classifier" not in v.path]
    for weight in weights:  # a weight of zero would not show it
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    made.build(weights)
    before = [weight.numpy() for weight in weights]
    made.apply_gradients([(tf.zeros(weight.shape), weight) for weight in weights])
    return {weight.path for weight, old in zip(weights, before) if not np.array_equal(weight.numpy(), old)}


def paths(model, keep):
    found = {variable.path for variable in model.trainable_variables if keep(variable.path)}
    assert found
    return found


def test_lars_decays_kernels_itself_and_leaves_the_probes_to_the_loss(model):
    assert decayed_in_loss(model, "lars") == {"simclr/classifier/kernel"}
    kernels = paths(model, lambda path: path.endswith("/kernel")) - {"simclr/classifier/kernel"}
    assert decayed_by_optimizer(model, "lars") == kernels


def test_momentum_decays_all_but_normalization_in_the_loss(model):
    expected = paths(model, lambda path: not path.endswith(("/gamma", "/beta")))
    assert "simclr/classifier/bias" in expected
    assert "simclr/encoder/block_group1/block1/se/reduce/bias" in expected
    assert decayed_in_loss(model, "momentum") == expected
    assert decayed_by_optimizer(model, "momentum") == set()


def test_adamw_decays_kernels_decoupled_and_never_in_the_loss(model):
    assert decayed_in_loss(model, "adamw") == set()
    kernels = paths(model, lambda path: path.endswith("/kernel")) - {"simclr/classifier/kernel"}
    assert decayed_by_optimizer(model, "adamw") == kernels


def test_adamw_shrinks_weights_by_rate_times_decay():
    kernel = keras.Variable(np.ones((2, 2)), name="kernel")
    made = optimization("adamw").optimizer
    made.build([kernel])
    rate = float(made.learning_rate.numpy())
    made.apply_gradients([(tf.zeros((2, 2)), kernel)])
    np.testing.assert_allclose(kernel.numpy(), 1 - 0.1 * rate, rtol=1e-6)


def test_decay_loss_is_half_the_squared_norm_times_the_coefficient(model):
    learner = ContrastiveLearner(
        model, weight_decay=0.3, decayed_in_loss=lambda path: path.endswith("dense1/kernel")
    )
    kernel = next(v.numpy() for v in model.variables if v.path.endswith("dense1/kernel"))
    np.testing.assert_allclose(learner.decay_loss(), 0.15 * np.sum(np.float64(kernel) ** 2), rtol=1e-6)


def test_a_frozen_weight_is_not_decayed():
    model = make_model()
    model.projection_head.trainable = False
    learner = ContrastiveLearner(model, weight_decay=0.3, decayed_in_loss=lambda path: "dense1" in path)
    assert learner.decay_loss() is None


def test_float64_runs_get_a_float64_schedule():
    config = dataclasses.replace(CONFIG, precision="float64", warmup_epochs=1.0)
    schedule = make_optimization(config, num_examples=24).schedule
    assert float(schedule(1)) == 0.1 * np.sqrt(8) / 3


def test_compile_without_an_optimizer_for_the_probe_is_refused():
    learner = ContrastiveLearner(make_model())
    with pytest.raises(InputError, match=r"needs a `probe_optimizer`.*Received: probe_optimizer=None"):
        learner.compile(keras.optimizers.SGD(0.1))


def test_optimizers_may_be_given_by_name(model):
    learner = ContrastiveLearner(model)
    learner.compile("sgd", probe_optimizer="adam")
    assert isinstance(learner.optimizer, keras.optimizers.SGD)
    assert isinstance(learner.probe_optimizer, keras.optimizers.Adam)


def test_a_classifier_that_would_train_the_encoder_is_refused():
    with pytest.raises(InputError, match=r"stop_gradient=True.*Received: .*stop_gradient=False"):
        ContrastiveLearner(make_model(stop_gradient=False))


def test_each_weight_has_one_optimizer():
    learner = ContrastiveLearner(make_model())
    main, probe = ([v.path for v in vs] for vs in (learner.main_variables, learner.probe_variables))
    assert sorted(probe) == ["simclr/classifier/bias", "simclr/classifier/kernel"]
    assert sorted(main + probe) == sorted(v.path for v in learner.model.trainable_variables)


def test_state_names_every_variable_once_and_alike_in_every_run():
    def state():
        learner = ContrastiveLearner(make_model())
        made = optimization("momentum")
        learner.compile(made.optimizer, made.probe_optimizer)
        return learner, learner.state()

    (learner, first), (_, second) = state(), state()
    assert list(first) == list(second)
    # Weights; one momentum each and a counter for both optimizers; sum and weight of five figures; batches skipped.
    weights, trained = len(learner.model.variables), len(learner.model.trainable_variables)
    assert len(first) == weights + trained + 2 + 5 * 2 + 2
    assert len({id(variable) for variable in first.values()}) == len(first)
    assert {
        "model/encoder/stem/conv1/kernel",
        "optimizer/iteration",
        "probe_optimizer/iteration",
        "metrics/probe_loss/total",
        "skipped/total",
        "skipped/in_a_row",
    } < first.keys()


def test_variables_that_share_a_name_are_refused():
    learner = Learner(make_model())
    learner.compile(keras.optimizers.SGD(0.1))
    learner.model.classifier.bias._path = "simclr/classifier/kernel"
    with pytest.raises(InputError, match="model/classifier/kernel twice"):
        learner.state()
