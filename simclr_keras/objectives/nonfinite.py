"""Guard: undo a training step if the loss, a gradient or a changed variable is not finite."""

from collections.abc import Callable

import keras
import tensorflow as tf

from simclr_keras.objectives.loss_scale import LossScale
from simclr_keras.replicas import OWN_COPIES


class Guard:
    """Undo nonfinite steps and count them; its counters are the same on every replica.

    Looking at what the step leaves behind, too, is what keeps the state finite for good: an overflow may hide from loss
    and gradients (a variance of inf normalizes to 0, gradients overflow in their sum over the replicas).
    """

    def __init__(self):
        with keras.name_scope("guard"):
            self.total, self.in_a_row = (
                keras.Variable("zeros", shape=(), dtype="int64", name=name, **OWN_COPIES)
                for name in ("total", "in_a_row")
            )

    @property
    def variables(self) -> list:
        return [self.total, self.in_a_row]

    def run(
        self,
        step: Callable[[], list],
        variables: list,
        skips: bool = True,
        loss_scale: LossScale | None = None,
    ) -> None:
        """Take a step; if it is nonfinite on any replica, restore the variables bit for bit.

        With a loss scale such a step is an overflow, which the counters leave out, until the scale is at its smallest.

        Args:
            step: function without arguments that returns a list of tensors, or None among them, that must be finite:
                the loss and all gradients.
            variables: list of all the Keras variables the step may change and that a bad one must not. They must be
                finite after the step, too.
            skips: False undoes overflows only.
            loss_scale: of a float16 network.
        """
        before = [tf.convert_to_tensor(variable) for variable in variables]
        outcome = [tensor for tensor in step() if tensor is not None]
        after = [tf.convert_to_tensor(variable) for variable in variables]
        bad = on_any_replica(tf.logical_not(all_finite(outcome + after)))
        overflow = tf.constant(False) if loss_scale is None else loss_scale.update(bad)
        undone = bad if skips else overflow
        for variable, old, new in zip(variables, before, after):
            # By its handle, which is this replica's copy: in replica context, assigning to a mirrored variable asks for
            # an aggregation. Not in a tf.cond, for which the host would have to wait for the device at every step.
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.where(undone, old, new))
        count = tf.cast(undone & ~overflow, tf.int64)
        self.total.assign_add(count)
        self.in_a_row.assign((self.in_a_row + count) * count)


def all_finite(tensors: list) -> tf.Tensor:
    """Return whether every floating-point value of the tensors is finite."""
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    return tf.reduce_all(
        [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors if tensor.dtype.is_floating]
    )


def on_any_replica(flag: tf.Tensor) -> tf.Tensor:
    """Return whether a boolean scalar is True on at least one replica."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return flag
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(flag, tf.float32)) > 0
