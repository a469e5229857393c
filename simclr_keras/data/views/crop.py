"""On the host: random crop, bicubic resize and flip of an image into uint8 views.

The crop is that of tf.image.sample_distorted_bounding_box with the whole image as its box, rewritten over
batches so that its randomness can be drawn by example (see draws.py). Letters in shapes: n = images,
w = windows per image (2 when pretraining), k = attempts, s = side of a view in pixels.
"""

import dataclasses
import functools
from typing import NamedTuple

import tensorflow as tf

from simclr_keras.data import draws
from simclr_keras.errors import InputError
from simclr_keras.orientation import apart, exif_orientation, stored_window, upright, upright_shape
from simclr_keras.preprocess import (
    LARGEST_SIZE_WITHOUT_CROP,
    center_window,
    decode,
    largest_pixel,
    resize_bicubic,
)

# tf's default; after that many rejected windows the whole image is taken.
ATTEMPTS = 100


@dataclasses.dataclass(frozen=True)
class CropConfig:
    """The distribution of windows.

    Args:
        random_crop: False takes the evaluation window (center crop; the whole image up to 32 pixels) instead.
        crop_min_area, crop_max_area: of a window as fractions of the image, 0 < crop_min_area <= crop_max_area <= 1.
        crop_aspect: largest width / height and height / width of a window, 1 or more.
        min_covered: windows below this fraction of the image are drawn again, in [0, 1].
        flip_probability: of a left-right flip, in [0, 1].
        auto_augment: whether train_batches applies AutoAugment's ImageNet policy to the views.
        antialias: whether windows are antialiased when they shrink.
    """

    random_crop: bool = True
    crop_min_area: float = 0.08
    crop_max_area: float = 1.0
    crop_aspect: float = 4 / 3
    min_covered: float = 0.1
    flip_probability: float = 0.5
    auto_augment: bool = False
    antialias: bool = False

    def __post_init__(self):
        if not 0 < self.crop_min_area <= self.crop_max_area <= 1:
            raise InputError(
                "Crop areas must satisfy 0 < crop_min_area <= crop_max_area <= 1. "
                f"Received: crop_min_area={self.crop_min_area}, crop_max_area={self.crop_max_area}"
            )
        if not self.crop_aspect >= 1:
            raise InputError(f"crop_aspect must be 1 or more. Received: crop_aspect={self.crop_aspect}")
        for name in ("min_covered", "flip_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be in [0, 1]. Received: {name}={getattr(self, name)}")


class CropDraws(NamedTuple):
    """Uniform numbers behind the windows of n images: aspect and height [n, w, k]; top, left, flip [n, w]."""

    aspect: tf.Tensor
    height: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    flip: tf.Tensor


def draw_crops(seed, step, batch_size, windows):
    """Draw the random numbers of one global batch; slice the first axis to take rows.

    Args:
        seed: int. step: integer scalar tensor. batch_size: int, of the global batch. windows: int, per image.
    """
    attempts = draws.uniform(seed, step, "crop", [batch_size, windows, 2, ATTEMPTS])
    place = draws.uniform(seed, step, "crop place", [batch_size, windows, 3])
    return CropDraws(attempts[:, :, 0], attempts[:, :, 1], place[..., 0], place[..., 1], place[..., 2])


