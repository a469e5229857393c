"""Apply sums of gradients with Keras optimizers: loss scale, clipping, counters, no further communication."""

import functools

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.replicas import num_replicas


def check_optimizer(optimizer: keras.optimizers.Optimizer, replicas: int) -> None:
    """Raise InputError if the optimizer has an option that Keras cannot use on several replicas."""
    if replicas == 1:
        return
    for part in innermost(optimizer):
        for option in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
            if getattr(part, option):
                raise InputError(
                    f"{option} works on one device only; drop it, or train on one device. "
                    f"Received: {option}={getattr(part, option)} on {replicas} replicas"
                )


def innermost(optimizer: keras.optimizers.Optimizer) -> list:
    """Return the optimizers that update variables: those inside LossScaleOptimizer and MultiOptimizer."""
    return [part for inner in _inside(optimizer) for part in innermost(inner)] or [optimizer]


def call_count(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Return the counter of micro-batches; `iterations` counts the steps that they accumulate to."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer._iterations


def own_variables(optimizer: keras.optimizers.Optimizer) -> list:
    """Return the variables that no optimizer inside this one has."""
    inside = {id(variable) for inner in _inside(optimizer) for variable in inner.variables}
    return [variable for variable in optimizer.variables if id(variable) not in inside]


def variable_groups(optimizer: keras.optimizers.Optimizer, name: str) -> dict[str, list]:
    """Return the variables by optimizer: `name`, and name/0, name/1 .. of those inside it."""
    groups = {name: own_variables(optimizer)}
    for index, inner in enumerate(_inside(optimizer)):
        groups |= variable_groups(inner, f"{name}/{index}")
    return groups


def loss_scale(optimizer: keras.optimizers.Optimizer) -> float | tf.Tensor:
    """Return the factor by which the optimizer divides gradients."""
    return optimizer.scale_loss(1.0)


def apply_gradients(optimizer: keras.optimizers.Optimizer, gradients: list, variables: list) -> None:
    """Take an optimizer step with gradients of the scaled loss, already summed over all replicas.

    So clipping and the search for overflow see on every replica what they see on one device. On several replicas the
    optimizer itself communicates nothing from then on: Keras would sum again, and broadcast its counter of steps.
    """
    if num_replicas() > 1:
        for part in innermost(optimizer):
            part._all_reduce_sum_gradients = lambda pairs: pairs
            part._iterations.assign_add = functools.partial(_add_on_this_replica, part._iterations)
    optimizer.apply_gradients(zip(gradients, variables))


def _add_on_this_replica(variable, value):
    # By its handle: in replica context, assigning to a mirrored variable broadcasts the value of the first replica.
    tf.raw_ops.AssignAddVariableOp(resource=variable.handle, value=tf.cast(value, variable.dtype))


def _inside(optimizer):
    inner = getattr(optimizer, "inner_optimizer", None)  # of LossScaleOptimizer
    return getattr(optimizer, "optimizers", []) if inner is None else [inner]
