"""LARS: momentum SGD whose step is scaled, layer by layer, to the norm of the weights."""

import re
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from simclr_keras.errors import InputError

# Batch normalization, biases, and the classifier, which is only a probe during pretraining.
DEFAULT_EXCLUSIONS = (
    r"(^|/)(gamma|beta|bias)$",
    r"(^|/)classifier(/[^/]+)?/kernel$",
    r"(^|/)head_supervised/",
)


@keras.saving.register_keras_serializable("simclr_keras")
class LARS(keras.optimizers.Optimizer):
    """Update weights by layer-wise adaptive rate scaling, as SimCLR does.

    For weights w, gradient g and velocity v, with the weight decay coupled to the gradient:

        g <- g + weight_decay * w
        trust = eta * ||w|| / ||g||              (1 if either norm is 0)
        v <- momentum * v + learning_rate * trust * g
        w <- w - v                               (Nesterov: w - (momentum * v + learning_rate * trust * g))

    The popular order (`classic_momentum=False`) keeps learning rate and trust out of the velocity:
    v <- momentum * v + g; trust is taken from the norm of v (Nesterov: of momentum * v + g), and
    w <- w - learning_rate * trust * v.

    Source: You et al. 2017, https://arxiv.org/abs/1708.03888; SimCLR, https://arxiv.org/abs/2002.05709, section 2.2.

    >>> import tensorflow as tf
    >>> from simclr_keras import LARS
    >>> weights = tf.Variable([3.0, 4.0])
    >>> optimizer = LARS(learning_rate=1.0, eta=0.1)
    >>> _ = optimizer.apply_gradients([(tf.constant([0.0, 2.0]), weights)])
    >>> weights.numpy().tolist()
    [3.0, 3.5]

    Args:
        learning_rate: float, schedule or callable. Large values (0.3 to 6.4) are usual, since `eta` scales
            them down.
        momentum: from 0 to below 1.
        weight_decay: L2 factor, 0 or more. It is a part of the gradient, not Keras' decoupled decay, so the
            optimizer's own `weight_decay` attribute stays None and this one is `weight_decay_rate`.
        eta: the trust coefficient, positive.
        nesterov: whether to look ahead along the velocity.
        classic_momentum: False for the popular order.
        exclude_from_weight_decay: regular expressions searched in each variable's path; a match is not
            decayed. By default biases, batch normalization and the classifier.
        exclude_from_layer_adaptation: likewise; a match has trust 1, so it gets the raw learning rate. If
            you train a classifier (distillation, supervised training), leave it out of both lists: without trust it
            diverges at such rates.
        **kwargs: name, clipping, moving average and accumulation, as for every Keras optimizer.

    Raises:
        InputError: an argument is out of its range, or a pattern is not a regular expression.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Callable = 0.3,
        momentum: float = 0.9,
        weight_decay: float | None = 0.0,
        eta: float = 1e-3,
        nesterov: bool = False,
        classic_momentum: bool = True,
        exclude_from_weight_decay: str | Sequence[str] | None = DEFAULT_EXCLUSIONS,
        exclude_from_layer_adaptation: str | Sequence[str] | None = DEFAULT_EXCLUSIONS,
        name: str = "lars",
        **kwargs,
    ):
        # `weight_decay` must not reach Keras, which would decay a second time, decoupled.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise InputError(f"`momentum` must lie in [0, 1). Received: momentum={momentum}")
        if not (weight_decay or 0) >= 0:
            raise InputError(f"`weight_decay` must be 0 or more. Received: weight_decay={weight_decay}")
        if not eta > 0:
            raise InputError(f"`eta` must be positive. Received: eta={eta}")
        self.momentum = momentum
        self.weight_decay_rate = weight_decay or 0.0
        self.eta = eta
        self.nesterov = nesterov
        self.classic_momentum = classic_momentum
        # Keras optimizers have a method called exclude_from_weight_decay, hence the other names.
        self.weight_decay_exclusions = _patterns("exclude_from_weight_decay", exclude_from_weight_decay)
        self.layer_adaptation_exclusions = _patterns(
            "exclude_from_layer_adaptation", exclude_from_layer_adaptation
        )

    def build(self, variables: list) -> None:
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        # Decided here, because update_step receives TensorFlow's variables, which do not know their path.
        self._decayed = [
            self._use_weight_decay(v) and not _matches(self.weight_decay_exclusions, v) for v in variables
        ]
        self._adapted = [not _matches(self.layer_adaptation_exclusions, v) for v in variables]

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        velocity_slot = self._velocities[index]
        low_precision = variable.dtype in (tf.bfloat16, tf.float16)
        dtype = tf.float32 if low_precision else variable.dtype

        learning_rate = tf.cast(learning_rate, dtype)
        gradient = tf.cast(tf.convert_to_tensor(gradient), dtype)
        weights = tf.cast(tf.convert_to_tensor(variable), dtype)
        velocity = self.momentum * tf.cast(tf.convert_to_tensor(velocity_slot.value), dtype)
        if self._decayed[index] and self.weight_decay_rate:
            gradient += self.weight_decay_rate * weights

        if self.classic_momentum:
            step = self._scaled_rate(learning_rate, weights, gradient, index) * gradient
            velocity += step
            update = self.momentum * velocity + step if self.nesterov else velocity
        else:
            velocity += gradient
            direction = self.momentum * velocity + gradient if self.nesterov else velocity
            update = self._scaled_rate(learning_rate, weights, direction, index) * direction
        self.assign(velocity_slot, velocity)
        self.assign_sub(variable, update)

    def _scaled_rate(self, learning_rate, weights, direction, index):
        if not self._adapted[index]:
            return learning_rate
        weights_norm, direction_norm = _norm(weights), _norm(direction)
        trust = self.eta * tf.math.divide_no_nan(weights_norm, direction_norm)
        both_positive = (weights_norm > 0) & (direction_norm > 0)
        return learning_rate * tf.where(both_positive, trust, tf.ones_like(trust))

    def get_config(self) -> dict:
        config = super().get_config()
        config.update(
            {
                "momentum": self.momentum,
                "weight_decay": self.weight_decay_rate,
                "eta": self.eta,
                "nesterov": self.nesterov,
                "classic_momentum": self.classic_momentum,
                "exclude_from_weight_decay": list(self.weight_decay_exclusions),
                "exclude_from_layer_adaptation": list(self.layer_adaptation_exclusions),
            }
        )
        return config


def _norm(values):
    # In one pass: tf.norm writes the squares out first, which takes twice as long.
    return tf.sqrt(2 * tf.nn.l2_loss(values))


def _patterns(argument, patterns):
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns or ())
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise InputError(
                f"`{argument}` must hold regular expressions ({error}). Received: {pattern!r}"
            ) from None
    return patterns


def _matches(patterns, variable):
    path = getattr(variable, "path", None) or variable.name.removesuffix(":0")
    return any(re.search(pattern, path) for pattern in patterns)
