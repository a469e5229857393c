"""The heads: projection head (nonlinear, linear or none) and linear classifier, in float32 at least."""

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.batch_norm import BatchNormalization

MODES = ("nonlinear", "linear", "none")
CLASSIFIER_INITIALIZERS = ("normal", "zeros")


def small_normal() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01)


def head_dtype(policy: str | keras.DTypePolicy) -> str:
    """Return the dtype of the heads, float32 at least: bfloat16 embeddings give 11 % error in the gradient."""
    return "float64" if keras.dtype_policies.get(policy).variable_dtype == "float64" else "float32"


@keras.saving.register_keras_serializable("simclr_keras")
class ProjectionHead(keras.layers.Layer):
    """The MLP between representation and contrastive loss; float [n, d] -> dict of endpoints.

    proj_head_0 is the input; proj_head_j [n, d] the output of hidden layer j (Dense without bias, BN, ReLU);
    the last endpoint is the embedding [n, out_dim] (Dense without bias, BN without beta).

    Reference: Chen et al. 2020, arXiv 2006.10029, section 2 (three layers); arXiv 2002.05709 (two).

    Args:
        num_layers: layers of a nonlinear head, 0 or more; 0 is no head at all.
        mode: "nonlinear", "linear" (the last layer alone) or "none".
        out_dim: width of the embedding.
        hidden_dim: width of the hidden layers; None for that of the input, as published.
        kept_layers: only the first so many layers exist, for fine-tuning from a middle layer; they are those of
            the whole head, names, ReLU and beta included. None for all.

    Attributes:
        depth: layers that exist.
        width: of the last endpoint, once the head is built.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        num_layers: int = 3,
        mode: str = "nonlinear",
        out_dim: int = 128,
        hidden_dim: int | None = None,
        kept_layers: int | None = None,
        name: str = "projection_head",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if mode not in MODES:
            raise InputError(f"proj_mode must be one of {', '.join(MODES)}. Received: proj_mode={mode!r}")
        if num_layers < 0:
            raise InputError(f"proj_layers must be 0 or more. Received: proj_layers={num_layers}")
        if out_dim < 1:
            raise InputError(f"proj_dim must be 1 or more. Received: proj_dim={out_dim}")
        if hidden_dim is not None and hidden_dim < 1:
            raise InputError(f"proj_hidden_dim must be 1 or more. Received: proj_hidden_dim={hidden_dim}")
        self.num_layers = num_layers
        self.hidden_dim = hidden_dim
        self.mode = mode
        self.out_dim = out_dim
        self.whole_depth = {"nonlinear": num_layers, "linear": 1, "none": 0}[mode]
        if kept_layers is not None and not 0 <= kept_layers <= self.whole_depth:
            raise InputError(
                f"kept_head_layers must be between 0 and {self.whole_depth}, the number of layers of the whole "
                f"projection head. Received: kept_head_layers={kept_layers}"
            )
        self.kept_layers = kept_layers
        self.depth = self.whole_depth if kept_layers is None else kept_layers

    def build(self, input_shape: tuple) -> None:
        width = input_shape[-1]
        for j in range(1, self.depth + 1):
            last = j == self.whole_depth
            units = self.out_dim if last else self.hidden_dim or input_shape[-1]
            dense = keras.layers.Dense(
                units,
                use_bias=False,
                kernel_initializer=small_normal(),
                name=f"dense{j}",
                dtype=self.dtype_policy,
            )
            norm = BatchNormalization(center=not last, name=f"bn{j}", dtype=self.dtype_policy)
            dense.build((None, width))
            norm.build((None, units))
            width = units
            # Attributes, not lists: tf.train.Checkpoint does not look into lists of Keras layers.
            setattr(self, dense.name, dense)
            setattr(self, norm.name, norm)
        self.width = width

    def call(self, features: tf.Tensor, training: bool = False) -> dict:
        endpoints = {"proj_head_0": features}
        x = features
        for j in range(1, self.depth + 1):
            x = getattr(self, f"dense{j}")(x)
            x = getattr(self, f"bn{j}")(x, training=training)
            if j < self.whole_depth:
                x = tf.nn.relu(x)
            endpoints[f"proj_head_{j}"] = x
        return endpoints

    def compute_output_shape(self, input_shape: tuple) -> dict:
        hidden = (*input_shape[:-1], self.hidden_dim or input_shape[-1])
        shapes = {"proj_head_0": input_shape, **{f"proj_head_{j}": hidden for j in range(1, self.depth + 1)}}
        if 0 < self.depth == self.whole_depth:
            shapes[f"proj_head_{self.depth}"] = (*input_shape[:-1], self.out_dim)
        return shapes

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "mode": self.mode,
            "out_dim": self.out_dim,
            "hidden_dim": self.hidden_dim,
            "kept_layers": self.kept_layers,
        }


@keras.saving.register_keras_serializable("simclr_keras")
class ClassificationHead(keras.layers.Dense):
    """Linear classifier with bias; float [n, d] -> logits [n, num_classes].

    Args:
        num_classes: 1 or more.
        initializer: "normal" (standard deviation 0.01) or "zeros", for the kernel.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, num_classes: int, initializer: str = "normal", name: str = "classifier", **kwargs):
        if num_classes < 1:
            raise InputError(f"num_classes must be 1 or more. Received: num_classes={num_classes}")
        if initializer not in CLASSIFIER_INITIALIZERS:
            raise InputError(
                f"classifier_init must be one of {', '.join(CLASSIFIER_INITIALIZERS)}. "
                f"Received: classifier_init={initializer!r}"
            )
        kernel_initializer = small_normal() if initializer == "normal" else "zeros"
        super().__init__(num_classes, kernel_initializer=kernel_initializer, name=name, **kwargs)
        self.num_classes = num_classes
        self.initializer = initializer

    def get_config(self) -> dict:
        config = keras.layers.Layer.get_config(self)
        return {**config, "num_classes": self.num_classes, "initializer": self.initializer}
