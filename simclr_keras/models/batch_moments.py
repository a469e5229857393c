"""Mean and variance of a batch that is spread over replicas."""

import tensorflow as tf

from simclr_keras.replicas import precise_sum_over_replicas, sum_over_replicas


def row_count(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return over how many rows the statistics of x [n, ..., c] are taken."""
    return tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), dtype)


def combine(mean: tf.Tensor, variance: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return mean [c], biased variance [c] and row count of all replicas together, in one collective.

    The variance is E[x^2] - E[x]^2. In float32 it would be lost if mean >> std, so sums and squares are float64. The
    collective has the same size for any number of replicas: 6c + 3 float32 values, or 2c + 1 of float64.

    Args:
        mean, variance: [c] of this replica; they may be NaN if it has no rows.
        count: scalar, the rows of this replica, 0 or more.
    """
    dtype = mean.dtype
    mean, variance, count = (tf.cast(value, tf.float64) for value in (mean, variance, count))
    moments = tf.concat([mean, variance + mean * mean], axis=0)
    # Statistics of no rows are not a number, and 0 times that would not be one either.
    sums = tf.concat([tf.math.multiply_no_nan(moments, count), count[tf.newaxis]], axis=0)
    sums = sum_over_replicas([sums])[0] if dtype == tf.float64 else precise_sum_over_replicas(sums)
    mean, square = tf.split(sums[:-1] / sums[-1], 2)
    variance = square - mean * mean
    # Unlike a maximum, this keeps what is not a number.
    variance = tf.where(variance < 0, tf.zeros_like(variance), variance)
    return tuple(tf.cast(value, dtype) for value in (mean, variance, sums[-1]))


def weighted_means(mean: tf.Tensor, variance: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the means over the replicas of their mean and variance [c], weighted by their rows, in one collective."""
    moments = tf.math.multiply_no_nan(tf.concat([mean, variance], axis=0), count)
    sums = tf.stop_gradient(tf.concat([moments, count[tf.newaxis]], axis=0))
    sums = sum_over_replicas([sums])[0]
    return tuple(tf.split(sums[:-1] / sums[-1], 2))
