"""The forward pass of a ResNet from the names of its arrays in PyTorch, in NumPy or in PyTorch: slow and obvious.

It compares a written file with our network. It follows torchvision and timm line by line, not our layers.
"""

import re
from typing import Any

import numpy as np

EPSILON = 1e-5


class NumPy:
    """What NumPy and PyTorch do not share. Arrays are [n, c, h, w]."""

    @staticmethod
    def array(value: np.ndarray) -> Any:
        return value.astype(np.float64)

    @staticmethod
    def pad(x: Any, before: int, after: int) -> Any:
        return np.pad(x, [(0, 0), (0, 0), (before, after), (before, after)])

    @staticmethod
    def conv(x: Any, weight: Any, stride: int) -> Any:
        """Return the valid cross-correlation; weight [out, in, k, k]."""
        size = weight.shape[-1]
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]
        return np.tensordot(windows, weight, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)

    @staticmethod
    def largest(parts: list) -> Any:
        return np.max(parts, axis=0)

    @staticmethod
    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))


class Torch:
    """The same functions of PyTorch."""

    @staticmethod
    def array(value: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(value))

    @staticmethod
    def pad(x: Any, before: int, after: int) -> Any:
        import torch

        return torch.nn.functional.pad(x, (before, after, before, after))

    @staticmethod
    def conv(x: Any, weight: Any, stride: int) -> Any:
        import torch

        return torch.nn.functional.conv2d(x, weight, stride=stride)

    @staticmethod
    def largest(parts: list) -> Any:
        import torch

        return torch.stack(parts).amax(0)

    @staticmethod
    def sigmoid(x: Any) -> Any:
        return x.sigmoid()


def forward(
    arrays: dict[str, np.ndarray], images: np.ndarray, max_pool_padding: str, ops: Any = NumPy
) -> dict:
    """Return the representation [n, d] and, with a classifier, the logits [n, classes], as NumPy arrays.

    Args:
        arrays: of the file by name.
        images: float [n, 3, h, w], normalized if the network takes such images.
        max_pool_padding: "torch", or "same" as in networks of this package.
        ops: NumPy (float64) or Torch (the arrays' precision).
    """
    network = {name: ops.array(value) for name, value in arrays.items()}
    x = _stem(network, ops.array(images), max_pool_padding, ops)
    blocks = {name.rpartition(".conv1")[0] for name in network if re.match(r"layer\d\.\d+\.conv1", name)}
    for block in sorted(blocks, key=lambda name: [int(number) for number in re.findall(r"\d+", name)]):
        x = _block(network, block, x, ops)
    features = x.mean((2, 3))
    outputs = {"final_avg_pool": features}
    dense = sorted({int(match[1]) for name in network if (match := re.match(r"fc\.(\d+)\.", name))})
    if "fc.weight" in network:
        outputs["logits"] = features @ network["fc.weight"].T + network["fc.bias"]
    elif dense:
        for place in dense[:-1:2]:
            features = features @ network[f"fc.{place}.weight"].T
            features = _relu(_norm(network, f"fc.{place + 1}", features))
        outputs["logits"] = features @ network[f"fc.{dense[-1]}.weight"].T + network[f"fc.{dense[-1]}.bias"]
    return {name: np.asarray(value) for name, value in outputs.items()}


def _stem(network, x, max_pool_padding, ops):
    if "conv1.weight" in network:
        small = network["conv1.weight"].shape[-1] == 3
        x = _relu(_norm(network, "bn1", _conv(network, "conv1", x, ops, 1 if small else 2)))
        if small:
            return x
    else:
        x = _relu(_norm(network, "conv1.1", _conv(network, "conv1.0", x, ops, 2)))
        x = _relu(_norm(network, "conv1.4", _conv(network, "conv1.3", x, ops)))
        x = _relu(_norm(network, "bn1", _conv(network, "conv1.6", x, ops)))
    height = x.shape[2]
    before = 1 if max_pool_padding == "torch" or height % 2 else 0
    return _windows(ops.pad(x, before, 1), 3, 2, ops.largest)