def crop_windows(crops, height, width, config):
    """Turn uniform numbers into windows as sample_distorted_bounding_box does, for images of one size.

    Aspect is uniform, then *height* (not area) is uniform between those that give the smallest and the largest area at
    that aspect and fit into the image, then width = aspect * height. The first attempt that covers enough
    is taken; if none does, the whole image.

    Args:
        crops: CropDraws with leading shape [..., w].
        height, width: of the images in pixels, ints or int32 scalars.
        config: CropConfig.

    Returns:
        int32 tensor [..., w, 4]: top, left, height, width in pixels.
    """
    h, w = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    smallest, largest = config.crop_min_area * h * w, config.crop_max_area * h * w
    narrowest, widest = 1 / config.crop_aspect, config.crop_aspect
    aspect = narrowest + crops.aspect * (widest - narrowest)
    upper = tf.math.rint(tf.sqrt(largest / aspect))
    # The tallest window whose rounded width still fits; flooring may be one off, which the kernel corrects.
    fitting = tf.floor((w + 0.5 - 1e-7) / aspect)
    fitting -= tf.cast(tf.math.rint(fitting * aspect) > w, tf.float32)
    upper = tf.where(tf.math.rint(upper * aspect) > w, fitting, upper)
    upper = tf.minimum(upper, h)
    lower = tf.minimum(tf.math.rint(tf.sqrt(smallest / aspect)), upper)
    tall = lower + tf.cast(draws.integers(crops.height, tf.cast(upper - lower, tf.int32) + 1), tf.float32)
    # Rounding may leave the area just outside its bounds: one pixel up, then one pixel down.
    tall += tf.cast(tall * tf.math.rint(tall * aspect) < smallest, tf.float32)
    tall -= tf.cast(tall * tf.math.rint(tall * aspect) > largest, tf.float32)
    wide = tf.math.rint(tall * aspect)
    area = tall * wide
    valid = (area >= smallest) & (area <= largest) & (tall <= h) & (wide <= w) & (area > 0)
    valid &= area >= config.min_covered * h * w
    # argmax gives the first maximum: the first valid attempt.
    first = tf.argmax(tf.cast(valid, tf.int32), axis=-1)
    any_valid = tf.reduce_any(valid, axis=-1)
    rank = len(valid.shape) - 1
    tall = tf.where(any_valid, tf.gather(tall, first, batch_dims=rank, axis=-1), h)
    wide = tf.where(any_valid, tf.gather(wide, first, batch_dims=rank, axis=-1), w)
    tall, wide = tf.cast(tall, tf.int32), tf.cast(wide, tf.int32)
    # The kernel's offsets are below height - tall, never equal to it: a window of the last row is never
    # drawn unless it fills the image. Kept, as every published result was trained so.
    top = draws.integers(crops.top, tf.cast(height, tf.int32) - tall)
    left = draws.integers(crops.left, tf.cast(width, tf.int32) - wide)
    return tf.stack([top, left, tall, wide], axis=-1)


def whole_windows(crops, height, width, size):
    """Return the evaluation window of images of one size, in the shape of crop_windows: [..., w, 4]."""
    if size > LARGEST_SIZE_WITHOUT_CROP:
        window = center_window(height, width, (size, size))
    else:
        window = tf.stack([0, 0, tf.cast(height, tf.int32), tf.cast(width, tf.int32)])
    return tf.broadcast_to(window, tf.concat([tf.shape(crops.top), [4]], axis=0))


def make_views(image, crops, size, config, *, encoded=False):
    """Return the views of one image of any size.

    Args:
        image: uint8 [h, w, 3] or float in [0, 1]; with `encoded`, a scalar string of encoded bytes.
        crops: CropDraws of this image, leading shape [w].
        size: int, side of a view in pixels.
        config: CropConfig.

    Returns:
        uint8 tensor [w, size, size, 3]. The release hands floats to its color jitter, bicubic overshoot too; uint8
        is a declared difference, worth its speed.
    """
    if encoded:
        image, windows = _decode_windows(image, crops, size, config)
        return _cut(image, windows, crops.flip, size, config)
    image = tf.convert_to_tensor(image)
    shape = tf.shape(image)
    windows = _windows(crops, shape[0], shape[1], size, config)
    return _cut(image, windows, crops.flip, size, config)


def make_views_of_batch(images, crops, size, config):
    """Return the views of images of one size: crop, resize and flip as two matrix products a window.

    Equal to make_views up to rounding (one level of uint8), and many times as fast for small images.

    Args:
        images: uint8 [n, h, w, 3] or float in [0, 1], static h and w.
        crops: CropDraws with leading shape [n, w].
        size, config: as for make_views.

    Returns:
        uint8 tensor [n, w, size, size, 3].
    """
    images = tf.convert_to_tensor(images)
    height, width = images.shape[1:3]
    windows = _windows(crops, height, width, size, config)
    flip = crops.flip < config.flip_probability
    rows = bicubic_matrix(windows[..., 0], windows[..., 2], height, size, antialias=config.antialias)
    columns = bicubic_matrix(
        windows[..., 1], windows[..., 3], width, size, reverse=flip, antialias=config.antialias
    )
    n, w = crops.top.shape[0] or tf.shape(crops.top)[0], crops.top.shape[1]
    pixels = tf.reshape(tf.cast(images, tf.float32), [n, 1, height, width * 3])
    # [n, w, s, h] x [n, 1, h, 3 w'] -> [n, w, s, w', 3], then the same along the width.
    views = tf.reshape(tf.matmul(rows, pixels), [n, w, size, width, 3])
    views = tf.einsum("nwjx,nwyxc->nwyjc", columns, views)
    return _to_pixels(views, images.dtype)


