"""Rows of the global batch: which belong to this replica, and those of all replicas."""

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
