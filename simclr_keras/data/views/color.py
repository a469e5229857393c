"""Color operations on whole batches, XLA-compilable, each with a strength per image.

Images are planes: a triple (red, green, blue) of float tensors [n, h, w], because arithmetic over a last
axis of 3 cannot be vectorized. Strengths are [n] tensors. No operation clips its result, as in tf.image;
`jitter` clips after each.
"""

import itertools

import numpy as np
import tensorflow as tf

# ITU-R 601 luma as tf.image.rgb_to_grayscale has it.
LUMA = (0.2989, 0.5870, 0.1140)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
# Every order of the four operations, int32 [24, 4]; row 0 is brightness, contrast, saturation, hue.
ORDERS = np.array(list(itertools.permutations(range(4))), np.int32)
TINY = 1e-12  # instead of zero as a divisor


def to_planes(images):
    """[n, h, w, 3] -> three tensors [n, h, w]."""
    return tuple(tf.unstack(images, axis=-1))


def to_images(planes):
    """Three tensors [n, h, w] -> [n, h, w, 3]."""
    return tf.stack(planes, axis=-1)


def adjust_brightness(planes, factor):
    """Multiply by `factor` (SimCLR v2)."""
    return tuple(plane * _per_image(factor) for plane in planes)


def add_brightness(planes, delta):
    """Add `delta` (SimCLR v1)."""
    return tuple(plane + _per_image(delta) for plane in planes)


def adjust_contrast(planes, factor):
    """Scale the distance from each channel's mean over the image by `factor`."""
    means = [tf.reduce_mean(plane, axis=[1, 2], keepdims=True) for plane in planes]
    return tuple((plane - mean) * _per_image(factor) + mean for plane, mean in zip(planes, means))


def adjust_saturation_and_hue(planes, factor, turns):
    """Multiply S of HSV by `factor`, clipped to [0, 1], and turn the hue; the largest channel stays.

    (This is not a blend with gray.)

    Args:
        factor: at 1 the saturation stays, also that of pixels outside [0, 1].
        turns: of the color circle, each in [-0.5, 0.5].
    """
    red, green, blue = planes
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    # On a circle of length 6 * chroma, which needs no division: red at 0, green at 2, blue at 4 times chroma.
    hue = tf.where(
        value == red,
        green - blue,
        tf.where(value == green, blue - red + 2.0 * chroma, red - green + 4.0 * chroma),
    )
    hue += _per_image(turns) * (6.0 * chroma)
    factor = _per_image(factor)
    largest = tf.maximum(value, 0.0) / tf.maximum(chroma, TINY)
    factor = tf.where(factor == 1.0, 1.0, tf.minimum(factor, largest))

    def channel(at):
        away = tf.abs(hue - at * chroma)
        away = tf.minimum(away, tf.abs(away - 6.0 * chroma))
        # Full within one sixth of the channel's own place on the circle, none beyond two.
        return value - factor * tf.clip_by_value(away - chroma, 0.0, chroma)

    return channel(0.0), channel(2.0), channel(4.0)


def to_grayscale(planes):
    """Return the luma in all three channels."""
    gray = sum(weight * plane for weight, plane in zip(LUMA, planes))
    return gray, gray, gray


def jitter(planes, order, brightness, contrast, saturation, hue, additive_brightness=False):
    """Apply the four operations, in an own order for each image, clipped to [0, 1] after each.

    Every image takes two turns, which end with saturation or hue; brightness and contrast come in the first turn, in
    the second, or after both. So what costs most is computed twice, and not for each of the four places.

    Args:
        planes: three float32 [n, h, w].
        order: int32 [n, 4], rows of ORDERS: which operation comes when.
        brightness, contrast, saturation, hue: float32 [n], the strengths.
        additive_brightness: bool, brightness is added (v1) instead of multiplied (v2).
    """
    brighten = add_brightness if additive_brightness else adjust_brightness
    # [n, 4], by operation: its place in the order.
    place = tf.reduce_sum(tf.range(4)[:, None] * tf.cast(order[:, :, None] == tf.range(4), tf.int32), axis=1)
    chromatic = place[:, SATURATION:]
    spatial_turn = tf.reduce_sum(tf.cast(place[:, :SATURATION, None] > chromatic[:, None], tf.int32), axis=2)
    bright_first = place[:, BRIGHTNESS] < place[:, CONTRAST]
    saturation_turn = tf.cast(place[:, SATURATION] > place[:, HUE], tf.int32)

    def adjust_spatially(i, planes):
        brightened, contrasted = (spatial_turn[:, operation] == i for operation in (BRIGHTNESS, CONTRAST))
        planes = _clip(brighten(planes, brightness), planes, brightened & bright_first)
        planes = _clip(adjust_contrast(planes, contrast), planes, contrasted)
        return _clip(brighten(planes, brightness), planes, brightened & ~bright_first)

    def turn(i, *planes):
        saturates = saturation_turn == i
        factor, turns = tf.where(saturates, saturation, 1.0), tf.where(saturates, 0.0, hue)
        planes = adjust_saturation_and_hue(adjust_spatially(i, planes), factor, turns)
        return i + 1, *(tf.clip_by_value(plane, 0.0, 1.0) for plane in planes)

    # A loop and not two copies of its body: XLA would fuse the copies into one kernel in which every pixel
    # of the later turn computes the earlier turn again (tried with four turns: 30 times slower on CPU).
    planes = tf.while_loop(lambda i, *_: i < 2, turn, (0, *planes), maximum_iterations=2)[1:]
    return adjust_spatially(2, planes)


def _clip(adjusted, planes, where):
    """Return the adjusted planes, clipped to [0, 1], of the images in `where` (bool [n]), else `planes`."""
    where = _per_image(where)
    return tuple(tf.where(where, tf.clip_by_value(a, 0.0, 1.0), b) for a, b in zip(adjusted, planes))


def _per_image(values):
    return tf.convert_to_tensor(values)[:, None, None]
