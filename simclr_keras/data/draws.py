"""Random numbers by example: drawn for the global batch from (seed, step, operation), then sliced.

Every replica and host draws the same numbers for the whole batch and takes its own rows. So N replicas see the views
of one, and a resumed run sees those of an uninterrupted run.
"""

import hashlib

import tensorflow as tf


def key_of(seed, operation):
    """Return a 31-bit key for one operation, whose name is unique within a run.

    So operations do not share random numbers.
    """
    digest = hashlib.blake2b(f"{operation}:{int(seed)}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(seed, step, operation, shape):
    """Return uniform float32 numbers in [0, 1), a function of (seed, step, operation) on every device.

    XLA and plain kernels turn the same random bits into different floats in tf.random.stateless_uniform,
    and the default generator differs between TPU and CPU: hence multiples of 2**-24 from bits of a named generator.

    Args:
        step: int or integer scalar tensor, at most 2**31 - 1. shape: its first axis is the global batch.
    """
    key = tf.stack([tf.constant(key_of(seed, operation), tf.int32), tf.cast(step, tf.int32)])
    bits = tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    return tf.cast(tf.cast(tf.bitwise.right_shift(bits, 8), tf.int32), tf.float32) * 2.0**-24


def integers(u, count):
    """Return integers 0 .. count - 1 from uniform numbers; count (int or int32 tensor) below 1 counts as 1."""
    count = tf.maximum(tf.cast(count, tf.int32), 1)
    # Rounding of u * count can reach count itself, hence the minimum.
    return tf.minimum(tf.cast(u * tf.cast(count, tf.float32), tf.int32), count - 1)