def _block(network, block, x, ops):
    stride = 2 if not block.startswith("layer1.") and block.endswith(".0") else 1
    bottleneck = any(f"{block}.conv3{part}.weight" in network for part in ("", ".conv"))
    branch = x
    for conv in ("conv1", "conv2", "conv3") if bottleneck else ("conv1", "conv2"):
        strides = stride if conv == ("conv2" if bottleneck else "conv1") else 1
        if f"{block}.{conv}.attn.fc_reduce.weight" in network:
            branch = _selective(network, f"{block}.{conv}", branch, ops, strides)
            continue
        joint = f"{block}.{conv}.conv.weight" in network
        norm = f"{block}.{conv}.bn" if joint else f"{block}.bn{conv[-1]}"
        branch = _norm(
            network, norm, _conv(network, f"{block}.{conv}{'.conv' * joint}", branch, ops, strides)
        )
        if conv != ("conv3" if bottleneck else "conv2"):
            branch = _relu(branch)
    if f"{block}.se.fc1.weight" in network:
        gates = branch.mean((2, 3))[:, :, None, None]
        gates = _relu(_conv(network, f"{block}.se.fc1", gates, ops))
        branch = branch * ops.sigmoid(_conv(network, f"{block}.se.fc2", gates, ops))
    if f"{block}.downsample.0.weight" in network:
        x = _norm(network, f"{block}.downsample.1", _conv(network, f"{block}.downsample.0", x, ops, stride))
    elif f"{block}.downsample.1.weight" in network:
        x = _average(x, stride, ops)
        x = _norm(network, f"{block}.downsample.2", _conv(network, f"{block}.downsample.1", x, ops))
    return _relu(branch + x)


def _selective(network, name, x, ops, stride):
    streams = [
        _relu(
            _norm(network, f"{name}.paths.{i}.bn", _conv(network, f"{name}.paths.{i}.conv", x, ops, stride))
        )
        for i in (0, 1)
    ]
    pooled = (streams[0] + streams[1]).mean((2, 3))[:, :, None, None]
    pooled = _relu(_norm(network, f"{name}.attn.bn", _conv(network, f"{name}.attn.fc_reduce", pooled, ops)))
    scores = _conv(network, f"{name}.attn.fc_select", pooled, ops)
    channels = scores.shape[1] // 2
    share = ops.sigmoid(scores[:, :channels] - scores[:, channels:])  # a softmax over two
    return streams[0] * share + streams[1] * (1 - share)


def _conv(network, name, x, ops, stride=1):
    weight = network[f"{name}.weight"]
    around = weight.shape[-1] // 2
    x = ops.conv(ops.pad(x, around, around), weight, stride)
    bias = network.get(f"{name}.bias")
    return x if bias is None else x + bias[:, None, None]


def _norm(network, name, x):
    weight, bias, mean, variance = (
        network[f"{name}.{role}"] for role in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / (variance + EPSILON) ** 0.5
    shift = bias - mean * scale
    if len(x.shape) == 2:
        return x * scale + shift
    return x * scale[:, None, None] + shift[:, None, None]


def _average(x, stride, ops):
    """Return the 2x2 average pool of ResNet-D; with stride 1 the windows at the far border have fewer pixels."""
    if stride == 2:
        return _windows(ops.pad(x, 0, x.shape[2] % 2), 2, 2, sum) / 4
    counts = _windows(ops.pad(x * 0 + 1, 0, 1), 2, 1, sum)
    return _windows(ops.pad(x, 0, 1), 2, 1, sum) / counts


def _windows(x, size, stride, join):
    """Return `join` of the size x size shifted copies of x, one for each place in a window."""
    height, width = ((length - size) // stride + 1 for length in x.shape[2:])
    return join(
        [
            x[:, :, i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
            for i in range(size)
            for j in range(size)
        ]
    )


def _relu(x):
    return x.clip(min=0)
