"""Sums and averages over all replicas, and rows of the global batch: those of this replica, and those of all."""

import keras
import tensorflow as tf

# Arguments of a variable for which all replicas compute the same values: each keeps its own copy, no update is
# communicated, and a checkpoint has the first (a mean of equal numbers may differ from them in the last bit).
OWN_COPIES = {
    "synchronization": "on_read",
    "aggregation": "only_first_replica",
    "trainable": False,
    "autocast": False,
}


def num_replicas() -> int:
    """Return how many replicas run this call together; 1 outside of strategy.run."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def number_of_rows(values: tf.Tensor) -> int | tf.Tensor:
    """Return the length of the first axis: an int if it is static, else an int32 scalar."""
    return tf.shape(values)[0] if values.shape[0] is None else values.shape[0]


def rows_of_replica(count: int | tf.Tensor) -> tuple:
    """Return this replica's first row in the global batch, and the rows of the global batch.

    Args:
        count: rows of this replica. In a graph an int is the same on every replica (a static shape): no collective.
            Otherwise it may differ, as Keras' `fit` splits a last batch of 5 into 3 and 2: one collective.
    """
    replicas = num_replicas()
    if replicas == 1:
        return 0, count
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    if isinstance(count, int) and not tf.executing_eagerly():
        return replica * count, replicas * count
    counts = context.all_gather(tf.convert_to_tensor(count)[tf.newaxis], axis=0)
    return tf.reduce_sum(counts[:replica]), tf.reduce_sum(counts)


def mean_rows(count: int | tf.Tensor) -> float | tf.Tensor:
    """Return the mean of all replicas' rows, a float or float64 scalar; `count` as in `rows_of_replica`.

    If every replica divides its sum by it, the mean over the replicas is that of the global batch.
    """
    return rows_of_replica(count)[1] / num_replicas()


def gather_rows(values: tf.Tensor, everywhere: int | tf.Tensor) -> tf.Tensor:
    """Return the rows [B, d] of all replicas in order, by one collective with a gradient.

    Args:
        values: float [b, d], the rows of this replica.
        everywhere: B, see `rows_of_replica`.

    Raises:
        tf.errors.InvalidArgumentError: replicas have different numbers of rows, each known while tracing.
    """
    if num_replicas() == 1:
        return values
    rows = tf.distribute.get_replica_context().all_gather(values, axis=0)
    same = tf.debugging.assert_equal(
        tf.shape(rows)[0],
        everywhere,
        "Replicas have different numbers of examples: make batches with drop_remainder=True, or of unknown size.",
    )
    with tf.control_dependencies([same]):  # before an operation fails that has shapes of one replica
        rows = tf.identity(rows)
    if isinstance(everywhere, int):
        rows.set_shape([everywhere, values.shape[1]])  # some strategies' collective leaves it out
    return rows


def sum_over_replicas(tensors: list) -> list:
    """Return the sums of the tensors over all replicas, by one collective for all that have the same type.

    Shapes are static; None stays None.
    """
    if num_replicas() == 1:
        return tensors
    sums = [tensor if tensor is None else tf.convert_to_tensor(tensor) for tensor in tensors]
    for dtype in dict.fromkeys(tensor.dtype for tensor in sums if tensor is not None):
        places = [place for place, tensor in enumerate(sums) if tensor is not None and tensor.dtype == dtype]
        shapes = [sums[place].shape for place in places]
        flat = tf.concat([tf.reshape(sums[place], [-1]) for place in places], axis=0)
        flat = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, flat)
        parts = tf.split(flat, [shape.num_elements() for shape in shapes])
        for place, part, shape in zip(places, parts, shapes):
            sums[place] = tf.reshape(part, shape)
    return sums


def precise_sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """Return the sum of float64 values [k] over all replicas, by one collective of 3k float32 values.

    TPUs have no collective of float64. If the values of the replicas differ by a factor of less than 4, the relative
    error is about 2**-44 on 2 replicas and 2**-37 on 512. If they differ by more, it is that of float32 at the worst.
    """
    sums = sum_over_replicas(split_in_three(values, num_replicas()))
    return tf.add_n([tf.cast(part, tf.float64) for part in sums])


def split_in_three(values: tf.Tensor, replicas: int) -> list[tf.Tensor]:
    """Return float32 tensors that add up to float64 values: few leading bits, few of the rest, and what then remains.

    So few that the leading bits of all replicas' values are summed without rounding.
    """
    dropped = (replicas - 1).bit_length() + 2
    parts = []
    for _ in range(2):
        # Rounded, not cut off: so the rests have both signs, and their sums stay small.
        bits = tf.bitcast(tf.cast(values, tf.float32), tf.int32) + (1 << (dropped - 1))
        parts.append(tf.bitcast(tf.bitwise.bitwise_and(bits, -(1 << dropped)), tf.float32))
        values -= tf.cast(parts[-1], tf.float64)
    return [*parts, tf.cast(values, tf.float32)]


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
