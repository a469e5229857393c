"""The limit of pixels of an encoded image, checked in the graph before anything is decoded."""

import tensorflow as tf

from simclr_keras.data.files.image_file import MOST_PIXELS
from simclr_keras.orientation import bytes_at


def within_limit(encoded: tf.Tensor, most: int = MOST_PIXELS) -> tf.Tensor:
    """Return an encoded image, or fail if its header claims more than `most` pixels.

    A file of a few kilobytes may claim billions of pixels, and decoding it would fill the memory.

    Args:
        encoded: scalar string tensor, a JPEG, PNG, BMP or GIF file. A WebP file has at most 16,383 pixels a side.

    Raises:
        tf.errors.InvalidArgumentError: when it runs: the image is too large.
    """
    message = f"an image is too large: the limit is {MOST_PIXELS:,} pixels"
    most = tf.cast(most, tf.int64)
    with tf.control_dependencies([tf.debugging.assert_less_equal(_pixels(encoded), most, message)]):
        return tf.identity(encoded)


def _pixels(encoded):
    """Return the pixels that the header claims, an int64 scalar; 0 if it is of none of these formats."""
    start = bytes_at(encoded, 0, 26)

    def starts_with(signature):
        return tf.reduce_all(start[: len(signature)] == list(signature))

    def jpeg():
        return tf.reduce_prod(tf.cast(tf.io.extract_jpeg_shape(encoded), tf.int64)[:2])

    def others():
        png = _number(start[19:15:-1]) * _number(start[23:19:-1])
        # Negative if the rows of the BMP begin at the top.
        width, height = (
            tf.minimum(side, 2**32 - side) for side in map(_number, (start[18:22], start[22:26]))
        )
        gif = _number(start[6:8]) * _number(start[8:10])
        kinds = ((b"\x89PNG", png), (b"BM", width * height), (b"GIF8", gif))
        return tf.add_n([tf.where(starts_with(signature), area, 0) for signature, area in kinds])

    return tf.cond(tf.io.is_jpeg(encoded), jpeg, others)


def _number(values):
    """Return the number of some bytes, the lowest first."""
    return tf.reduce_sum(tf.cast(values, tf.int64) * [256**k for k in range(values.shape[0])])
