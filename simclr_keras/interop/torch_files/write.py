"""Write a network as a safetensors file with PyTorch's names, compared with the network before it gets its name."""

import json
from typing import Any

import numpy as np

from simclr_keras import packages
from simclr_keras.backend import full_float32
from simclr_keras.errors import InputError, TrainingError
from simclr_keras.files import write_file
from simclr_keras.interop.layers import Encoder
from simclr_keras.interop.torch_files.forward import forward
from simclr_keras.interop.torch_files.names import TorchArray, classifier_arrays, encoder_arrays, head_arrays
from simclr_keras.interop.torch_files.read import METADATA
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.zoo import parse_name
from simclr_keras.runs.architecture import TORCH_LIKE
from simclr_keras.runs.checkpoints import model_variables

TOLERANCE = 1e-5  # of the largest output
IMAGES = 2  # that are compared


def arrays_of(model: Any, name: str) -> list[TorchArray]:
    """Return the TorchArrays of a built SimCLRModel: its encoder, and the classifier with the layers below it.

    Raises:
        InputError: it is no ResNet.
    """
    if is_backbone(name):
        raise InputError(f"{name} is no ResNet of this package; only ResNets have names in PyTorch.")
    depth, width, selective = parse_name(name)
    encoder = model.encoder
    variant = Encoder(depth, width, selective, encoder.se_ratio, encoder.small_images)
    arrays = encoder_arrays(variant)
    if model.classifier is None or model.head_layer == model.projection_head.whole_depth > 0:
        return arrays  # a classifier on the embedding has no counterpart
    head = model.projection_head
    widths = [getattr(head, f"dense{j}").units for j in range(1, model.head_layer + 1)]
    classes = model.classifier.num_classes
    if not widths:
        return arrays + classifier_arrays(variant.features, classes)
    return arrays + head_arrays([variant.features, *widths], classes)


def write_torch(model: Any, architecture: Any, path: str) -> dict[str, Any]:
    """Write a SimCLRModel to a safetensors file that torchvision and timm can load; return what was done.

    The file is read again and computed in NumPy. It gets its name only if the outputs agree within 1e-5 of the largest
    one.

    Returns:
        dict: arrays (their number), left_out (paths of our variables that are not in the file) and difference (the
        largest, relative to the largest output).

    Raises:
        InputError: it is no ResNet, or the package safetensors is missing.
        TrainingError: an output differs, or the file cannot be written.
    """
    safetensors = packages.require("safetensors.numpy")
    variables, mapping = model_variables(model), arrays_of(model, architecture.name)
    arrays = {
        name: value
        for array in mapping
        for name, value in array.to_torch(np.asarray(variables[array.ours], np.float32)).items()
    }
    about = {
        "model": architecture.name,
        "image_size": architecture.image_size,
        **{name: getattr(architecture, name) for name in TORCH_LIKE},
    }
    content = safetensors.save(arrays, metadata={"format": "pt", METADATA: json.dumps(about)})
    difference = compare(model, safetensors.load(content), architecture)
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"{path} was not written: outputs in NumPy differ by {difference:.1e} of the largest one; report this."
        )
    write_file(path, content)
    left_out = sorted(variables.keys() - {array.ours for array in mapping})
    return {"arrays": len(arrays), "left_out": left_out, "difference": difference}


@full_float32()
def compare(model: Any, arrays: dict[str, np.ndarray], architecture: Any) -> float:
    """Return the largest difference of outputs, relative to the largest output."""
    size = 16 if model.encoder.small_images else 64
    images = np.random.default_rng(0).uniform(size=(IMAGES, size, size, 3)).astype(np.float32)
    expected = model(images, training=False)
    if architecture.pixel_mean is not None:
        images = (images - np.float32(architecture.pixel_mean)) / np.float32(architecture.pixel_std)
    outputs = forward(arrays, images.transpose(0, 3, 1, 2), architecture.max_pool_padding)
    return max(
        float(np.max(np.abs(expected[name] - value)) / np.max(np.abs(value)))
        for name, value in outputs.items()
    )
