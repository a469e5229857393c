"""The forward pass of a ResNet from the names of its arrays in PyTorch, in NumPy: slow and obvious.

It compares a written file with our network. It follows torchvision and timm line by line, not our layers.
"""

import re

import numpy as np

EPSILON = 1e-5


def forward(arrays: dict[str, np.ndarray], images: np.ndarray, max_pool_padding: str) -> dict:
    """Return the representation [n, d] and, with a classifier, the logits [n, classes], in float64.

    Args:
        arrays: of the file by name.
        images: float [n, 3, h, w], normalized if the network takes such images.
        max_pool_padding: "torch", or "same" as in networks of this package.
    """
    network = {name: value.astype(np.float64) for name, value in arrays.items()}
    x = _stem(network, images.astype(np.float64), max_pool_padding)
    blocks = {name.rpartition(".conv1")[0] for name in network if re.match(r"layer\d\.\d+\.conv1", name)}
    for block in sorted(blocks, key=lambda name: [int(number) for number in re.findall(r"\d+", name)]):
        x = _block(network, block, x)
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
    return outputs


def _stem(network, x, max_pool_padding):
    if "conv1.weight" in network:
        small = network["conv1.weight"].shape[-1] == 3
        x = _relu(_norm(network, "bn1", _conv(network, "conv1", x, 1 if small else 2)))
        if small:
            return x
    else:
        x = _relu(_norm(network, "conv1.1", _conv(network, "conv1.0", x, 2)))
        x = _relu(_norm(network, "conv1.4", _conv(network, "conv1.3", x)))
        x = _relu(_norm(network, "bn1", _conv(network, "conv1.6", x)))
    height = x.shape[2]
    before = 1 if max_pool_padding == "torch" or height % 2 else 0
    return _windows(_pad(x, before, 1), 3, 2, _largest)


def _block(network, block, x):
    stride = 2 if not block.startswith("layer1.") and block.endswith(".0") else 1
    bottleneck = any(f"{block}.conv3{part}.weight" in network for part in ("", ".conv"))
    branch = x
    for conv in ("conv1", "conv2", "conv3") if bottleneck else ("conv1", "conv2"):
        strides = stride if conv == ("conv2" if bottleneck else "conv1") else 1
        if f"{block}.{conv}.attn.fc_reduce.weight" in network:
            branch = _selective(network, f"{block}.{conv}", branch, strides)
            continue
        joint = f"{block}.{conv}.conv.weight" in network
        norm = f"{block}.{conv}.bn" if joint else f"{block}.bn{conv[-1]}"
        branch = _norm(network, norm, _conv(network, f"{block}.{conv}{'.conv' * joint}", branch, strides))
        if conv != ("conv3" if bottleneck else "conv2"):
            branch = _relu(branch)
    if f"{block}.se.fc1.weight" in network:
        gates = branch.mean((2, 3))[:, :, None, None]
        gates = _relu(_conv(network, f"{block}.se.fc1", gates))
        branch = branch * _sigmoid(_conv(network, f"{block}.se.fc2", gates))
    if f"{block}.downsample.0.weight" in network:
        x = _norm(network, f"{block}.downsample.1", _conv(network, f"{block}.downsample.0", x, stride))
    elif f"{block}.downsample.1.weight" in network:
        x = _average(x, stride)
        x = _norm(network, f"{block}.downsample.2", _conv(network, f"{block}.downsample.1", x))
    return _relu(branch + x)


def _selective(network, name, x, stride):
    streams = [
        _relu(_norm(network, f"{name}.paths.{i}.bn", _conv(network, f"{name}.paths.{i}.conv", x, stride)))
        for i in (0, 1)
    ]
    pooled = (streams[0] + streams[1]).mean((2, 3))[:, :, None, None]
    pooled = _relu(_norm(network, f"{name}.attn.bn", _conv(network, f"{name}.attn.fc_reduce", pooled)))
    scores = _conv(network, f"{name}.attn.fc_select", pooled)
    channels = scores.shape[1] // 2
    share = _sigmoid(scores[:, :channels] - scores[:, channels:])  # a softmax over two
    return streams[0] * share + streams[1] * (1 - share)


def _conv(network, name, x, stride=1):
    weight = network[f"{name}.weight"]
    around = weight.shape[-1] // 2
    x = convolve(_pad(x, around, around), weight, stride)
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


def _average(x, stride):
    """Return the 2x2 average pool of ResNet-D; with stride 1 the windows at the far border have fewer pixels."""
    if stride == 2:
        return _windows(_pad(x, 0, x.shape[2] % 2), 2, 2, sum) / 4
    counts = _windows(_pad(x * 0 + 1, 0, 1), 2, 1, sum)
    return _windows(_pad(x, 0, 1), 2, 1, sum) / counts


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


def convolve(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """Return the valid cross-correlation of x [n, in, h, w] and weight [out, in, k, k]."""
    size = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]
    return np.tensordot(windows, weight, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)


def _pad(x, before, after):
    return np.pad(x, [(0, 0), (0, 0), (before, after), (before, after)])


def _largest(parts):
    return np.max(parts, axis=0)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _relu(x):
    return x.clip(min=0)
