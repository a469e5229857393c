"""LossScale: the factor of the loss that keeps the gradients of float16 layers within their range."""

import keras
import tensorflow as tf

from simclr_keras.replicas import OWN_COPIES

INITIAL, GROWTH_STEPS = 2.0**15, 2000  # as in keras.optimizers.LossScaleOptimizer
SMALLEST, LARGEST = 1.0, 2.0**24  # a float16 network whose float16 layers are frozen would double it for ever


class LossScale:
    """Multiply the loss by a power of two, divide the gradients by it, and adapt it to what they overflow at.

    Float16 gradients below 6e-8 are 0, and those above 65,504 are infinite. After `growth_steps` finite steps in a row
    the scale doubles, up to LARGEST. A step with an overflow halves it, down to SMALLEST, and must be undone, see
    `objectives.nonfinite.Guard`. In float32 the gradients are bitwise those without a scale, unless they overflow.

    This is not `keras.optimizers.LossScaleOptimizer`: that one stops the count of steps at an overflow, on which
    schedule and randomness depend here; it keeps the moving statistics of such a step; and it serves one optimizer.

    Source: Micikevicius et al. 2018, arXiv 1710.03740, section 3.2.

    Args:
        initial: the first scale, a power of two.
        growth_steps: 1 or more.

    Attributes:
        scale: float32 variable. finite_steps: int64 variable, those since the scale last changed. overflow_steps:
            int64 variable, the overflows so far. All are the same on every replica.
    """

    def __init__(self, initial: float = INITIAL, growth_steps: int = GROWTH_STEPS):
        self.growth_steps = growth_steps
        with keras.name_scope("loss_scale"):
            self.scale = keras.Variable(
                keras.initializers.Constant(initial), (), "float32", name="scale", **OWN_COPIES
            )
            self.finite_steps, self.overflow_steps = (
                keras.Variable("zeros", (), "int64", name=name, **OWN_COPIES)
                for name in ("finite_steps", "overflow_steps")
            )

    @property
    def variables(self) -> list:
        return [self.scale, self.finite_steps, self.overflow_steps]

    def figures(self) -> dict[str, float]:
        """Return the scale and the number of overflows, as columns of metrics.csv; waits for the device."""
        return {"loss_scale": float(self.scale.numpy()), "overflow_steps": int(self.overflow_steps.numpy())}

    def multiply(self, loss: tf.Tensor) -> tf.Tensor:
        """Return the loss that is to be differentiated."""
        return loss * tf.cast(self.scale, loss.dtype)

    def divide(self, gradients: list) -> list:
        """Return the gradients of the loss itself; None stays None."""
        return [None if g is None else g / tf.cast(self.scale, g.dtype) for g in gradients]

    def update(self, bad: tf.Tensor) -> tf.Tensor:
        """Adapt the scale to a step; return whether it was an overflow, which a smaller scale may prevent.

        Args:
            bad: boolean scalar, whether the step was nonfinite; the same on every replica.
        """
        scale, steps = tf.convert_to_tensor(self.scale), self.finite_steps + 1
        overflow = bad & (scale > SMALLEST)
        grows = ~bad & (steps >= self.growth_steps)
        larger = tf.where(grows, tf.minimum(2 * scale, LARGEST), scale)
        self.scale.assign(tf.where(overflow, scale / 2, larger))
        self.finite_steps.assign(tf.where(bad | grows, tf.zeros_like(steps), steps))
        self.overflow_steps.assign_add(tf.cast(overflow, tf.int64))
        return overflow
