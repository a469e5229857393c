"""The encoder: ResNet with selective kernels, ResNet-D and squeeze-excitation; returns named endpoints."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.blocks import Composite, Conv2D, ResidualBlock, pad, spatial_mean, strided
from simclr_keras.models.image_model import ImageModel
from simclr_keras.models.remat import recomputed

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
GROUP_CHANNELS = (64, 128, 256, 512)
POOL_PADDINGS = ("same", "torch")


@keras.saving.register_keras_serializable("simclr_keras")
class Stem(keras.layers.Layer):
    """From the image to the first block group.

    Args:
        width: factor of all channel counts.
        kind: "conv" (7x7/2 and max-pool), "resnet_d" (three 3x3, the first with stride 2, and max-pool), or
            "small" (one 3x3/1, no pool), for images of at most 32 pixels.
        max_pool_padding: see ResNet.
    """

    def __init__(self, width: float, kind: str, max_pool_padding: str = "same", **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.kind = kind
        self.max_pool_padding = max_pool_padding
        full, half = scaled(64, width), scaled(32, width)
        sizes = {
            "conv": ((full, 7, 2),),
            "resnet_d": ((half, 3, 2), (half, 3, 1), (full, 3, 1)),
            "small": ((full, 3, 1),),
        }
        self.depth = len(sizes[kind])
        # Attributes, not lists, here and below: tf.train.Checkpoint does not look into lists of Keras layers.
        for i, size in enumerate(sizes[kind], start=1):
            setattr(self, f"conv{i}", Conv2D(*size, name=f"conv{i}", dtype=self.dtype_policy))
            setattr(self, f"bn{i}", BatchNormalization(name=f"bn{i}", dtype=self.dtype_policy))

    @property
    def pairs(self) -> list:
        return [(getattr(self, f"conv{i}"), getattr(self, f"bn{i}")) for i in range(1, self.depth + 1)]

    def build(self, input_shape: tuple) -> None:
        shape = input_shape
        for conv, norm in self.pairs:
            conv.build(shape)
            shape = (*shape[:3], conv.filters)
            norm.build(shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> dict:
        x = inputs
        for conv, norm in self.pairs:
            initial_conv = conv(x)
            x = tf.nn.relu(norm(initial_conv, training=training))
        if self.kind != "small" and self.max_pool_padding == "torch":
            x = tf.nn.max_pool2d(pad(x, 3), 3, 2, "VALID")  # zeros are no more than any output of ReLU
        elif self.kind != "small":
            x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        return {"initial_conv": initial_conv, "initial_max_pool": x}

    def get_config(self) -> dict:
        config = {"width": self.width, "kind": self.kind, "max_pool_padding": self.max_pool_padding}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("simclr_keras")
class ResNet(ImageModel):
    """Post-activation ResNet v1.5; float [0, 1] images [n, h, w, 3] -> dict of endpoints.

    Endpoints: initial_conv (the stem's last convolution, before its BN), initial_max_pool, block_group1 to
    block_group4 [n, h', w', c], and final_avg_pool [n, c] in float32 (float64 under float64).

    Reference: Chen et al. 2020, arXiv 2006.10029, section 2 and appendix; He et al. 2016, 2019.

    Args:
        depth: 18, 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks).
        width: factor of all channel counts, above 0. Channels are rounded to multiples of 8, at least 8.
        selective_kernel: selective kernels with the ResNet-D stem and shortcuts.
        se_ratio: squeeze-excitation ratio in [0, 1]; 0 for none.
        small_images: the stem for images of at most 32 pixels.
        max_pool_padding: of the stem's max-pool, "same" (as the release: nothing before and one pixel after, for even
            sizes) or "torch" (one pixel on each side).
        pixel_mean, pixel_std: three numbers each, or None; images become (images - mean) / std before the first
            convolution. PyTorch's networks were trained so. At the door, not in the weights, because padding with
            zeros comes after it.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        depth: int,
        width: float = 1.0,
        selective_kernel: bool = False,
        se_ratio: float = 0.0,
        small_images: bool = False,
        max_pool_padding: str = "same",
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        name: str = "encoder",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if depth not in BLOCKS:
            raise InputError(f"depth must be one of {', '.join(map(str, BLOCKS))}. Received: depth={depth}")
        if not width > 0:
            raise InputError(f"width must be above 0. Received: width={width}")
        if not 0 <= se_ratio <= 1:
            raise InputError(f"se_ratio must be in [0, 1]. Received: se_ratio={se_ratio}")
        if max_pool_padding not in POOL_PADDINGS:
            raise InputError(
                f"max_pool_padding must be one of {', '.join(POOL_PADDINGS)}. Received: "
                f"max_pool_padding={max_pool_padding!r}"
            )
        for numbers in (pixel_mean, pixel_std):
            if (numbers is None) != (pixel_mean is None) or (numbers is not None and len(numbers) != 3):
                raise InputError(
                    "pixel_mean and pixel_std must be three numbers each, or both None. "
                    f"Received: pixel_mean={pixel_mean}, pixel_std={pixel_std}"
                )
        self.depth = depth
        self.width = width
        self.max_pool_padding = max_pool_padding
        self.pixel_mean = None if pixel_mean is None else tuple(pixel_mean)
        self.pixel_std = None if pixel_std is None else tuple(pixel_std)
        self.selective_kernel = selective_kernel
        self.se_ratio = se_ratio
        self.small_images = small_images
        kind = "small" if small_images else "resnet_d" if selective_kernel else "conv"
        self.stem = Stem(width, kind, max_pool_padding, name="stem", dtype=self.dtype_policy)
        for i, (num_blocks, channels) in enumerate(zip(BLOCKS[depth], GROUP_CHANNELS), start=1):
            group = BlockGroup(
                num_blocks,
                filters=scaled(channels, width),
                strides=1 if i == 1 else 2,
                bottleneck=depth >= 50,
                selective_kernel=selective_kernel,
                se_ratio=se_ratio,
                name=f"block_group{i}",
                dtype=self.dtype_policy,
            )
            setattr(self, group.name, group)

    @property
    def block_groups(self) -> list:
        return [getattr(self, f"block_group{i}") for i in range(1, 5)]

    def build(self, input_shape: tuple) -> None:
        self.stem.build(input_shape)
        shape = self.compute_output_shape(input_shape)["initial_max_pool"]
        for group in self.block_groups:
            group.build(shape)
            shape = group.compute_output_shape(shape)

    def call(self, images: tf.Tensor, training: bool = False) -> dict:
        if self.pixel_mean is not None:
            mean, std = (tf.constant(numbers, images.dtype) for numbers in (self.pixel_mean, self.pixel_std))
            images = (images - mean) / std
        endpoints = dict(self.stem(images, training=training))
        x = endpoints["initial_max_pool"]
        for group in self.block_groups:
            endpoints[group.name] = x = group(x, training=training)
        endpoints["final_avg_pool"] = spatial_mean(x)
        return endpoints

    def compute_output_shape(self, input_shape: tuple) -> dict:
        shape = (*input_shape[:3], scaled(64, self.width))
        shapes = {"initial_conv": strided(shape, 1 if self.small_images else 2)}
        shapes["initial_max_pool"] = shape = strided(shape, 1 if self.small_images else 4)
        for group in self.block_groups:
            shapes[group.name] = shape = group.compute_output_shape(shape)
        return {**shapes, "final_avg_pool": (shape[0], shape[-1])}

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "depth": self.depth,
            "width": self.width,
            "selective_kernel": self.selective_kernel,
            "se_ratio": self.se_ratio,
            "small_images": self.small_images,
            "max_pool_padding": self.max_pool_padding,
            "pixel_mean": self.pixel_mean,
            "pixel_std": self.pixel_std,
        }


