"""The parts of the encoder: convolution, selective kernel, squeeze-excitation, residual blocks."""

import keras
import tensorflow as tf

from simclr_keras.models.batch_norm import BatchNormalization

SK_RATIO = 0.0625  # Chen et al. 2020 (v2), appendix
SK_MIN_CHANNELS = 32


@keras.saving.register_keras_serializable("simclr_keras")
class Conv2D(keras.layers.Layer):
    """Convolution without bias whose padding does not depend on the image size.

    A stride above 1 pads (k-1)//2 rows before and the rest of k-1 after; stride 1 is SAME.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides

    def build(self, input_shape: tuple) -> None:
        self.kernel = self.add_weight(
            (self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal"),
            name="kernel",
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        padding = "SAME"
        if self.strides > 1:
            inputs = pad(inputs, self.kernel_size)
            padding = "VALID"
        return tf.nn.conv2d(inputs, tf.convert_to_tensor(self.kernel), self.strides, padding)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }


def pad(images: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Pad height and width with kernel_size - 1 zeros in all, the smaller half before."""
    before = (kernel_size - 1) // 2
    after = kernel_size - 1 - before
    if not before + after:
        return images
    return tf.pad(images, [[0, 0], [before, after], [before, after], [0, 0]])


def spatial_mean(x: tf.Tensor) -> tf.Tensor:
    """Return the mean over height and width [n, c], summed in float32 or better."""
    return tf.reduce_mean(tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32), [1, 2])


class Composite(keras.layers.Layer):
    """A layer whose configuration is its constructor's arguments, given to `configure`."""

    def configure(self, **arguments) -> None:
        self._arguments = arguments

    def get_config(self) -> dict:
        return {**super().get_config(), **self._arguments}


