"""Averages over all replicas: of the weighted values of a step, and running ones for metrics."""

import keras
import tensorflow as tf


class Average(keras.metrics.Mean):
    """A running mean whose state is the same on every replica: restoring a checkpoint changes no bit of it."""

    def add_variable(
        self,
        shape: tuple,
        initializer: str | keras.initializers.Initializer,
        dtype: str | None = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> keras.Variable:
        # Keras sums the states of the replicas when it saves, and gives each an equal part back.
        return super().add_variable(shape, initializer, dtype, "only_first_replica", name)

    def add(self, total: tf.Tensor, weight: tf.Tensor) -> None:
        """Add a sum over all replicas and its weight, scalars."""
        self.total.assign_add(tf.cast(total, self.dtype))
        self.count.assign_add(tf.cast(weight, self.dtype))


def global_mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return the weighted mean over the *global* batch, as this replica's summand times the number of replicas.

    The learner divides by the number of replicas and optimizers sum, so that N replicas with unevenly spread weights
    (labels on some images only) equal one device.

    Args:
        values: [b] float.
        weights: [b] float, not negative; their global sum may be zero, which gives 0.

    Returns:
        scalar.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    total = tf.reduce_sum(weights)
    if replicas > 1:
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)
    return replicas * tf.math.divide_no_nan(tf.reduce_sum(values * weights), total)
