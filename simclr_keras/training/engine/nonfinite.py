"""Checks that figures and weights are finite, and that few batches were skipped."""

import math

import tensorflow as tf

from simclr_keras.errors import DivergedError

# So many bad batches in a row do not come from single bad images.
MOST_SKIPPED_IN_A_ROW = 20
ADVICE = "Try a lower --learning_rate, a longer --warmup_epochs"


def read_figures(learner, step: int) -> dict[str, float | None]:
    """Return the learner's figures by name, None if no example counted; waits for the device.

    Raises:
        DivergedError: one of them is not finite, or the last MOST_SKIPPED_IN_A_ROW batches were skipped.
    """
    figures = learner.figures()
    # The losses first: the most useful in a message.
    for name, value in sorted(figures.items(), key=lambda item: not item[0].endswith("loss")):
        if value is not None and not math.isfinite(value):
            raise _diverged(
                learner, f"{name} became {value}", step, "; --on_nan=skip_batch skips single bad batches."
            )
    skipped, in_a_row = learner.skipped
    if in_a_row >= MOST_SKIPPED_IN_A_ROW:
        raise _diverged(
            learner, f"the last {in_a_row} batches were not finite ({skipped} skipped in all)", step, "."
        )
    return figures


def check_weights(learner, step: int) -> None:
    """Raise DivergedError if a variable is not finite.

    The loss may hide it: TensorFlow's fused normalization and ReLU turns NaN into 0.
    """
    for name, variable in learner.state().items():
        value = tf.convert_to_tensor(variable)
        if value.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(value)):
            raise _diverged(learner, f"{name} is no longer finite", step, ".")


def _diverged(learner, what, step, more):
    precise = learner.model.encoder.compute_dtype in ("float32", "float64")
    advice = f"{ADVICE}{'' if precise else ' or --precision=float32'} in another --model_dir"
    return DivergedError(f"{what} by step {step}; earlier checkpoints are kept. {advice}{more}")
