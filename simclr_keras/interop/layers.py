"""The layers of a released network in the order in which the release creates them, with their shapes and our paths.

No weights and no Keras: the keys and shapes of a file are checked before a network of up to 800 M parameters is built.
"""

import functools
from typing import NamedTuple

from simclr_keras.models.blocks import SK_MIN_CHANNELS, SK_RATIO
from simclr_keras.models.resnet import BLOCKS, GROUP_CHANNELS, scaled

CONV, NORM, HEAD_DENSE, HEAD_NORM, CLASSIFIER = "conv", "norm", "head dense", "head norm", "classifier"
NORM_ROLES = ("gamma", "beta", "moving_mean", "moving_variance")


class Layer(NamedTuple):
    """A layer with weights.

    Attributes:
        kind: CONV or NORM (of the encoder, each numbered by the release on its own), HEAD_DENSE, HEAD_NORM, CLASSIFIER.
        ours: its path within a SimCLRModel.
        shapes: dict of role ("kernel", "gamma", ...) to the shape in the release, a tuple.
        path: of an encoder's layer: its object path in the release's TF2 network, from resnet_model on.
        group: of an encoder's layer: 0 for the stem, 1-4 for a block group.
    """

    kind: str
    ours: str
    shapes: dict
    path: str = ""
    group: int = 0


class Encoder(NamedTuple):
    """The variant of a released encoder, in the words of `create_model` and ResNet."""

    depth: int
    width: float
    selective_kernel: bool
    se_ratio: float
    small_images: bool

    @property
    def name(self) -> str:
        return f"r{self.depth}_{self.width:g}x_sk{int(self.selective_kernel)}"

    @property
    def features(self) -> int:
        """Return the width of the representation."""
        return scaled(GROUP_CHANNELS[-1], self.width) * (4 if self.depth >= 50 else 1)


def encoder_layers(encoder: Encoder) -> tuple[Layer, ...]:
    """Return the layers of an Encoder as a tuple of Layer: those of each kind are in the release's order."""
    layers = []

    def conv(ours, path, size, inputs, outputs, group=0, bias=False):
        shapes = {"kernel": (size, size, inputs, outputs)} | ({"bias": (outputs,)} if bias else {})
        layers.append(Layer(CONV, f"encoder/{ours}", shapes, path, group))

    def norm(ours, path, channels, group=0):
        shapes = dict.fromkeys(NORM_ROLES, (channels,))
        layers.append(Layer(NORM, f"encoder/{ours}", shapes, f"{path}/bn", group))

    _stem(encoder, conv, norm)
    channels = scaled(GROUP_CHANNELS[0], encoder.width)
    for g, (num_blocks, full) in enumerate(zip(BLOCKS[encoder.depth], GROUP_CHANNELS), start=1):
        filters = scaled(full, encoder.width)
        for b in range(1, num_blocks + 1):
            add = functools.partial(conv, group=g), functools.partial(norm, group=g)
            channels = _block(encoder, g, b, channels, filters, *add)
    return tuple(layers)


def _stem(encoder, conv, norm):
    full, half = scaled(64, encoder.width), scaled(32, encoder.width)
    # (size, channels, place of the convolution in the release's list, place of its normalization)
    parts = ((7, full, 0, 2),)
    if encoder.small_images:
        parts = ((3, full, 0, 2),)
    elif encoder.selective_kernel:
        parts = ((3, half, 0, 1), (3, half, 2, 3), (3, full, 4, 6))
    inputs = 3
    for i, (size, outputs, conv_place, norm_place) in enumerate(parts, start=1):
        place = "initial_conv_relu_max_pool"
        conv(f"stem/conv{i}", f"{place}/{conv_place}/conv2d", size, inputs, outputs)
        norm(f"stem/bn{i}", f"{place}/{norm_place}", outputs)
        inputs = outputs