@keras.saving.register_keras_serializable("simclr_keras")
class BlockGroup(Composite):
    """Residual blocks of one width; the first one has the stride and a projected shortcut.

    Attributes:
        remat: whether training stores only the input of each block; `enable_remat` sets it.
    """

    remat = False

    def __init__(
        self,
        num_blocks: int,
        filters: int,
        strides: int,
        bottleneck: bool,
        selective_kernel: bool,
        se_ratio: float,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.configure(
            num_blocks=num_blocks,
            filters=filters,
            strides=strides,
            bottleneck=bottleneck,
            selective_kernel=selective_kernel,
            se_ratio=se_ratio,
        )
        self.num_blocks = num_blocks
        for i in range(1, num_blocks + 1):
            block = ResidualBlock(
                filters,
                strides=strides if i == 1 else 1,
                bottleneck=bottleneck,
                project=i == 1,
                selective_kernel=selective_kernel,
                se_ratio=se_ratio,
                name=f"block{i}",
                dtype=self.dtype_policy,
            )
            setattr(self, block.name, block)

    @property
    def blocks(self) -> list:
        return [getattr(self, f"block{i}") for i in range(1, self.num_blocks + 1)]

    def build(self, input_shape: tuple) -> None:
        for block in self.blocks:
            block.build(input_shape)
            input_shape = block.compute_output_shape(input_shape)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for block in self.blocks:
            x = recomputed(block, x) if self.remat and training else block(x, training=training)
        return x

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        for block in self.blocks:
            input_shape = block.compute_output_shape(input_shape)
        return input_shape


def scaled(channels: int, width: float) -> int:
    """Return channels x width; a fractional width rounds to the nearest multiple of 8, at least 8."""
    if float(width).is_integer():
        return int(channels * width)
    return max(8, 8 * int(channels * width / 8 + 0.5))
