"""Lines about a run's data and length, printed before it starts."""

import collections

import numpy as np

from simclr_keras.errors import one_line, some
from simclr_keras.formatting import counted

# Other programs write these for a missing value.
_MISSING = {"nan", "na", "n/a", "<na>", "#n/a", "null", "none", "nat"}
FEW_EVALUATION_IMAGES = 100  # below, a 95 % interval spans 20 points and more


def count_labels(train) -> int:
    """Return how many training images have a visible label; all of a labeled stream."""
    if train.labels is None:
        return train.num_examples if train.has_labels else 0
    return int(np.count_nonzero(train.labels >= 0))


def describe_data(splits) -> list[str]:
    """Return lines about the training and evaluation images."""
    train, few = splits.train, False
    line = f"{train.name}: {counted(train.num_examples, 'training image') if len(train) else 'nothing to train on'}"
    if not train.has_labels:
        line += ", no labels: no kNN, no probe and no baselines"
    else:
        names = some([one_line(name, 40) for name in splits.class_names])
        line += f", {counted(len(splits.class_names), 'class')}: {names}"
        if count_labels(train) < train.num_examples:
            line += f" ({counted(count_labels(train), 'label')} used)"
    if train.has_labels and splits.evaluation is not None:
        evaluation_images = count_labels(splits.evaluation)
        line += f"; {counted(evaluation_images, 'evaluation image')}"
        few = splits.held_out and evaluation_images < FEW_EVALUATION_IMAGES
    if splits.held_out:
        line += f"; {counted(splits.held_out, 'image')} held out of all training"
    lines = [line, *splits.notes, *class_notes(splits)]
    if few:
        lines.append(
            f"only {counted(evaluation_images, 'evaluation image')}: expect wide confidence intervals; to "
            "hold out more, set --eval_fraction in every stage, from the first one on"
        )
    return lines


def class_notes(splits) -> list[str]:
    """Return notes about a single class, classes without images, and doubtful names of classes."""
    names = [one_line(name, 60) for name in splits.class_names or ()]
    parts = [
        part.labels for part in (splits.train, splits.evaluation) if part is not None and part.has_labels
    ]
    notes = []
    if missing := [name for name in names if name.lower() in _MISSING]:
        notes.append(
            f"the class names {some(missing)} often stand for missing labels; if so, leave these labels empty"
        )
    alike = collections.Counter(map(str.casefold, names))
    if differing := [name for name in names if alike[name.casefold()] > 1]:
        notes.append(
            f"the class names {some(differing)} differ only in case; if they are one class, spell it in one way"
        )
    if len(names) == 1:
        notes.append(
            f"there is only one class, {names[0]}: accuracies mean nothing; label at least two classes"
        )
    if parts and all(labels is not None for labels in parts):
        occurring = set(np.concatenate(parts).tolist())
        empty = [name for label, name in enumerate(names) if label not in occurring]
        if empty:
            hint = "; class numbers count from 0" if names[0] == "0" == empty[0] else ""
            notes.append(
                f"{counted(len(empty), 'class')} of {len(names)} without an image: {some(empty)}{hint}"
            )
    return notes


def ways_of_steps(config, replicas: int, frozen: int = 0) -> str:
    """Return how steps differ from whole batches on all replicas, in one line, or "".

    frozen: layers of batch normalization that are.
    """
    ways = []
    if 0 < config.microbatch_size < config.batch_size:
        parts = config.batch_size // config.microbatch_size
        ways.append(f"in {counted(parts, 'micro-batch')} of {counted(config.microbatch_size, 'image')}")
    if config.remat:
        ways.append("residual blocks are computed again for the gradients")
    if config.freeze_batch_norm:
        ways.append(f"batch normalization is frozen in {counted(frozen, 'layer')}")
    if not config.global_bn and replicas > 1:
        ways.append(f"{'else ' * bool(frozen)}every replica normalizes by its own statistics")
    return "; ".join(ways)


def advice_about_lag(ema_decay: float, steps: int) -> str:
    """Return advice if the momentum network lags by more than a twentieth of a training, in one line, or "".

    It is 0.99, measured by benchmarks/studies/memory_cifar10.py (docs/big_batches.md); for less than 1,000 steps it is
    0.9, which was not measured.
    """
    lag, faster = 1 / (1 - ema_decay), 0.99 if steps >= 1000 else 0.9
    if lag <= steps / 20 or ema_decay <= faster:
        return ""
    return (
        f"the momentum network lags by about {lag:,.0f} steps, which is long in a training of {steps:,}: "
        f"try --ema_decay={faster}"
    )


def describe_steps(config, schedule) -> str:
    """Return the length of a run and its learning rate in one line."""
    ended = config.train_steps is not None and schedule.total_steps == config.train_steps
    length = f"--train_steps={config.train_steps}" if ended else counted(config.epochs, "epoch")
    return (
        f"{counted(schedule.total_steps, 'step')} of {counted(config.batch_size, 'image')}, {length}; "
        f"{config.optimizer}, learning rate up to {schedule.peak:g} after "
        f"{counted(schedule.warmup_steps, 'warm-up step')}"
    )
