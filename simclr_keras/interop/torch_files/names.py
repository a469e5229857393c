"""The names and layouts of a ResNet's arrays in torchvision and timm, beside ours."""

import re
from typing import NamedTuple

import numpy as np

from simclr_keras.interop.layers import Encoder, Layer, encoder_layers

CONV_KERNEL, DENSE_KERNEL, GATE_KERNEL, VECTOR = "conv", "dense", "gate", "vector"
ROLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
FC = "fc"  # the classifier


class TorchArray(NamedTuple):
    """One of our variables in PyTorch.

    Attributes:
        ours: its path within a SimCLRModel.
        names: in PyTorch; several if it is divided along the output channels, as the streams of a selective kernel.
        layout: CONV_KERNEL, DENSE_KERNEL, GATE_KERNEL (dense here, a 1x1 convolution there) or VECTOR.
        shape: of our variable.
    """

    ours: str
    names: tuple[str, ...]
    layout: str
    shape: tuple[int, ...]

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """Return the shape of each of its arrays in PyTorch."""
        shape = {
            CONV_KERNEL: lambda s: (s[3], s[2], s[0], s[1]),
            DENSE_KERNEL: lambda s: s[::-1],
            GATE_KERNEL: lambda s: (*s[::-1], 1, 1),
            VECTOR: lambda s: s,
        }[self.layout](self.shape)
        return (shape[0] // len(self.names), *shape[1:])

    def to_torch(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays in PyTorch, by name, of the value of our variable."""
        if self.layout == CONV_KERNEL:
            value = value.transpose(3, 2, 0, 1)
        elif self.layout != VECTOR:
            value = value.T
        parts = np.split(value, len(self.names))
        return {
            name: np.ascontiguousarray(part).reshape(self.torch_shape)
            for name, part in zip(self.names, parts)
        }

    def to_ours(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Return the value of our variable from PyTorch's arrays by name."""
        value = np.concatenate([arrays[name] for name in self.names])
        if self.layout == CONV_KERNEL:
            return value.transpose(2, 3, 1, 0)
        return value if self.layout == VECTOR else value.reshape(self.shape[::-1]).T


def encoder_arrays(encoder: Encoder) -> list[TorchArray]:
    """Return the TorchArrays of an encoder."""
    return [array for layer in encoder_layers(encoder) for array in _arrays(layer, encoder)]


def classifier_arrays(features: int, classes: int) -> list[TorchArray]:
    """Return the TorchArrays of a classifier on the representation."""
    return [
        TorchArray("classifier/kernel", (f"{FC}.weight",), DENSE_KERNEL, (features, classes)),
        TorchArray("classifier/bias", (f"{FC}.bias",), VECTOR, (classes,)),
    ]


def head_arrays(widths: list[int], classes: int) -> list[TorchArray]:
    """Return the TorchArrays of a classifier on a hidden layer of the projection head.

    In PyTorch it is a Sequential in the place of the classifier: Linear without bias, BatchNorm1d and ReLU for each
    layer of the head, then Linear. `widths` are those of the representation and of the layers up to the classifier.
    """
    arrays = []
    for j in range(1, len(widths)):
        linear, norm, ours = f"{FC}.{3 * j - 3}", f"{FC}.{3 * j - 2}", "projection_head"
        arrays.append(
            TorchArray(
                f"{ours}/dense{j}/kernel", (f"{linear}.weight",), DENSE_KERNEL, tuple(widths[j - 1 : j + 1])
            )
        )
        for role in ("gamma", "beta", "moving_mean", "moving_variance"):
            arrays.append(
                TorchArray(f"{ours}/bn{j}/{role}", (f"{norm}.{ROLES[role]}",), VECTOR, (widths[j],))
            )
    last = f"{FC}.{3 * (len(widths) - 1)}"
    kernel, bias = classifier_arrays(widths[-1], classes)
    return [*arrays, kernel._replace(names=(f"{last}.weight",)), bias._replace(names=(f"{last}.bias",))]


def _arrays(layer: Layer, encoder: Encoder) -> list[TorchArray]:
    """Return the TorchArrays of a layer."""
    modules, arrays = _modules(layer.ours.removeprefix("encoder/"), encoder), []
    for role, shape in layer.shapes.items():
        layout = VECTOR
        if role == "kernel":
            layout = GATE_KERNEL if "/se/" in layer.ours else CONV_KERNEL
        names = tuple(f"{module}.{ROLES[role]}" for module in modules)
        ours = shape[2:] if layout == GATE_KERNEL else shape
        arrays.append(TorchArray(f"{layer.ours}/{role}", names, layout, tuple(ours)))
    return arrays


_DEEP_STEM = {"conv1": "conv1.0", "bn1": "conv1.1", "conv2": "conv1.3", "bn2": "conv1.4"}
_DEEP_STEM |= {"conv3": "conv1.6", "bn3": "bn1"}
_SELECTIVE = {"squeeze_conv": "fc_reduce", "squeeze_bn": "bn", "mix_conv": "fc_select"}


def _modules(ours: str, encoder: Encoder) -> tuple[str, ...]:
    """Return the modules in PyTorch of a layer of ours, such as block_group1/block2/conv3."""
    stem = re.fullmatch(r"stem/(\w+)", ours)
    if stem:
        deep = encoder.selective_kernel and not encoder.small_images
        return (_DEEP_STEM[stem[1]] if deep else stem[1],)
    group, block, rest = re.fullmatch(r"block_group(\d)/block(\d+)/(.+)", ours).groups()
    at = f"layer{group}.{int(block) - 1}"
    if rest in ("shortcut_conv", "shortcut_bn"):
        place = (rest == "shortcut_bn") + encoder.selective_kernel  # ResNet-D has an average pool before them
        return (f"{at}.downsample.{place}",)
    if rest.startswith("sk/"):
        name = rest.removeprefix("sk/")
        if name in _SELECTIVE:
            return (f"{at}.conv2.attn.{_SELECTIVE[name]}",)
        return tuple(f"{at}.conv2.paths.{stream}.{name}" for stream in (0, 1))
    if rest.startswith("se/"):
        return (f"{at}.se.{'fc1' if rest == 'se/reduce' else 'fc2'}",)
    if (
        encoder.selective_kernel and encoder.depth >= 50
    ):  # timm has one module for convolution and normalization
        return (f"{at}.conv{rest[-1]}.{'conv' if rest.startswith('conv') else 'bn'}",)
    return (f"{at}.{rest}",)
