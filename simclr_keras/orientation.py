"""Read a JPEG's EXIF orientation in the graph, and turn its pixels upright.

Orientations are numbered as in EXIF: 1 is upright, 2-4 are mirrored or upside down, 5-8 also have their sides swapped.
Cameras and phones store the pixels of the sensor, and in EXIF how the camera was turned.
"""

import functools

import tensorflow as tf

# A profile of 16 MB has 255 segments; the search stops after this many.
MOST_SEGMENTS = 1000

# SOI, a JFIF segment of 16 bytes, then a table: the start of most JPEGs that no camera wrote.
_PLAIN_START = [0xFF, 0xD8, 0xFF, 0xE0, 0, 16, *[0] * 14, 0xFF, 0xC0]
_PLAIN_MASK = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, *[0] * 14, 0xFF, 0xE0]
_EXIF = list(b"Exif\0\0")

# Keeps a function one node of the graph: inlined into a tf.cond, its nodes would cost every image that does not need
# them, up to a tenth of its decoding.
apart = functools.partial(tf.function, autograph=False, experimental_attributes={"_noinline": True})


def exif_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the EXIF orientation of an encoded image.

    Args:
        encoded: scalar string tensor, the bytes of the file.

    Returns:
        int32 scalar, 1 .. 8. It is 1 for other formats than JPEG, and for a JPEG whose EXIF is missing, damaged or
        behind the first table.
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    start = tf.bitwise.bitwise_and(bytes_at(encoded, 0, len(_PLAIN_START)), _PLAIN_MASK)
    return tf.cond(
        tf.reduce_all(start == _PLAIN_START) | ~tf.io.is_jpeg(encoded),
        lambda: tf.constant(1),
        lambda: _orientation_in_segments(encoded),
    )


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn stored pixels [h, w, c] by an orientation (int32 scalar) into [h, w, c], or [w, h, c] for 5 .. 8."""
    return tf.cond(orientation == 1, lambda: tf.identity(image), lambda: _turned(image, orientation))


def upright_shape(shape: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Return [height, width] (int32 [2]) of stored pixels of this shape when turned upright."""
    return tf.where(orientation >= 5, shape[::-1], shape)


def stored_window(window: tf.Tensor, orientation: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Return the window of the stored pixels that is a given window of the upright image.

    Args:
        window: int32 [4]: top, left, height, width in the upright image.
        orientation: int32 scalar.
        shape: int32 [2], height and width of the stored pixels.

    Returns:
        int32 [4]: top, left, height, width; `upright` turns these pixels into those of the window.
    """

    def turned():
        place, size = upright_shape(window[:2], orientation), upright_shape(window[2:], orientation)
        place = tf.where(_reversed_axes(orientation), shape - place - size, place)
        return tf.concat([place, size], axis=0)

    return tf.cond(orientation == 1, lambda: tf.identity(window), turned)


@apart
def _turned(image, orientation):
    # By a gather, not a transpose: that of bytes makes oneDNN print an error on CPUs.
    height, width, channels = tf.unstack(tf.shape(image))
    rows_backwards, columns_backwards = tf.unstack(_reversed_axes(orientation))
    rows, columns = tf.range(height), tf.range(width)
    rows = tf.where(rows_backwards, height - 1 - rows, rows) * width
    columns = tf.where(columns_backwards, width - 1 - columns, columns)
    pixels = tf.cond(
        orientation >= 5, lambda: columns[:, None] + rows[None, :], lambda: rows[:, None] + columns[None, :]
    )
    turned = tf.gather(tf.reshape(image, [height * width, channels]), pixels)
    turned.set_shape([None, None, image.shape[-1]])
    return turned


def _reversed_axes(orientation):
    """Return whether the stored (rows, columns) are in reverse order, bool [2]."""
    rows = [False, False, False, True, True, False, True, True, False]
    columns = [False, False, True, True, False, False, False, True, True]
    return tf.gather(tf.constant([rows, columns]), orientation, axis=1)


def bytes_at(encoded, start, count):
    """Return the bytes start .. start + count - 1 of a scalar string, int32 [count]; 0 beyond the end."""
    start = tf.minimum(start, tf.strings.length(encoded))
    part = tf.strings.substr(encoded, start, count)
    return tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int32)


@apart
def _orientation_in_segments(encoded):
    def length(segment):
        return segment[2] * 256 + segment[3]

    def is_exif(segment):
        return (segment[1] == 0xE1) & tf.reduce_all(segment[4:] == _EXIF)

    def is_fill(segment):
        # any number of 0xFF may stand before a marker
        return segment[1] == 0xFF

    def goes_on(_, segment):
        # APP0 .. APP15, or a comment
        is_skippable = (segment[1] // 16 == 0xE) | (segment[1] == 0xFE)
        passed_over = is_skippable & (length(segment) >= 2) & ~is_exif(segment)
        return (segment[0] == 0xFF) & (is_fill(segment) | passed_over)

    def following(at, segment):
        at += tf.where(is_fill(segment), 1, 2 + length(segment))
        return at, bytes_at(encoded, at, 10)

    at, segment = tf.while_loop(
        goes_on, following, (tf.constant(2), bytes_at(encoded, 2, 10)), maximum_iterations=MOST_SEGMENTS
    )

    def read():
        start = tf.minimum(at + 10, tf.strings.length(encoded))
        return _orientation_in_tiff(tf.strings.substr(encoded, start, tf.maximum(length(segment) - 8, 0)))

    return tf.cond(is_exif(segment), read, lambda: tf.constant(1))


def _orientation_in_tiff(tiff):
    """Return the tag 0x0112 of the first directory of a TIFF header; 1 if it is damaged."""
    values = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int32)
    size = tf.size(values)
    values = tf.pad(values, [[0, 8]])
    little = tf.reduce_all(values[:4] == list(b"II*\0"))
    big = tf.reduce_all(values[:4] == list(b"MM\0*"))

    def words(pairs):
        """16-bit numbers [..., n] of bytes [..., 2 n] in the file's byte order."""
        first, second = pairs[..., 0::2], pairs[..., 1::2]
        return tf.where(little, first + 256 * second, 256 * first + second)

    place = words(values[4:8])
    place = tf.where(little, place[0] + 65536 * place[1], 65536 * place[0] + place[1])
    # 2 GB and more came out negative
    sound = (little | big) & (place >= 8) & (place <= size - 2)
    place = tf.where(sound, place, 0)
    count = tf.minimum(words(values[place : place + 2])[0], (size - place - 2) // 12)
    count = tf.where(sound, count, 0)
    entries = words(tf.reshape(values[place + 2 : place + 2 + 12 * count], [count, 12]))
    # tag, type SHORT or LONG, one value (its two halves in either order), value
    matches = (entries[:, 0] == 0x0112) & (entries[:, 2] + entries[:, 3] == 1)
    lower, upper = (
        tf.where(little, entries[:, 4], entries[:, 5]),
        tf.where(little, entries[:, 5], entries[:, 4]),
    )
    as_long = tf.where((entries[:, 1] == 4) & (upper == 0), lower, 1)
    value = tf.where(entries[:, 1] == 3, entries[:, 4], as_long)
    value = tf.reduce_max(tf.concat([[1], tf.where(matches, value, 1)], axis=0))
    return tf.where(value <= 8, value, 1)
