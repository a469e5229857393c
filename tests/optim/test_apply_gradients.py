"""Steps with any Keras optimizer: clipping and overflow on replicas as on one device, and what is refused."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.optim.apply_gradients import (
    apply_gradients,
    call_count,
    check_optimizer,
    innermost,
    variable_groups,
)
from simclr_keras.replicas import sum_over_replicas

GRADIENTS = np.random.default_rng(0).normal(size=(2, 3, 4))  # [replica, variable, entry]


def sgd(**options):
    return keras.optimizers.SGD(0.1, **options)


def loss_scaled(**options):
    return keras.optimizers.LossScaleOptimizer(sgd(**options), initial_scale=4.0)


def of_two(**options):
    """One optimizer for the first variable and another for the rest."""
    first, rest = sgd(**options), keras.optimizers.SGD(0.2, **options)
    return keras.optimizers.MultiOptimizer(lambda variable: first if variable.name == "v0" else rest)


OPTIMIZERS = {
    f"{make.__name__}({next(iter(option), '')})": (make, option)
    for make, option in [
        (sgd, {"clipnorm": 0.5}),
        (sgd, {"clipvalue": 0.3, "loss_scale_factor": 8.0}),
        (sgd, {"global_clipnorm": 0.7}),
        (loss_scaled, {"global_clipnorm": 0.7}),
        (of_two, {"global_clipnorm": 0.7}),
    ]
}


def after_a_step(make, strategy, gradients):
    """The variables after each replica's step with its own gradients, and the optimizer."""
    with strategy.scope():
        variables = [keras.Variable(np.ones(4), dtype="float64", name=f"v{index}") for index in range(3)]
        optimizer = make()
        optimizer.build(variables)

    def step(gradients):
        scaled = [optimizer.scale_loss(gradient) for gradient in tf.unstack(gradients)]
        apply_gradients(optimizer, sum_over_replicas(scaled), variables)

    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(gradients[context.replica_id_in_sync_group])
    )
    tf.function(lambda: strategy.run(step, args=(parts,)), autograph=False)()
    return np.stack([variable.numpy() for variable in variables]), optimizer


@pytest.fixture
def two():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.mark.parametrize(("make", "options"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_sum_over_replicas_is_clipped(two, make, options):
    together, optimizer = after_a_step(lambda: make(**options), two, GRADIENTS)
    alone, _ = after_a_step(
        lambda: make(**options),
        tf.distribute.get_strategy(),
        GRADIENTS.sum(axis=0, keepdims=True),
    )
    assert np.abs(alone - 1).max() > 1e-3
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    for part in innermost(optimizer):
        assert [int(copy) for copy in two.experimental_local_results(part.iterations.value)] == [1, 1]


def test_overflow_on_the_last_replica_skips_the_step_on_all(two):
    gradients = GRADIENTS.copy()
    gradients[-1, 0, 0] = np.inf
    values, optimizer = after_a_step(loss_scaled, two, gradients)
    np.testing.assert_array_equal(values, 1.0)
    assert float(optimizer.dynamic_scale.numpy()) == 2.0


def test_options_that_keras_cannot_use_on_replicas_are_refused():
    for option in ({"gradient_accumulation_steps": 4}, {"use_ema": True, "ema_overwrite_frequency": 2}):
        for make in (loss_scaled, sgd):
            check_optimizer(make(**option), replicas=1)
            name = list(option)[-1]
            with pytest.raises(
                InputError, match=f"{name} works on one device.*Received: {name}=. on 2 replicas"
            ):
                check_optimizer(make(**option), replicas=2)


def test_micro_batches_are_counted_one_by_one():
    for make in (loss_scaled, sgd):
        accumulating = functools.partial(make, gradient_accumulation_steps=2)
        _, optimizer = after_a_step(accumulating, tf.distribute.get_strategy(), GRADIENTS[:1])
        assert (int(call_count(optimizer).numpy()), int(optimizer.iterations)) == (1, 0)


def test_variables_of_wrapped_optimizers_have_groups_of_their_own():
    for make in (loss_scaled, of_two):
        _, optimizer = after_a_step(make, tf.distribute.get_strategy(), GRADIENTS[:1])
        groups = variable_groups(optimizer, "optimizer")
        assert list(groups) == ["optimizer", "optimizer/0", "optimizer/1"][: 2 + (make is of_two)]
        assert {id(v) for group in groups.values() for v in group} == {id(v) for v in optimizer.variables}
        assert sum(map(len, groups.values())) == len(optimizer.variables)
