"""FeatureStack: an encoder of features side by side: those of a network, of its mirror image, and of colors."""

from typing import Any

import keras
import tensorflow as tf

from simclr_keras.models.heads import head_dtype
from simclr_keras.models.image_model import ImageModel


@keras.saving.register_keras_serializable("simclr_keras")
class FeatureStack(ImageModel):
    """Features of a network and the colors of the image; float [0, 1] images [n, h, w, 3] -> final_avg_pool [n, d].

    >>> import numpy as np
    >>> stack = FeatureStack(color_bins=2)
    >>> stack(np.zeros([1, 8, 8, 3], "float32"))["final_avg_pool"].shape
    TensorShape([1, 8])

    Args:
        encoder: a layer that turns images into a dict with final_avg_pool [n, c]; None for colors alone.
        is_mirrored: whether its features are the means over an image and its mirror image.
        color_bins: of each color in the joint histogram, equally wide, of color_bins ** 3 features; 0 for no histogram.
        color_power: of the shares of pixels in the histogram, above 0: 1 for the shares themselves, 0.5 for their
            roots, of which rare colors are a larger part (Hellinger).
    """

    def __init__(
        self,
        encoder: keras.layers.Layer | None = None,
        is_mirrored: bool = False,
        color_bins: int = 0,
        color_power: float = 0.5,
        name: str = "encoder",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.encoder, self.is_mirrored = encoder, is_mirrored
        self.color_bins, self.color_power = color_bins, color_power

    @property
    def image_size(self) -> int | None:
        """Return the only image size that the network takes, or None."""
        return getattr(self.encoder, "image_size", None)

    @property
    def pixel_range(self) -> Any:
        """Return the pixels that the network takes, see ForeignEncoder; None for [0, 1]."""
        return getattr(self.encoder, "pixel_range", None)

    def check_images(self, shape: tuple) -> None:
        if hasattr(self.encoder, "check_images"):
            self.encoder.check_images(shape)

    def build(self, input_shape: tuple) -> None:
        if self.encoder is not None and not self.encoder.built:
            self.encoder.build(input_shape)

    def call(self, images: tf.Tensor, training: bool = False) -> dict:
        images = tf.cast(images, head_dtype(self.dtype_policy))
        parts = []
        if self.encoder is not None:
            features = self.encoder(images, training=training)["final_avg_pool"]
            if self.is_mirrored:
                mirrored = self.encoder(tf.reverse(images, [2]), training=training)["final_avg_pool"]
                features = (features + mirrored) / 2
            parts.append(tf.cast(features, images.dtype))
        if self.color_bins:
            parts.append(color_shares(images, self.color_bins) ** self.color_power)
        return {"final_avg_pool": tf.concat(parts, axis=-1)}

    def compute_output_shape(self, input_shape: tuple) -> dict:
        width = self.color_bins**3
        if self.encoder is not None:
            width += self.encoder.compute_output_shape(input_shape)["final_avg_pool"][-1]
        return {"final_avg_pool": (input_shape[0], width)}

    def get_config(self) -> dict:
        encoder = None
        if self.encoder is not None:
            encoder = keras.saving.serialize_keras_object(self.encoder)
            encoder.pop("build_config", None)
        return {
            **super().get_config(),
            "encoder": encoder,
            "is_mirrored": self.is_mirrored,
            "color_bins": self.color_bins,
            "color_power": self.color_power,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "FeatureStack":
        encoder = config["encoder"]
        if encoder is not None:
            encoder = keras.saving.deserialize_keras_object(encoder, custom_objects=custom_objects)
        return cls(**{**config, "encoder": encoder})


def color_shares(images: tf.Tensor, bins: int) -> tf.Tensor:
    """Return the joint RGB histogram of float [0, 1] images [n, h, w, 3]: shares of the pixels, [n, bins ** 3]."""
    shape = tf.shape(images)
    levels = tf.cast(tf.math.rint(tf.clip_by_value(images, 0, 1) * 255), tf.int32) * bins // 256
    cells = tf.reduce_sum(levels * tf.constant([bins**2, bins, 1]), axis=-1)
    cells = tf.reshape(cells, [shape[0], shape[1] * shape[2]])
    # Counted in one row: bincount of several rows has no kernel on some devices.
    cells += tf.range(shape[0])[:, None] * bins**3
    counts = tf.math.unsorted_segment_sum(
        tf.ones_like(tf.reshape(cells, [-1]), images.dtype), tf.reshape(cells, [-1]), shape[0] * bins**3
    )
    return tf.reshape(counts, [-1, bins**3]) / tf.cast(shape[1] * shape[2], images.dtype)
