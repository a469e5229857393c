"""Apply gradients as Keras optimizers require: loss scale, clipping over replicas, averages, counters."""

import keras
import tensorflow as tf

from simclr_keras.errors import InputError


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
    """Take an optimizer step with the gradients of this replica's share of the scaled loss.

    Keras clips on each replica before the sum, and LossScaleOptimizer looks for overflow on one replica only. In these
    two cases the gradients are summed first, and each replica passes an equal part of the sum: on all replicas the
    step is that of one device.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    parts = innermost(optimizer)
    clips = any(part.clipnorm or part.global_clipnorm or part.clipvalue for part in parts)
    if replicas > 1 and (clips or hasattr(optimizer, "inner_optimizer")):
        gradients = _equal_parts(optimizer, gradients, variables, replicas)
    optimizer.apply_gradients(zip(gradients, variables))


def _equal_parts(optimizer, gradients, variables, replicas):
    """Return the clipped sum of all replicas' gradients, divided by the number of replicas."""
    scale = loss_scale(optimizer)
    present = [index for index, gradient in enumerate(gradients) if gradient is not None]
    sums = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, [gradients[index] for index in present]
    )
    sums = {index: gradient / tf.cast(scale, gradient.dtype) for index, gradient in zip(present, sums)}
    for part in innermost(optimizer):
        own = [i for i in present if part._var_key(variables[i]) in part._trainable_variables_indices]
        # Their parts are too short to be clipped once more.
        sums.update(zip(own, part._clip_gradients([sums[i] for i in own])))
    parts = {index: gradient * tf.cast(scale / replicas, gradient.dtype) for index, gradient in sums.items()}
    return [parts.get(index) for index in range(len(gradients))]


def _inside(optimizer):
    inner = getattr(optimizer, "inner_optimizer", None)  # of LossScaleOptimizer
    return getattr(optimizer, "optimizers", []) if inner is None else [inner]
