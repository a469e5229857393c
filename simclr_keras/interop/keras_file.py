"""Read a SimCLRModel from a .keras file: its architecture, and its arrays by their path within the model."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.models.foreign.backbones import KerasBackbone
from simclr_keras.models.foreign.weights import local_copy
from simclr_keras.models.resnet import ResNet
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import MAX_SMALL_IMAGE_SIZE
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.checkpoints import model_variables


def open_keras(path: str, flag: str) -> tuple[Architecture, dict[str, np.ndarray], tuple[str, ...] | None]:
    """Return the architecture, the arrays and the class names of a SimCLRModel in a file.

    Raises:
        InputError: it is missing, damaged, or contains no SimCLRModel with an encoder that has a name.
    """
    if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        raise InputError(f"--{flag}={path} not found; give a .keras file, or a run directory.")
    try:
        with local_copy(path) as local:
            model = keras.saving.load_model(local, compile=False)
    except Exception as error:  # a file may contain anything
        raise InputError(
            f"--{flag}={path} cannot be loaded ({one_line(error)}); save the model again, or give another."
        ) from error
    if not isinstance(model, SimCLRModel):
        raise InputError(
            f"--{flag}={path} contains a {type(model).__name__}, not a SimCLRModel; for keras.applications "
            "give --model=keras:NAME with --backbone_weights, else build SimCLRModel(encoder=...) in Python."
        )
    arrays = {name: variable.numpy() for name, variable in model_variables(model).items()}
    return _architecture_of(model, f"--{flag}={path}"), arrays, model.class_names


def _architecture_of(model: SimCLRModel, source: str) -> Architecture:
    encoder, config = model.encoder, model.get_config()
    values: dict[str, Any] = {"image_size": model.fixed_size}
    if isinstance(encoder, ResNet):
        kernel = int(encoder.selective_kernel)
        values["name"] = f"r{encoder.depth}_{encoder.width:g}x_sk{kernel}"
        size = (model.get_build_config() or {}).get("input_shape", [None, None])[1]
        values["image_size"] = size or (MAX_SMALL_IMAGE_SIZE if encoder.small_images else 224)
        names = ("se_ratio", "max_pool_padding", "pixel_mean", "pixel_std")
        values |= {name: getattr(encoder, name) for name in names}
    elif isinstance(encoder, KerasBackbone):
        values["name"] = encoder.source
        values["dense_layers"] = encoder.dense_layers
    else:
        raise InputError(
            f"{source} has an encoder of your own; train it in Python with ContrastiveLearner or Classifier."
        )
    names = ("num_classes", "proj_layers", "proj_dim", "proj_mode", "proj_hidden_dim", "head_layer")
    names += ("kept_head_layers", "stop_gradient")
    return Architecture(**values, **{name: config[name] for name in names})
