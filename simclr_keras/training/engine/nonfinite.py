"""Whether training is still finite: its figures, its weights, and how many batches were skipped; else a stop."""

import math

import tensorflow as tf

from simclr_keras.errors import DivergedError

# So many bad batches in a row are no accident of the data.
MOST_SKIPPED_IN_A_ROW = 20
ADVICE = "Try a lower --learning_rate, a longer --warmup_epochs or --precision=float32 in another --model_dir"


def read_figures(learner, step):
    """Returns the learner's figures, a dict of name to float; waits for the device.

    Raises:
        DivergedError: one of them is not finite, or nothing but bad batches came lately.
    """
    figures = {name: float(value) for name, value in learner.get_metrics_result().items()}
    # The losses first: they say most.
    for name, value in sorted(figures.items(), key=lambda item: not item[0].endswith("loss")):
        if not math.isfinite(value):
            raise _diverged(
                f"{name} became {value}", step, "; --on_nan=skip_batch leaves single bad batches out."
            )
    skipped, in_a_row = learner.skipped
    if in_a_row >= MOST_SKIPPED_IN_A_ROW:
        raise _diverged(f"the last {in_a_row} batches were not finite ({skipped} skipped in all)", step, ".")
    return figures


def check_weights(learner, step):
    """Weights too, because the loss may hide it: TensorFlow's fused normalization and ReLU turns NaN into 0.

    Raises:
        DivergedError: a variable is not finite.
    """
    for name, variable in learner.state().items():
        value = tf.convert_to_tensor(variable)
        if value.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(value)):
            raise _diverged(f"{name} is no longer finite", step, ".")


def _diverged(what, step, more):
    return DivergedError(f"{what} by step {step}; what was saved before stays. {ADVICE}{more}")
