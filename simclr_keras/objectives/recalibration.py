"""Moving statistics of batch normalization that fit the final weights, from one more pass over training batches."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from simclr_keras.models.batch_norm import BatchNormalization, batch_norm_layers
from simclr_keras.objectives.learner import Learner


def trained_statistics(model: tf.Module) -> list[BatchNormalization]:
    """Return the layers whose moving statistics training changes; none in a frozen network."""
    return [layer for layer in batch_norm_layers(model) if layer.trainable]


class Recalibration:
    """Sets the moving statistics to mean and variance over all examples of some batches, with the weights as they are.

    With local statistics (`use_local_statistics`) the variance is that within replicas and between batches.

    Each layer sees inputs that the layers below normalize by the statistics of the batch, as in training. Nothing
    depends on the moving statistics before, so that a second call with the same batches changes nothing.

    Source: Wu and Johnson 2021, arXiv 2105.07576, section 3 (precise batch normalization).

    Args:
        learner: trains a SimCLRModel. strategy: the tf.distribute strategy that it was made under.
    """

    def __init__(self, learner: Learner, strategy: Any) -> None:
        self._layers = trained_statistics(learner.model)

        def forward(batch, step):
            learner.model(learner.training_images(batch, step), training=True)

        @tf.function(autograph=False)
        def run(batch, step):
            strategy.run(forward, args=(batch, step))

        self._run, self._traced = run, False

    def __call__(self, batches: Iterable) -> None:
        """Recalibrate; batches: of per-replica dicts as in training, all of one size; at least one."""
        moments = [self._moments_of(batch, step) for step, batch in enumerate(batches)]
        for layer, of_batches in zip(self._layers, zip(*moments)):
            mean, square = np.mean(of_batches, axis=0)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(np.maximum(square - mean**2, 0))

    def _moments_of(self, batch, step):
        """Return float64 (mean, mean of squares) [c] of each layer's inputs for a batch."""
        momentums = [layer.momentum for layer in self._layers]
        try:
            for layer in self._layers:
                layer.momentum = 0.0  # traced so: the moving statistics are then those of the batch
            step = tf.constant(step, tf.int64)
            if not self._traced:
                # Explicitly, or TensorFlow takes those of many trainings for one function that is retraced too often.
                self._run.get_concrete_function(batch, step)
                self._traced = True
            self._run(batch, step)
        finally:
            for layer, momentum in zip(self._layers, momentums):
                layer.momentum = momentum
        pairs = [(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in self._layers]
        pairs = [(mean.astype(np.float64), variance.astype(np.float64)) for mean, variance in pairs]
        return [(mean, variance + mean**2) for mean, variance in pairs]
