"""The pixel range and the evaluation preprocessing (decode, center crop, bicubic resize).

Training data, evaluation, exported models and tools all see images through these few functions.
"""

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.orientation import apart, bytes_at, exif_orientation, upright

# Images up to this size are evaluated whole: the release's rule for CIFAR-like data.
LARGEST_SIZE_WITHOUT_CROP = 32
CROP_PROPORTION = 0.875


def largest_pixel(dtype: tf.DType) -> float:
    """Return the value of white: 255 for uint8, 65535 for uint16, 1 for floats.

    Raises:
        InputError: any other type. The range of its pixels is unknown: int64 is often 0 to 255.
    """
    dtype = tf.as_dtype(dtype)
    if dtype in (tf.uint8, tf.uint16):
        return float(dtype.max)
    if not dtype.is_floating:
        raise InputError(
            "pixels must be uint8 (0 to 255), uint16 (0 to 65535) or float in [0, 1]: convert those of 0 to 255 "
            f'with images.astype("uint8"). Received: dtype={dtype.name}'
        )
    return 1.0


def to_float(images: tf.Tensor) -> tf.Tensor:
    """Bring pixels to [0, 1].

    Args:
        images: tensor of any shape: uint8 (0 to 255), uint16 (0 to 65535), or float in [0, 1].

    Returns:
        float32 tensor of the same shape.

    Raises:
        InputError: pixels of another type.
    """
    images = tf.convert_to_tensor(images)
    white = largest_pixel(images.dtype)
    if images.dtype.is_integer:
        # A division, not a multiplication by 1/255, so that 255 becomes exactly 1.
        return tf.cast(images, tf.float32) / white
    return tf.cast(images, tf.float32)


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG, PNG, BMP or the first frame of a GIF into 8-bit RGB.

    Gray, palette, alpha, 16 bits and CMYK become RGB, too.

    Args:
        encoded: scalar string tensor, the bytes of the file.

    Returns:
        uint8 tensor [height, width, 3], turned upright if a JPEG's EXIF has an orientation. An alpha channel is
        dropped, as in most image libraries; 16-bit values keep their upper 8 bits, see `decode_deep_png`.
    """
    start = bytes_at(encoded, 0, 25)
    is_deep_png = tf.reduce_all(start[:4] == list(b"\x89PNG")) & (start[24] == 16)
    image = tf.cond(is_deep_png, lambda: decode_deep_png(encoded), lambda: decode_usual(encoded))
    image.set_shape([None, None, 3])
    return upright(image, exif_orientation(encoded))


def decode_usual(encoded: tf.Tensor) -> tf.Tensor:
    """Decode the bytes of an image file into 8-bit RGB as stored, uint8 [height, width, 3]."""
    return tf.io.decode_image(encoded, channels=3, dtype=tf.uint8, expand_animations=False)


@apart
def decode_deep_png(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a PNG of 16 bits into 8-bit RGB: the upper 8 bits, or the lower ones if all upper ones are 0.

    Some programs write 8-bit images, 0 to 255, as 16-bit files; their upper bits alone would be a black image.
    """
    image = tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)
    shift = tf.where(tf.reduce_max(image) < 256, tf.constant(0, tf.uint16), tf.constant(8, tf.uint16))
    return tf.cast(tf.bitwise.right_shift(image, shift), tf.uint8)


def resize_bicubic(images: tf.Tensor, size: tuple[int, int], antialias: bool = False) -> tf.Tensor:
    """Resize by bicubic interpolation (Keys, a = -0.5), by default without antialiasing.

    So does the release.

    Args:
        images: [h, w, c] or [n, h, w, c], any numeric type; values keep their range and may overshoot it.
        size: (height, width) of the result.
        antialias: whether the kernel widens when an image shrinks, so that all of its pixels count, as in Pillow.

    Returns:
        float32 tensor [height, width, c] or [n, height, width, c].
    """
    resized = tf.image.resize(images, size, method=tf.image.ResizeMethod.BICUBIC, antialias=antialias)
    return tf.cast(resized, tf.float32)  # images that have the size already come back in their own type


def center_window(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    size: tuple[int, int],
    proportion: float = CROP_PROPORTION,
) -> tf.Tensor:
    """Return the largest centered window with the aspect ratio of `size`, scaled by `proportion`.

    For a square size this is a square of rint(proportion * short side) pixels.

    Args:
        height, width: of the image in pixels, ints or int32 scalars.
        size: (height, width) the window will be resized to; only its aspect ratio matters.
        proportion: of the side that bounds the window, in (0, 1].

    Returns:
        int32 tensor [4]: top, left, height, width.
    """
    aspect = size[1] / size[0]
    h, w = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    window_h, window_w = tf.cond(
        aspect > w / h,
        lambda: (tf.math.rint(proportion / aspect * w), tf.math.rint(proportion * w)),
        lambda: (tf.math.rint(proportion * h), tf.math.rint(proportion * aspect * h)),
    )
    # A sliver of an image still has a window of one pixel.
    window_h = tf.maximum(tf.cast(window_h, tf.int32), 1)
    window_w = tf.maximum(tf.cast(window_w, tf.int32), 1)
    top = (tf.cast(height, tf.int32) - window_h + 1) // 2
    left = (tf.cast(width, tf.int32) - window_w + 1) // 2
    return tf.stack([top, left, window_h, window_w])


def evaluation_view(
    images: tf.Tensor,
    size: int | tuple[int, int],
    proportion: float = CROP_PROPORTION,
    antialias: bool = False,
) -> tf.Tensor:
    """Return the input of the network outside training: center crop, bicubic resize, clip to [0, 1].

    Sizes up to 32 pixels take the whole image, whatever its shape.

    Args:
        images: [h, w, 3] or, all of one size, [n, h, w, 3]; uint8, uint16, or float in [0, 1].
        size: side of the square result in pixels, or (height, width).
        proportion: of the short side that is kept, in (0, 1].
        antialias: as in `resize_bicubic`.

    Returns:
        float32 tensor in [0, 1], [size, size, 3] or [n, size, size, 3].

    Raises:
        InputError: pixels of another type.
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    images = tf.convert_to_tensor(images)
    if max(size) > LARGEST_SIZE_WITHOUT_CROP:
        shape = tf.shape(images)
        top, left, height, width = tf.unstack(center_window(shape[-3], shape[-2], size, proportion))
        images = images[..., top : top + height, left : left + width, :]
    # Resized as integers: the floats of a large photo would fill gigabytes.
    if images.dtype == tf.uint8:
        resized = resize_bicubic(images, size, antialias) / 255.0
    else:
        resized = resize_bicubic(to_float(images), size, antialias)
    return tf.clip_by_value(resized, 0.0, 1.0)
