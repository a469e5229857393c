"""Whether a network learns: figures that are not finite, the loss of guessing, and the problems of an epoch."""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from simclr_keras.errors import DivergedError
from simclr_keras.training.engine.epochs import epoch_ends

# So many bad batches in a row do not come from single bad images.
MOST_SKIPPED_IN_A_ROW = 20
_IF_DIVERGED = "Try a lower --learning_rate, a longer --warmup_epochs"
AT_CHANCE, ABOVE_CHANCE = 0.99, 1.05  # in units of the loss of guessing, for the contrastive loss
BAD_LOSS = 2  # in the same units, for a classifier
COLLAPSED = 1.5  # effective rank of features that are nearly all alike
WEAK_COLORS = 0.3  # of --color_strength: photos of things that are told apart by color need it


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
    advice = f"{_IF_DIVERGED}{'' if precise else ' or --precision=float32'} in another --model_dir"
    return DivergedError(f"{what} by step {step}; earlier checkpoints are kept. {advice}{more}")


class Problem(NamedTuple):
    """A problem in the figures of an epoch: a name for tables, and a sentence with a remedy."""

    name: str
    advice: str


def chance_loss(batch_size: int, queue_rows: float = 0) -> float:
    """Return the contrastive loss of projections that are all alike, in both directions: 2 log(2B - 1 + rows).

    Args:
        batch_size: B, examples of the global batch. queue_rows: rows of the queue that are negatives.
    """
    return 2 * math.log(2 * batch_size - 1 + queue_rows)


def contrastive_chance(config: Any, num_examples: int, epoch: int) -> float:
    """Return the mean contrastive loss of guessing over the steps of an epoch, which counts from 1.

    The queue fills meanwhile, and the past views of an anchor's own image are left out of it.
    """
    batch = config.batch_size
    if config.memory == "none":
        return chance_loss(batch)
    start, end = epoch_ends(config, num_examples)[epoch - 1 : epoch + 1]
    steps = np.arange(start, end)
    rows = np.minimum(2 * batch * steps, config.memory_size)
    # Every earlier epoch in the queue has two rows of the anchor's image, the current one has none.
    own = np.maximum(rows - 2 * (batch * steps % num_examples), 0) / num_examples
    return float(np.mean([chance_loss(batch, count) for count in rows - own]))


def contrastive_problem(row: dict, config: Any) -> Problem | None:
    """Return the Problem that the row of an epoch of pretraining, evaluated or not, shows; or None."""
    loss, chance, rank = (
        row.get(name) for name in ("contrastive_loss", "contrastive_loss_of_chance", "effective_rank")
    )
    colors = (
        f"a lower --color_strength than {config.color_strength:g} (such as {WEAK_COLORS:g}), "
        if config.color_strength > WEAK_COLORS
        else ""
    )
    remedies = f"{colors}a smaller --batch_size (more steps per epoch), or more --epochs"
    if loss is not None and chance is not None and loss >= AT_CHANCE * chance:
        figures = f"the contrastive loss is {loss:,.3f} after epoch {row['epoch']}, that of guessing is {chance:.3f}"
        if loss > ABOVE_CHANCE * chance:
            return Problem(
                "loss above chance",
                f"{figures}, so training diverges or was too short; in another --model_dir, give a lower "
                f"--learning_rate, a higher --temperature, {remedies}",
            )
        return Problem(
            "loss at chance",
            f"{figures}, so the network has learned nothing; check that views.png shows the images, then give another "
            f"--learning_rate, {remedies}",
        )
    if rank is not None and rank < COLLAPSED:
        return Problem(
            "collapsed features",
            f"the features of the evaluation images have an effective rank of {rank:.2f} after epoch {row['epoch']}, "
            "so they are nearly all alike; check that views.png shows the images, then give a lower --learning_rate, "
            f"{remedies}",
        )
    return None


def classifier_problem(row: dict) -> Problem | None:
    """Return the Problem that the row of an epoch of a classifier shows, a row of metrics.csv, or None."""
    loss, chance = row.get("loss"), row.get("loss_of_chance")
    if loss is None or chance is None:
        return None
    figures = f"the loss is {loss:,.2f} after epoch {row['epoch']}"
    if loss > BAD_LOSS * chance:
        return Problem(
            "loss above chance",
            f"{figures}, far above that of guessing, {chance:.2f}; give a lower --learning_rate in another --model_dir",
        )
    # A student's loss ends at its teacher's entropy, which may be as high.
    if row.get("accuracy") is not None and AT_CHANCE * chance <= loss:
        return Problem(
            "loss at chance",
            f"{figures}, that of guessing is {chance:.2f}, so the network has learned nothing; give another "
            "--learning_rate, a smaller --batch_size (more steps per epoch), or more --epochs",
        )
    return None
