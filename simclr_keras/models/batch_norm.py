"""Batch normalization: statistics over the batch of all replicas or of each, by fused kernels if they are exact."""

import keras
import tensorflow as tf
from tensorflow.python.ops import control_flow_util  # the only way to ask whether XLA compiles this function

from simclr_keras.errors import InputError
from simclr_keras.models.batch_moments import combine, row_count, weighted_means
from simclr_keras.replicas import OWN_COPIES, num_replicas, sum_over_replicas


@keras.saving.register_keras_serializable("simclr_keras")
class BatchNormalization(keras.layers.Layer):
    """Normalize over all axes but the last, with the statistics of the global batch.

    The moving variance follows the biased batch variance, as in the released SimCLR code. Fused kernels do the work,
    except in float64 and under XLA (whose fused kernel computes E[x^2] - E[x]^2 and loses the variance if
    mean >> std): there the same maths is written out. More than one replica costs one collective in the forward and
    one in the backward direction, whose size does not depend on the number of replicas. Statistics are float32 under
    bfloat16. With `trainable=False` the layer runs in inference mode and nothing moves.

    After `use_local_statistics`, each replica normalizes with the statistics of its own examples. The moving statistics
    follow the mean of the replicas' statistics, weighted by their examples, so that they stay the same everywhere.

    Reference: Ioffe and Szegedy 2015, arXiv 1502.03167; Chen et al. 2020, arXiv 2002.05709, section 2.2.

    Args:
        momentum: how much of the moving statistics stays at each training call, in [0, 1].
        epsilon: added to the variance.
        center: whether there is an offset beta.
        scale: whether there is a factor gamma.
        gamma_initializer: where gamma starts.
        fused: None chooses as above, False always takes the unfused path.
    """

    is_global = True

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        gamma_initializer: str | keras.initializers.Initializer = "ones",
        fused: bool | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0 <= momentum <= 1:
            raise InputError(f"momentum must be in [0, 1]. Received: momentum={momentum}")
        if epsilon <= 0:
            raise InputError(f"epsilon must be positive. Received: epsilon={epsilon}")
        if fused not in (None, False):
            raise InputError(f"fused must be None (where possible) or False (never). Received: fused={fused}")
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.fused = fused
        self.supports_masking = True

    def build(self, input_shape: tuple) -> None:
        shape = (input_shape[-1],)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(shape, self.gamma_initializer, name="gamma", autocast=False)
        if self.center:
            self.beta = self.add_weight(shape, "zeros", name="beta", autocast=False)
        arguments = {"shape": shape, "dtype": self.variable_dtype, **OWN_COPIES}
        self.moving_mean = keras.Variable("zeros", name="moving_mean", **arguments)
        self.moving_variance = keras.Variable("ones", name="moving_variance", **arguments)

    def call(self, inputs: tf.Tensor, training: bool = False, mask: None = None) -> tf.Tensor:
        # The mask, of which images have none, is an argument in the graphs of functional models.
        dtype = tf.as_dtype(self.variable_dtype)
        channels = inputs.shape[-1]
        gamma = tf.ones([channels], dtype) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        beta = tf.zeros([channels], dtype) if self.beta is None else tf.convert_to_tensor(self.beta)
        replicas = num_replicas()
        training = bool(training) and self.trainable
        fused = self.fused is None and dtype == tf.float32 and not in_xla_context()
        if not training:
            mean, variance = (
                tf.convert_to_tensor(self.moving_mean),
                tf.convert_to_tensor(self.moving_variance),
            )
            normalize = fused_inference if fused else unfused_inference
            return normalize(inputs, gamma, beta, mean, variance, self.epsilon)
        together = replicas if self.is_global else 1
        if not fused:
            outputs, mean, variance = unfused_training(inputs, gamma, beta, self.epsilon, together)
        else:
            train = fused_training if together == 1 else replicated_training
            outputs, mean, variance = train(inputs, gamma, beta, self.epsilon)
        if together < replicas:
            mean, variance = weighted_means(mean, variance, row_count(inputs, dtype))
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = tf.convert_to_tensor(moving)
            moving.assign(old * self.momentum + tf.stop_gradient(batch) * (1 - self.momentum))
        return outputs

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "fused": self.fused,
        }