def _block(encoder, g, b, inputs, filters, conv, norm):
    """Add a residual block; returns its output channels."""
    bottleneck, sk = encoder.depth >= 50, encoder.selective_kernel
    ours, path = f"block_group{g}/block{b}", f"block_groups/{g - 1}/layers/{b - 1}"
    outputs = filters * (4 if bottleneck else 1)
    if b == 1:
        # ResNet-D puts an average pool before the convolution, and a padding before that if there is a stride.
        place = (1 if g == 1 else 2) if sk else 0
        shortcut = f"{path}/{'projection' if bottleneck else 'shortcut'}_layers"
        conv(f"{ours}/shortcut_conv", f"{shortcut}/{place}/conv2d", 1, inputs, outputs)
        norm(f"{ours}/shortcut_bn", f"{shortcut}/{place + 1}", outputs)
    if not bottleneck:
        branch = f"{path}/conv2d_bn_layers"
        conv(f"{ours}/conv1", f"{branch}/0/conv2d", 3, inputs, filters)
        norm(f"{ours}/bn1", f"{branch}/1", filters)
        conv(f"{ours}/conv2", f"{branch}/2/conv2d", 3, filters, filters)
        norm(f"{ours}/bn2", f"{branch}/3", filters)
        gates = f"{path}/se_layer"
    else:
        branch = f"{path}/conv_relu_dropblock_layers"
        conv(f"{ours}/conv1", f"{branch}/0/conv2d", 1, inputs, filters)
        norm(f"{ours}/bn1", f"{branch}/1", filters)
        if sk:
            squeezed = max(int(filters * SK_RATIO), SK_MIN_CHANNELS)
            conv(f"{ours}/sk/conv", f"{branch}/3/conv2d_fixed_padding/conv2d", 3, filters, 2 * filters)
            norm(f"{ours}/sk/bn", f"{branch}/3/batch_norm_relu", 2 * filters)
            conv(f"{ours}/sk/squeeze_conv", f"{branch}/3/conv2d_0", 1, filters, squeezed)
            norm(f"{ours}/sk/squeeze_bn", f"{branch}/3/batch_norm_relu_1", squeezed)
            conv(f"{ours}/sk/mix_conv", f"{branch}/3/conv2d_1", 1, squeezed, 2 * filters)
        else:
            conv(f"{ours}/conv2", f"{branch}/3/conv2d", 3, filters, filters)
            norm(f"{ours}/bn2", f"{branch}/4", filters)
        last = 5 if sk else 6
        conv(f"{ours}/conv3", f"{branch}/{last}/conv2d", 1, filters, outputs)
        norm(f"{ours}/bn3", f"{branch}/{last + 1}", outputs)
        gates = f"{branch}/{last + 3}"
    if encoder.se_ratio:
        reduced = max(1, int(filters * encoder.se_ratio))
        conv(f"{ours}/se/reduce", f"{gates}/se_reduce", 1, outputs, reduced, bias=True)
        conv(f"{ours}/se/expand", f"{gates}/se_expand", 1, reduced, outputs, bias=True)
    return outputs


def head_layers(features: int, num_layers: int, hidden: int, out: int) -> tuple[Layer, ...]:
    """Return the layers of a projection head as a tuple of Layer.

    Args:
        features: width of its input. hidden, out: widths of the hidden layers and the last.
    """
    layers, inputs = [], features
    for j in range(1, num_layers + 1):
        last = j == num_layers
        outputs = out if last else hidden
        layers.append(Layer(HEAD_DENSE, f"projection_head/dense{j}", {"kernel": (inputs, outputs)}))
        roles = [role for role in NORM_ROLES if not (last and role == "beta")]
        layers.append(Layer(HEAD_NORM, f"projection_head/bn{j}", dict.fromkeys(roles, (outputs,))))
        inputs = outputs
    return tuple(layers)


def classifier_layer(inputs: int, classes: int) -> Layer:
    """Return the linear classifier's Layer."""
    return Layer(CLASSIFIER, "classifier", {"kernel": (inputs, classes), "bias": (classes,)})
