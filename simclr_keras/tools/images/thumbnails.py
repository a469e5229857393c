"""Small square pictures of images of any size."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line, some
from simclr_keras.preprocess import decode
from simclr_keras.tools.images.open_images import Images


def thumbnails(images: Images, ids: Sequence[str], side: int) -> np.ndarray:
    """Return pictures of images with these ids, uint8 [m, side, side, 3]: the centered square of each.

    Raises:
        InputError: some of these images are missing or unreadable.
    """
    row_of = {name: row for row, name in enumerate(images.ids)}
    missing = [name for name in dict.fromkeys(ids) if name not in row_of]
    if missing:
        raise InputError(
            f"{len(missing)} images of the features are not in {images.spec}: {some(missing, 3)}; give --images with "
            "the folder they are in now, or run simclr embed again."
        )
    rows = np.array([row_of[name] for name in ids], np.int64)
    distinct, positions = np.unique(rows, return_inverse=True)
    try:
        pictures = [picture for source in images.rows(distinct) for picture in _of_source(source, side)]
    except tf.errors.OpError as error:
        raise InputError(
            f"an image of {images.spec} is unreadable ({one_line(error)}); restore it."
        ) from error
    return np.stack(pictures)[positions]


def _of_source(source, side):
    def shrink(image):
        return square(decode(image) if source.encoded else image, side)

    if source.indexed:
        encoded = tf.data.Dataset.range(len(source)).map(source.fetch)
    else:
        encoded = source.stream(shuffle=False, repeat=False).map(lambda record: record["image"])
    return encoded.map(shrink, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).as_numpy_iterator()


def square(image: tf.Tensor, side: int) -> tf.Tensor:
    """Return the centered square of an image, uint8 [h, w, 3], as uint8 [side, side, 3].

    The pixels of an image less than half as large are visible as squares.
    """
    shape = tf.shape(image)
    short = tf.minimum(shape[0], shape[1])
    top, left = (shape[0] - short) // 2, (shape[1] - short) // 2
    image = image[top : top + short, left : left + short]
    # To a whole multiple first, so that all pixels have one size.
    multiple = tf.where(2 * short <= side, (side + short - 1) // short, 1)
    image = tf.repeat(tf.repeat(image, multiple, axis=0), multiple, axis=1)
    image = tf.image.resize(tf.cast(image, tf.float32), (side, side), tf.image.ResizeMethod.AREA)
    return tf.ensure_shape(tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8), [side, side, 3])
