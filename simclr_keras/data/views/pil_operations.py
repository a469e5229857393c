"""The operations of the Python Imaging Library (PIL) that AutoAugment's policy uses, equal level by level.

Over batches, with TensorFlow's kernels, so that they run in tf.data on any host. Letters in shapes: n = images,
s = side in pixels. Images are uint8 [n, s, s, 3], strengths float32 [n], one per image.
"""

import math

import numpy as np
import tensorflow as tf

FILL = 128  # gray, for pixels outside of the image
_FIXED = 1 << 16  # PIL's affine transform counts in 65,536ths of a pixel


def shear_x(images, shear):
    """Move row y by shear * y pixels."""
    one, zero = tf.ones_like(shear), tf.zeros_like(shear)
    return _affine(images, one, shear, zero, zero, one, zero)


def rotate(images, degrees):
    """Rotate about the center, counterclockwise."""
    angle = tf.cast(degrees, tf.float64) * (-math.pi / 180)
    cos, sin, center = tf.cos(angle), tf.sin(angle), images.shape[1] / 2
    return _affine(images, cos, sin, center - (cos + sin) * center, -sin, cos, center - (cos - sin) * center)


def _affine(images, a, b, c, d, e, f):
    """Give pixel (x, y) the value of the nearest pixel to (a x + b y + c, d x + e y + f)."""
    size = images.shape[1]
    places = tf.range(size)

    def source(x, y, start):
        x, y, start = (tf.cast(values, tf.float64) for values in (x, y, start))
        start = start + x * 0.5 + y * 0.5  # pixels are looked up by their centers
        x, y, start = (_fixed(values)[:, None, None] for values in (x, y, start))
        pixel = tf.bitwise.right_shift((start + y * places[:, None]) + x * places[None, :], 16)
        return tf.clip_by_value(pixel, -1, size) + 1

    # A frame of one pixel stands for everything outside.
    framed = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=FILL)
    place = source(d, e, f) * (size + 2) + source(a, b, c)
    return tf.gather(tf.reshape(framed, [-1, (size + 2) ** 2, 3]), place, batch_dims=1)


def _fixed(values):
    return tf.cast(tf.floor(values * _FIXED + 0.5), tf.int32)


def invert(images, _):
    """Replace every level v by 255 - v."""
    return 255 - images


def solarize(images, threshold):
    """Invert levels of at least `threshold`."""
    bright = tf.cast(images, tf.float32) >= threshold[:, None, None, None]
    # Not tf.where, which takes ten times as long.
    return tf.bitwise.bitwise_xor(images, 255 * tf.cast(bright, tf.uint8))


def posterize(images, bits):
    """Keep the upper `bits` bits, 1 .. 8, of every level."""
    lost = 8 - tf.cast(bits, tf.int32)
    mask = tf.cast(256 - tf.bitwise.left_shift(tf.ones_like(lost), lost), tf.uint8)
    return tf.bitwise.bitwise_and(images, mask[:, None, None, None])


def autocontrast(images, _):
    """Stretch each channel so that its darkest level becomes 0 and its brightest 255."""
    low = tf.reduce_min(images, axis=[1, 2])[..., None]
    high = tf.reduce_max(images, axis=[1, 2])[..., None]
    low, high = tf.cast(low, tf.float64), tf.cast(high, tf.float64)
    # In PIL's order and precision: the results are truncated.
    scale = 255.0 / tf.maximum(high - low, 1.0)
    levels = tf.range(256, dtype=tf.float64)
    stretched = tf.clip_by_value(levels * scale + -low * scale, 0.0, 255.0)
    return _mapped(images, tf.where(high > low, tf.floor(stretched), levels))


def equalize(images, _):
    """Flatten the histogram of each channel."""
    size = images.shape[1]
    counts = tf.math.bincount(_places(images), minlength=768, maxlength=768, axis=-1)
    counts = tf.reshape(tf.cast(counts, tf.int32), [-1, 3, 256])
    levels = tf.range(256)
    brightest = tf.reduce_max(tf.where(counts > 0, levels, 0), axis=-1)
    step = (size * size - tf.gather(counts, brightest, batch_dims=2))[..., None] // 255
    below = tf.cumsum(counts, axis=-1, exclusive=True)
    flat = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
    return _mapped(images, tf.where(step > 0, flat, levels))


def _mapped(images, levels):
    """Replace each level of each channel by that of a table, levels [n, 3, 256]."""
    places = _places(images)
    # One table for all images: with batch_dims, tf.gather is slower.
    places += 768 * tf.range(tf.shape(images)[0])[:, None]
    table = tf.reshape(tf.cast(levels, tf.uint8), [-1])
    return tf.reshape(tf.gather(table, places), tf.shape(images))


def _places(images):
    """Return the index of every pixel and channel in a table of 3 x 256 levels, int32 [n, s * s * 3]."""
    channels = np.tile(256 * np.arange(3, dtype=np.int32), images.shape[1] * images.shape[2])
    return tf.cast(tf.reshape(images, [-1, len(channels)]), tf.int32) + channels


def color(images, factor):
    """Scale the distance from gray: 0 gives the gray image, 1 the image."""
    return _blend(_gray(images)[..., None], images, factor)


def contrast(images, factor):
    """Scale the distance from the mean gray: 0 gives a gray plane, 1 the image."""
    pixels = images.shape[1] * images.shape[2]
    total = tf.reduce_sum(tf.cast(_gray(images), tf.int64), axis=[1, 2])
    mean = (2 * total + pixels) // (2 * pixels)
    return _blend(mean[:, None, None, None], images, factor)


def sharpness(images, factor):
    """Scale the distance from the smoothed image; the border of one pixel stays as it is."""
    values = tf.cast(images, tf.float32)
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    inner = values[:, 1:-1, 1:-1]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4.0 * inner
    sharpened = _blend(tf.floor(total * (1 / 13) + 0.5), inner, factor)
    middle = tf.concat([images[:, 1:-1, :1], sharpened, images[:, 1:-1, -1:]], axis=2)
    return tf.concat([images[:, :1], middle, images[:, -1:]], axis=1)


def _gray(images):
    """Return luma as PIL rounds it, int32 [n, s, s]."""
    values = tf.cast(images, tf.int32)
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    return tf.bitwise.right_shift(19595 * red + 38470 * green + 7471 * blue + 0x8000, 16)


def _blend(degenerate, images, factor):
    degenerate = tf.cast(degenerate, tf.float32)
    blended = degenerate + factor[:, None, None, None] * (tf.cast(images, tf.float32) - degenerate)
    return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)