def batch_norm_layers(model: keras.layers.Layer) -> list[BatchNormalization]:
    """Return every BatchNormalization within a built model or layer."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, BatchNormalization)]


def use_local_statistics(model: keras.Model) -> None:
    """Make every BatchNormalization of a model use the statistics of each replica alone in training.

    To be called before the training step is traced. On one device, and in the saved model, nothing changes.

    >>> from simclr_keras import create_model
    >>> from simclr_keras.models.batch_norm import use_local_statistics
    >>> use_local_statistics(create_model("r18_0.125x_sk0", image_size=8))
    """
    for layer in batch_norm_layers(model):
        layer.is_global = False


def in_xla_context() -> bool:
    """Return whether the function being traced is going to be compiled by XLA."""
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )


def fused_training(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return x normalized with its own statistics [n, ..., c], and its mean and biased variance [c]."""
    x4 = as_images(x)
    empty = tf.constant([], gamma.dtype)
    result = tf.raw_ops.FusedBatchNormV3(
        x=x4, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    # The kernel divides the sum of squares by max(count - 1, 1).
    count = row_count(x4, gamma.dtype)
    variance = result.batch_variance * (tf.maximum(count - 1, 1) / tf.maximum(count, 1))
    return like(x, result.y), result.batch_mean, variance


def fused_inference(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, epsilon: float
) -> tf.Tensor:
    result = tf.raw_ops.FusedBatchNormV3(
        x=as_images(x),
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    )
    return like(x, result.y)


def as_images(x: tf.Tensor) -> tf.Tensor:
    """Return x as [n, h, w, c], which the fused kernel needs."""
    return x if len(x.shape) == 4 else tf.reshape(x, [-1, 1, 1, x.shape[-1]])


def like(x: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Undo as_images. A reshape without effect would keep TensorFlow from fusing the ReLU behind it."""
    if len(x.shape) == 4:
        return images
    # Without asking for the shape at run time: converted for phones, that keeps a network off their accelerators.
    return tf.reshape(images, [-1, *x.shape[1:]] if x.shape[1:].is_fully_defined() else tf.shape(x))


def unfused_inference(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, epsilon: float
) -> tf.Tensor:
    centered = tf.cast(x, gamma.dtype) - mean
    return tf.cast(centered * (gamma * tf.math.rsqrt(variance + epsilon)) + beta, x.dtype)


def replicated_training(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As fused_training, over the examples of all replicas; the maths is that of unfused_training.

    The kernel for training gives the statistics of this replica, the one for inference normalizes with those of all.
    The gradient kernel for inference, to which mean and variance are constants, gives gamma / std * dy and both sums.
    The rest of dx, -gamma / std * (sum dy + xhat * sum dy*xhat) / N, is a normalization of x, too.
    """

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        _, mean, variance = fused_training(x, gamma, beta, epsilon)
        mean, variance, count = combine(mean, variance, row_count(x, gamma.dtype))

        def gradient(dy, *_):
            frozen = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=as_images(dy),
                x=as_images(x),
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.constant([], gamma.dtype),
                epsilon=epsilon,
                is_training=False,
            )
            dbeta, dgamma = frozen.offset_backprop, frozen.scale_backprop
            sums = sum_over_replicas([dbeta, dgamma])
            slope = -gamma * tf.math.rsqrt(variance + epsilon) / count
            rest = fused_inference(x, slope * sums[1], slope * sums[0], mean, variance, epsilon)
            return like(x, frozen.x_backprop) + rest, dgamma, dbeta

        return (fused_inference(x, gamma, beta, mean, variance, epsilon), mean, variance), gradient

    return normalize(x, gamma, beta)


def unfused_training(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, replicas: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As fused_training, over the examples of all replicas.

    Forward: mean and variance are those of each replica, combined. Backward:
    with y = gamma * xhat + beta over N rows, dx = gamma / std * (dy - (sum dy + xhat * sum dy*xhat) / N).
    The gradients of gamma and beta stay local, as those of all other variables do.
    """
    axes = list(range(len(x.shape) - 1))

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        x_float = tf.cast(x, gamma.dtype)
        mean = tf.reduce_mean(x_float, axes)
        variance = tf.reduce_mean(tf.math.squared_difference(x_float, mean), axes)
        count = row_count(x, gamma.dtype)
        if replicas > 1:
            mean, variance, count = combine(mean, variance, count)
        inverse = tf.math.rsqrt(variance + epsilon)
        outputs = tf.cast((x_float - mean) * (inverse * gamma) + beta, x.dtype)

        def gradient(dy, *_):
            dy = tf.cast(dy, gamma.dtype)
            xhat = (tf.cast(x, gamma.dtype) - mean) * inverse
            dbeta, dgamma = tf.reduce_sum(dy, axes), tf.reduce_sum(dy * xhat, axes)
            sums = sum_over_replicas([dbeta, dgamma]) if replicas > 1 else [dbeta, dgamma]
            dx = (dy - (sums[0] + xhat * sums[1]) / count) * (inverse * gamma)
            return tf.cast(dx, x.dtype), dgamma, dbeta

        return (outputs, mean, variance), gradient

    return normalize(x, gamma, beta)
