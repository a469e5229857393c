"""ImageModel: a network of images that refuses everything else in one line."""

from typing import Any

import keras
import tensorflow as tf

from simclr_keras.errors import InputError


class ImageModel(keras.Model):
    """A Keras model whose input is float images [n, h, w, 3] with pixels in [0, 1].

    Raises:
        InputError: when called with anything else.
    """

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        # Not in `call`: Keras wraps the errors of that in many lines while it infers shapes.
        check_images(images)
        self.check_images(images.shape)
        return super().__call__(images, *args, **kwargs)

    def check_images(self, shape: tuple) -> None:
        """Raise InputError if the network does not take images of this shape; here it takes any."""


def check_images(images: Any) -> None:
    """Raise InputError unless images are a float array or tensor [n, h, w, 3].

    One image without the batch axis would abort the process, in TensorFlow's convolution on CPUs.
    """
    if not (hasattr(images, "shape") and hasattr(images, "dtype")):
        raise InputError(
            "images must be one float array [batch, height, width, 3], with pixels in [0, 1]. "
            f"Received: {type(images).__name__}"
        )
    dtype = keras.backend.standardize_dtype(images.dtype)
    if "float" not in dtype:
        raise InputError(
            f"images must be float, with pixels in [0, 1]: divide 8-bit ones by 255. Received: dtype={dtype}"
        )
    shape = tf.TensorShape(images.shape)
    if not shape.is_compatible_with([None, None, None, 3]):
        remedy = ": add the batch axis to a single image, images[None]" if shape.rank == 3 else ""
        raise InputError(f"images must be [batch, height, width, 3]{remedy}. Received: shape {shape}")