@keras.saving.register_keras_serializable("simclr_keras")
class SelectiveKernel(Composite):
    """A 3x3 convolution in two streams, mixed per channel by a softmax over their global averages.

    Reference: Li et al. 2019, arXiv 1903.06586, in the form of Chen et al. 2020, arXiv 2006.10029.
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.configure(filters=filters, strides=strides)
        dtype = self.dtype_policy
        squeezed = max(int(filters * SK_RATIO), SK_MIN_CHANNELS)
        self.conv = Conv2D(2 * filters, 3, strides, name="conv", dtype=dtype)
        self.bn = BatchNormalization(name="bn", dtype=dtype)
        self.squeeze_conv = Conv2D(squeezed, 1, name="squeeze_conv", dtype=dtype)
        self.squeeze_bn = BatchNormalization(name="squeeze_bn", dtype=dtype)
        self.mix_conv = Conv2D(2 * filters, 1, name="mix_conv", dtype=dtype)

    def build(self, input_shape: tuple) -> None:
        filters, strides = self._arguments["filters"], self._arguments["strides"]
        self.conv.build(input_shape)
        streams = (*strided(input_shape, strides)[:3], 2 * filters)
        self.bn.build(streams)
        self.squeeze_conv.build((None, 1, 1, filters))
        self.squeeze_bn.build((None, 1, 1, self.squeeze_conv.filters))
        self.mix_conv.build((None, 1, 1, self.squeeze_conv.filters))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        streams = tf.nn.relu(self.bn(self.conv(inputs), training=training))
        # Not add_n: 8-bit converters leave that one in float32.
        first, second = tf.split(spatial_mean(streams), 2, axis=-1)
        features = (first + second)[:, tf.newaxis, tf.newaxis]
        features = tf.nn.relu(self.squeeze_bn(self.squeeze_conv(features), training=training))
        first, second = tf.split(streams, 2, axis=-1)
        logits_first, logits_second = tf.split(self.mix_conv(features), 2, axis=-1)
        # The softmax of two logits is the logistic function of their difference.
        share = tf.sigmoid(logits_first - logits_second)
        return second + share * (first - second)


@keras.saving.register_keras_serializable("simclr_keras")
class SqueezeExcite(Composite):
    """Scale every channel by a gate computed from the global average (Hu et al. 2018, arXiv 1709.01507).

    Args:
        reduced: channels of the hidden layer.
    """

    def __init__(self, reduced: int, **kwargs):
        super().__init__(**kwargs)
        self.configure(reduced=reduced)

    def build(self, input_shape: tuple) -> None:
        channels, dtype = input_shape[-1], self.dtype_policy
        scaling = {"kernel_initializer": "variance_scaling", "dtype": dtype}
        self.reduce = keras.layers.Dense(
            self._arguments["reduced"], activation="relu", name="reduce", **scaling
        )
        self.expand = keras.layers.Dense(channels, activation="sigmoid", name="expand", **scaling)
        self.reduce.build((None, channels))
        self.expand.build((None, self._arguments["reduced"]))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        gates = self.expand(self.reduce(spatial_mean(inputs)))
        return inputs * gates[:, tf.newaxis, tf.newaxis]


@keras.saving.register_keras_serializable("simclr_keras")
class ResidualBlock(Composite):
    """A residual block, basic (two 3x3) or bottleneck (1x1, 3x3 with the stride, 1x1 to 4 x filters).

    Args:
        filters: width of the 3x3 convolutions.
        strides: 1 or 2.
        bottleneck: which of the two kinds.
        project: whether the shortcut has a convolution of its own (first block of a group).
        selective_kernel: ResNet-D shortcut and, in bottlenecks, a selective kernel.
        se_ratio: hidden width of squeeze-excitation as a share of `filters`; 0 for none.
    """

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        bottleneck: bool = True,
        project: bool = False,
        selective_kernel: bool = False,
        se_ratio: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.configure(
            filters=filters,
            strides=strides,
            bottleneck=bottleneck,
            project=project,
            selective_kernel=selective_kernel,
            se_ratio=se_ratio,
        )
        self.strides = strides
        self.selective_kernel = selective_kernel
        self.out_channels = filters * (4 if bottleneck else 1)
        dtype = self.dtype_policy

        def conv(name, channels, kernel_size, strides=1):
            return Conv2D(channels, kernel_size, strides, name=name, dtype=dtype)

        def norm(name, gamma_initializer="ones"):
            return BatchNormalization(gamma_initializer=gamma_initializer, name=name, dtype=dtype)

        self.shortcut_conv = self.shortcut_bn = self.se = None
        if project:
            shortcut_strides = 1 if selective_kernel else strides
            self.shortcut_conv = conv("shortcut_conv", self.out_channels, 1, shortcut_strides)
            self.shortcut_bn = norm("shortcut_bn")
        # Pairs of a convolution and its normalization; the selective kernel brings its own.
        if bottleneck:
            self.conv1, self.bn1 = conv("conv1", filters, 1), norm("bn1")
            if selective_kernel:
                self.conv2 = SelectiveKernel(filters, strides, name="sk", dtype=dtype)
                self.bn2 = None
            else:
                self.conv2, self.bn2 = conv("conv2", filters, 3, strides), norm("bn2")
            self.conv3, self.bn3 = conv("conv3", self.out_channels, 1), norm("bn3", "zeros")
            self._branch = ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")
        else:
            self.conv1, self.bn1 = conv("conv1", filters, 3, strides), norm("bn1")
            self.conv2, self.bn2 = conv("conv2", filters, 3), norm("bn2", "zeros")
            self._branch = ("conv1", "bn1"), ("conv2", "bn2")
        if se_ratio > 0:
            self.se = SqueezeExcite(max(1, int(filters * se_ratio)), name="se", dtype=dtype)

    def build(self, input_shape: tuple) -> None:
        batch, _, _, channels = input_shape
        if self.shortcut_conv is not None:
            self.shortcut_conv.build(input_shape)
            self.shortcut_bn.build((batch, None, None, self.out_channels))
        filters = self._arguments["filters"]
        for conv_name, bn_name in self._branch:
            getattr(self, conv_name).build((batch, None, None, channels))
            channels = self.out_channels if conv_name == self._branch[-1][0] else filters
            if getattr(self, bn_name) is not None:
                getattr(self, bn_name).build((batch, None, None, channels))
        if self.se is not None:
            self.se.build((batch, None, None, self.out_channels))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        shortcut = inputs
        if self.shortcut_conv is not None:
            if self.selective_kernel:
                shortcut = average_pool(shortcut, self.strides)
            shortcut = self.shortcut_bn(self.shortcut_conv(shortcut), training=training)
        x = inputs
        for conv_name, bn_name in self._branch:
            conv, bn = getattr(self, conv_name), getattr(self, bn_name)
            if bn is None:
                x = conv(x, training=training)
                continue
            x = bn(conv(x), training=training)
            if conv_name != self._branch[-1][0]:
                x = tf.nn.relu(x)
        if self.se is not None:
            x = self.se(x)
        return tf.nn.relu(x + shortcut)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*strided(input_shape, self.strides)[:3], self.out_channels)


def average_pool(images: tf.Tensor, strides: int) -> tf.Tensor:
    """Return the 2x2 average pool of the ResNet-D shortcut (He et al. 2019, arXiv 1812.01187)."""
    if strides == 1:
        return tf.nn.avg_pool2d(images, 2, 1, "SAME")
    return tf.nn.avg_pool2d(pad(images, 2), 2, strides, "VALID")


def strided(shape: tuple, strides: int) -> tuple:
    """Return the shape [n, h, w, c] after a padded operation of that stride; unknown sizes stay unknown."""
    batch, height, width, channels = shape
    return (batch, *(size and -(-size // strides) for size in (height, width)), channels)
