"""SimCLRModel: an encoder with its heads, images in, a dict of endpoints out."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models import resnet  # noqa: F401  so that a .keras file finds its encoder
from simclr_keras.models.foreign import backbones  # noqa: F401  likewise
from simclr_keras.models.foreign.encoder import ForeignEncoder, PixelRange
from simclr_keras.models.heads import ClassificationHead, ProjectionHead, head_dtype
from simclr_keras.models.image_model import ImageModel


@keras.saving.register_keras_serializable("simclr_keras")
class SimCLRModel(ImageModel):
    """Encoder, projection head and an optional linear classifier: images in, a dict of endpoints out.

    Letters: n = images, h and w = height and width in pixels, d = width of the representation, k = layers of the
    projection head. Images are float [n, h, w, 3] in [0, 1].

    The endpoints are those of the encoder (at least final_avg_pool [n, d]), proj_head_0 (final_avg_pool in
    float32) to proj_head_k (the embedding, [n, proj_dim]), and logits [n, num_classes] if there is a classifier.

    Source: SimCLRv2, arXiv 2006.10029, section 2.

    >>> import numpy as np
    >>> from simclr_keras import SimCLRModel
    >>> from simclr_keras.models.resnet import ResNet
    >>> model = SimCLRModel(ResNet(18, 0.125, small_images=True), proj_layers=2, proj_dim=16)
    >>> endpoints = model(np.zeros([2, 8, 8, 3], "float32"))
    >>> endpoints["final_avg_pool"].shape, endpoints["proj_head_2"].shape
    (TensorShape([2, 64]), TensorShape([2, 16]))

    Args:
        encoder: any keras.Model from images [n, h, w, 3] to features [n, d], which becomes a ForeignEncoder; or a layer
            that turns images into a dict with final_avg_pool, for instance ResNet.
        pixel_range: of the pixels that a keras.Model takes, the least and the greatest, such as (0, 255) or (-1, 1);
            see `foreign.encoder.to_pixel_range`. None is (0, 1). The SimCLRModel takes pixels in [0, 1] all the same.
        num_classes: classes of the classifier; None for no classifier.
        proj_layers, proj_mode, proj_dim, proj_hidden_dim: as in ProjectionHead.
        kept_head_layers: only the first so many layers of the projection head exist; None for all. The weights of a
            whole model fill the truncated one by their names.
        head_layer: the classifier sits on the endpoint proj_head_{head_layer}; 0 is the representation.
        stop_gradient: whether the classifier is an online probe, whose loss leaves the network alone.
        classifier_init: "normal" or "zeros".
        class_names: of the classifier, in the order of the logits; kept as an attribute, a tuple. None if unknown.

    Raises:
        InputError: an argument is out of its range; or images are not float [n, h, w, 3], or not of the
            encoder's fixed size; or `compile` is called.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        num_classes: int | None = None,
        proj_layers: int = 3,
        proj_mode: str = "nonlinear",
        proj_dim: int = 128,
        proj_hidden_dim: int | None = None,
        head_layer: int = 0,
        stop_gradient: bool = False,
        classifier_init: str = "normal",
        kept_head_layers: int | None = None,
        pixel_range: PixelRange | None = None,
        class_names: Sequence[str] | None = None,
        name: str = "simclr",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        dtype = head_dtype(self.dtype_policy)
        if is_foreign(encoder):
            encoder = ForeignEncoder(
                encoder, (0, 1) if pixel_range is None else pixel_range, dtype=self.dtype_policy
            )
        elif pixel_range is not None:
            raise InputError(
                "pixel_range is for an encoder that is a keras.Model with one output, features [n, d]. "
                f"Received: pixel_range={pixel_range!r} with a {type(encoder).__name__}"
            )
        self.encoder = encoder
        self.projection_head = ProjectionHead(
            proj_layers, proj_mode, proj_dim, proj_hidden_dim, kept_head_layers, dtype=dtype
        )
        self.classifier = None
        if num_classes is not None:
            self.classifier = ClassificationHead(num_classes, classifier_init, dtype=dtype)
        if not 0 <= head_layer <= self.projection_head.depth:
            raise InputError(
                f"head_layer must be between 0 and {self.projection_head.depth}, the number of layers that "
                f"the projection head has. Received: head_layer={head_layer}"
            )
        self.head_layer = head_layer
        self.stop_gradient = stop_gradient
        self.class_names = class_names

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes in the order of the logits; None if they are unknown."""
        return None if self._class_names is None else tuple(self._class_names)

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        classes = 0 if self.classifier is None else self.classifier.num_classes
        if names is not None and len(names) != classes:
            raise InputError(
                f"class_names must be one name per class of the classifier, {classes}. Received: {len(names)} names"
            )
        self._class_names = None if names is None else tuple(map(str, names))

    @property
    def fixed_size(self) -> int | None:
        """Return the only image size that the encoder takes, in pixels; None if it takes any."""
        return getattr(self.encoder, "image_size", None)

    def build(self, input_shape: tuple) -> None:
        if not self.encoder.built:
            self.encoder.build(input_shape)
        shape = self.encoder.compute_output_shape(input_shape)["final_avg_pool"]
        self.projection_head.build(shape)
        if self.classifier is not None:
            shapes = self.projection_head.compute_output_shape(shape)
            self.classifier.build(shapes[f"proj_head_{self.head_layer}"])

    def check_images(self, shape: tuple) -> None:
        if hasattr(self.encoder, "check_images"):
            self.encoder.check_images(shape)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Raise InputError: a learner trains the model, or a Keras model of one endpoint."""
        raise InputError(
            "a SimCLRModel has no loss of its own: train it with ContrastiveLearner(model), Classifier(model) or "
            'Distiller(model, teacher), or compile keras.Model(inputs, model(inputs)["logits"])'
        )

    def call(self, images: tf.Tensor, training: bool = False) -> dict:
        endpoints = dict(self.encoder(images, training=training))
        endpoints.update(self.projection_head(endpoints["final_avg_pool"], training=training))
        if self.classifier is not None:
            features = endpoints[f"proj_head_{self.head_layer}"]
            if self.stop_gradient:
                features = tf.stop_gradient(features)
            endpoints["logits"] = self.classifier(features)
        return endpoints

    def get_config(self) -> dict:
        encoder = keras.saving.serialize_keras_object(self.encoder)
        # An encoder rebuilt before its model would lose the model's name from its weight paths.
        encoder.pop("build_config", None)
        config = super().get_config()
        # Freezing belongs to a training: everything trains in a model that is loaded from a file.
        encoder["config"].pop("trainable", None)
        config.pop("trainable", None)
        return {
            **config,
            "encoder": encoder,
            "num_classes": None if self.classifier is None else self.classifier.num_classes,
            "proj_layers": self.projection_head.num_layers,
            "proj_mode": self.projection_head.mode,
            "proj_dim": self.projection_head.out_dim,
            "proj_hidden_dim": self.projection_head.hidden_dim,
            "head_layer": self.head_layer,
            "stop_gradient": self.stop_gradient,
            "classifier_init": "normal" if self.classifier is None else self.classifier.initializer,
            "kept_head_layers": self.projection_head.kept_layers,
            # Left out if unknown, so that earlier versions load the file.
            **({"class_names": list(self.class_names)} if self.class_names else {}),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "SimCLRModel":
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects=custom_objects)
        return cls(**{**config, "encoder": encoder})


def is_foreign(encoder: keras.layers.Layer) -> bool:
    """Return whether an encoder is a keras.Model that does not return a dict of endpoints."""
    if not isinstance(encoder, keras.Model) or isinstance(encoder, ImageModel):
        return False
    if isinstance(encoder, keras.Sequential) or hasattr(encoder, "inputs"):
        return not isinstance(getattr(encoder, "_outputs_struct", None), dict)
    if type(encoder).compute_output_shape is keras.Model.compute_output_shape:
        return True
    return not isinstance(encoder.compute_output_shape((None, 224, 224, 3)), dict)
