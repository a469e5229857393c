"""Rematerialization (gradient checkpointing): the backward pass computes activations again instead of storing them."""

import keras
import tensorflow as tf

from simclr_keras.errors import InputError


def enable_remat(model: keras.Model) -> None:
    """Make the block groups of a SimCLRModel's encoder store no activations for the backward pass.

    Of each residual block only the input is stored; training then takes about one more forward pass. The gradients
    change by rounding at most. To be called before the training step is traced. The saved model is the same.

    Source: Chen et al. 2016, arXiv 1604.06174.

    >>> from simclr_keras import create_model
    >>> from simclr_keras.models.remat import enable_remat
    >>> model = create_model("r18_0.125x_sk0", image_size=8)
    >>> enable_remat(model)

    Args:
        model: a SimCLRModel whose encoder is a ResNet.

    Raises:
        InputError: the encoder has no block groups of residual blocks (keras: and hub: backbones, your own).
    """
    groups = getattr(model.encoder, "block_groups", None)
    if not groups or not all(hasattr(group, "remat") for group in groups):
        raise InputError(
            "remat needs an encoder r{depth}_{width}x_sk{0,1}, which has groups of residual blocks. "
            f"Received: {type(model.encoder).__name__}"
        )
    for group in groups:
        group.remat = True


def recomputed(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Return layer(inputs, training=True); the backward pass calls the layer again instead of storing activations.

    Neither keras.remat nor tf.recompute_grad fits: with them the second call moves the statistics of batch
    normalization again. Here both calls see the variables as tensors, and only the first one's updates are applied.

    Args:
        layer: a built layer without randomness, whose output is one tensor.
        inputs: float tensor [n, ...].
    """
    if not layer.trainable_variables:
        return layer(inputs, training=True)
    variables, updated = layer.variables, []

    def call(inputs, values):
        scope = keras.StatelessScope()
        for variable, value in zip(variables, values):
            scope.add_update((variable, value))
        with scope:
            return layer(inputs, training=True), [scope.get_current_value(variable) for variable in variables]

    @tf.custom_gradient
    def run(inputs, *values):
        outputs, after = call(inputs, values)
        updates = [(variable, new) for variable, old, new in zip(variables, values, after) if new is not old]
        updated.extend(variable for variable, _ in updates)

        def gradient(upstream, *_):
            # As data, for XLA does not respect control dependencies: else the forward pass would compute it all twice.
            later = inputs + tf.cast(zero_after(upstream), inputs.dtype)
            with tf.GradientTape() as tape:
                tape.watch([later, *values])
                outputs, _ = call(later, values)
            zero = tf.UnconnectedGradients.ZERO
            return tape.gradient(outputs, [later, *values], upstream, unconnected_gradients=zero)

        return (outputs, *(new for _, new in updates)), gradient

    outputs, *new_values = run(inputs, *(tf.convert_to_tensor(variable) for variable in variables))
    for variable, new_value in zip(updated, new_values):
        variable.assign(tf.stop_gradient(new_value))
    return outputs


def zero_after(tensor: tf.Tensor) -> tf.Tensor:
    """Return a scalar 0 that cannot be computed before the tensor; NaN if its first element is NaN."""
    first = tf.reduce_max(tf.reshape(tensor, [-1])[:1])  # of an empty tensor: -inf
    return tf.where(tf.math.is_nan(first), first, tf.zeros_like(first))