def bicubic_matrix(start, length, extent, size, reverse=None, antialias=False):
    """Return bicubic weights that cut a window out of an axis and resize it, as tf.image.resize does.

    Keys' cubic with a = -0.5 and half-pixel centers; the weights of pixels outside the window are dropped
    and the rest brought back to the sum 1.

    Args:
        start, length: int32 [...], first pixel and number of pixels of each window.
        extent: int, pixels of the axis. size: int, pixels of the result.
        reverse: bool [...], reverses the result.
        antialias: whether the kernel widens when a window shrinks.

    Returns:
        float32 tensor [..., size, extent].
    """
    start = tf.cast(start, tf.float32)[..., None, None]
    length = tf.cast(length, tf.float32)[..., None, None]
    out = tf.range(size, dtype=tf.float32)[:, None]
    if reverse is not None:
        out = tf.where(reverse[..., None, None], size - 1 - out, out)
    center = (out + 0.5) * (length / size) - 0.5
    if not antialias:  # the kernel looks its weights up in a table of 1024 steps a pixel
        center = tf.floor(center) + tf.math.rint((center - tf.floor(center)) * 1024.0) / 1024.0
    pixel = tf.range(extent, dtype=tf.float32) - start
    x = tf.abs(pixel - center)
    if antialias:
        x /= tf.maximum(length / size, 1.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    inside = (pixel >= 0) & (pixel < length) & (x < 2.0)
    weights = tf.where(inside, tf.where(x < 1.0, near, far), 0.0)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


@apart
def _decode_whole(encoded):
    return decode(encoded)


def _decode_windows(encoded, crops, size, config):
    """Return the smallest rectangle of an encoded image with all its windows, and the windows within it.

    One decoding is a third cheaper than one per window: every decoding of a JPEG reads the entropy code from the top
    of the image. Operations inside a tf.cond cost more than outside, taken or not: hence small conditions.
    """
    is_jpeg = tf.io.is_jpeg(encoded)
    whole = tf.cond(is_jpeg, lambda: tf.zeros([1, 1, 3], tf.uint8), lambda: _decode_whole(encoded))
    stored = tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(encoded)[:2], lambda: tf.shape(whole)[:2])
    # Windows are drawn in the upright image, so that a turned photo gives the views of an upright one.
    orientation = exif_orientation(encoded)
    shape = upright_shape(stored, orientation)
    windows = _windows(crops, shape[0], shape[1], size, config)
    start = tf.reduce_min(windows[:, :2], axis=0)
    end = tf.reduce_max(windows[:, :2] + windows[:, 2:], axis=0)
    rectangle = stored_window(tf.concat([start, end - start], axis=0), orientation, stored)
    part = tf.cond(
        is_jpeg,
        lambda: tf.image.decode_and_crop_jpeg(encoded, rectangle, channels=3),
        lambda: tf.slice(whole, [*tf.unstack(rectangle[:2]), 0], [*tf.unstack(rectangle[2:]), 3]),
    )
    part.set_shape([None, None, 3])
    return upright(part, orientation), windows - tf.concat([start, [0, 0]], axis=0)


def _windows(crops, height, width, size, config):
    if config.random_crop:
        return crop_windows(crops, height, width, config)
    return whole_windows(crops, height, width, size)


def _cut(image, windows, flip, size, config):
    """Crop, resize, quantize, flip: in this order flipping costs least (and [:, ::-1] ten times more)."""
    views = []
    for i in range(windows.shape[0]):
        top, left, height, width = tf.unstack(windows[i])
        window = image[top : top + height, left : left + width]
        view = resize_bicubic(window, (size, size), config.antialias)
        view = _to_pixels(view, image.dtype)
        mirror, keep = functools.partial(tf.reverse, view, [1]), functools.partial(tf.identity, view)
        views.append(tf.cond(flip[i] < config.flip_probability, mirror, keep))
    return tf.stack(views)


def _to_pixels(views, dtype):
    scale = 255.0 / largest_pixel(dtype)
    return tf.cast(tf.round(tf.clip_by_value(views * scale, 0.0, 255.0)), tf.uint8)
