"""The learning rate over a run: linear warm-up, then half a cosine down to zero."""

import math

import keras
import tensorflow as tf

from simclr_keras.errors import InputError


@keras.saving.register_keras_serializable("simclr_keras")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Return the learning rate of a step: linear from 0 to `peak`, then a cosine to 0.

    Step 0 has learning rate 0 (`peak` if there is no warm-up), step `warmup_steps` has exactly `peak`,
    step `total_steps` and every later one 0. The functions of `simclr_keras.optim.step_arithmetic` give the arguments.

    Source: SimCLR, https://arxiv.org/abs/2002.05709, section 2.2.

    >>> from simclr_keras import WarmupCosine
    >>> schedule = WarmupCosine(peak=2.0, warmup_steps=10, total_steps=110)
    >>> [float(schedule(step)) for step in (0, 5, 10, 110)]
    [0.0, 1.0, 2.0, 0.0]

    Args:
        peak: learning rate at the end of the warm-up, 0 or more.
        warmup_steps: steps of linear growth, from 0 to `total_steps`.
        total_steps: steps of the whole run, warm-up included, at least 1.
        dtype: "float32", or "float64" for networks in float64.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, dtype: str = "float32"):
        super().__init__()
        if not peak >= 0:
            raise InputError(f"`peak` must be 0 or more. Received: peak={peak}")
        if not total_steps >= 1:
            raise InputError(f"`total_steps` must be at least 1. Received: total_steps={total_steps}")
        if not 0 <= warmup_steps <= total_steps:
            raise InputError(
                "`warmup_steps` must lie between 0 and `total_steps`. "
                f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}"
            )
        self.peak = float(peak)
        self.warmup_steps = int(warmup_steps)
        self.total_steps = int(total_steps)
        self.dtype = str(dtype)

    def __call__(self, step):
        step = tf.cast(step, tf.int64)
        warming = tf.cast(step, self.dtype) * (self.peak / max(self.warmup_steps, 1))
        # (1 + cos(pi * done)) / 2 is sin(pi/2 * left) squared. Counting the steps that are left, in
        # integers, loses nothing to cancellation near the end, so float32 suffices (float64 is slow on
        # TPUs); the textbook form gives a plain 0 for the last hundred steps of a long run.
        left = tf.cast(tf.maximum(self.total_steps - step, 0), self.dtype)
        quarter_turn = 0.5 * math.pi / max(self.total_steps - self.warmup_steps, 1)
        cooling = self.peak * tf.square(tf.sin(left * quarter_turn))
        return tf.where(step < self.warmup_steps, warming, cooling)

    def get_config(self) -> dict:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "dtype": self.dtype,
        }
