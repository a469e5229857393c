"""What every stage does before it trains: its data, checks against it, and how it introduces itself."""

import os
import shutil

import numpy as np

from simclr_keras.data.sources import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.optim.step_arithmetic import warmup_steps
from simclr_keras.runs.checkpoints import steps_in


def default_model_dir(mode, config):
    """runs/MODE-DATASET-MODEL[-LABELS], so that the same command finds its run again.

    Modes that judge a run are named after that; where a layer is chosen, it is in the name too.
    """
    layer = getattr(config, "head_layer", None)
    layer = "" if layer in (None, 0) else f"-layer{layer}"
    if mode in ("eval", "knn", "linear_eval"):
        fast = "-fast" if getattr(config, "protocol", None) == "fast" else ""
        judged = os.path.basename(config.init.rstrip("/"))
        return f"runs/{mode}{fast}-{judged}{layer}{_labels_of(config)}{labels_suffix(config)}"
    data = config.dataset.rstrip("/").split("/")[-1] if ":" in config.dataset else config.dataset
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in data.removesuffix(".npz"))
    return f"runs/{mode}-{name}-{config.model.replace(':', '-')}{layer}{labels_suffix(config)}"


def _labels_of(config):
    """The name of the --labels file, so that a measurement by others has a directory of its own; or nothing."""
    name = os.path.basename(config.labels or "").removesuffix(".csv")
    return f"-{name}" if name and not name.startswith("labels") else ""


def labels_suffix(config):
    """Which labels may be seen, for a name: -1pct, -5perclass, or nothing."""
    if config.label_fraction is not None:
        return f"-{100 * config.label_fraction:g}pct"
    return "" if config.labels_per_class is None else f"-{config.labels_per_class}perclass"


def spelled(dataset):
    """The same local folder or archive in one spelling: without "./", "..", or a slash at its end."""
    kind, _, path = dataset.partition(":")
    return f"{kind}:{spelled_path(path)}" if kind in ("folder", "npz") and path else dataset


def spelled_path(path):
    """The same local path in one spelling."""
    return path if "://" in path else os.path.normpath(path)


def load_data(config, recheck=False, **selection):
    """Returns the Splits a config names.

    Args:
        config: a StageConfig.
        recheck: trust nothing that is remembered of a folder's files, as one of them has just failed.
        selection: what an earlier run held out, and whose labels it saw; see `sources.load`.
    """
    chosen = {
        "eval_fraction": config.eval_fraction,
        "label_fraction": config.label_fraction,
        "labels_per_class": config.labels_per_class,
    }
    return load_dataset.load(
        config.dataset,
        data_dir=config.data_dir,
        labels=config.labels,
        seed=config.seed,
        on_bad_image=config.on_bad_image,
        recheck=recheck,
        **{**chosen, **selection},
    )


def check_batch(config, strategy, name="batch_size"):
    """Raises InputError where the batch does not suit the devices; asked before the data is opened."""
    replicas, batch_size = strategy.num_replicas_in_sync, getattr(config, name)
    if batch_size % replicas:
        raise InputError(f"--{name}={batch_size} does not divide over {replicas} replicas; give a multiple.")
    if batch_size // replicas < 2:
        raise InputError(
            f"--{name}={batch_size} leaves each of {replicas} replicas fewer than 2 images; "
            f"give at least {2 * replicas}."
        )


def check_labels(config, train, what):
    """Raises InputError where there are no labels, which `what` (a flag and its value) needs."""
    if train.has_labels:
        return
    kind = config.dataset.partition(":")[0]
    right = {"npz": "an archive with y_train too", "folder": "class sub-folders, or --labels=labels.csv"}
    raise InputError(
        f"{config.dataset} has no labels, and {what} needs them; give {right.get(kind, 'a labeled dataset')}."
    )


def check_backbone_weights(config):
    """Raises InputError where the file of weights that a keras: backbone starts from is not there."""
    weights = config.backbone_weights
    if weights in (None, "imagenet") or "://" in weights or os.path.isfile(weights):
        return
    raise InputError(
        f"--backbone_weights={weights}: there is no such file; give imagenet, or a .weights.h5, .keras or .h5 file."
    )


def check_warmup(config, num_examples):
    """Raises InputError where --train_steps ends the run before its warm-up does.

    Args:
        config: of any stage.
        num_examples: images of an epoch.
    """
    if getattr(config, "train_steps", None) is None:
        return
    warmup = warmup_steps(num_examples, config.batch_size, config.warmup_epochs)
    if warmup > config.train_steps:
        raise InputError(
            f"--train_steps={config.train_steps} ends before the warm-up of {warmup} steps does; give more steps, or "
            f"fewer than --warmup_epochs={config.warmup_epochs:g}."
        )


FEW_HELD_OUT = 100  # a 95 % interval of 20 points and more
MOST_EVALUATED = 256  # images at once where --eval_batch_size does not say


def eval_batch_size(config):
    """Images of an evaluation step: a training batch of thousands, padded, would fill the memory for a few photos."""
    return config.eval_batch_size or min(config.batch_size, MOST_EVALUATED)


def check_batch_fits(config, train):
    """Raises InputError where the batch is larger than the data."""
    if train.num_examples < 2:
        raise InputError(
            f"{config.dataset} leaves fewer than 2 images to train on; give more, or hold out fewer."
        )
    if config.batch_size > train.num_examples:
        default = " (the paper's, for ImageNet)" if config.batch_size == type(config).batch_size else ""
        raise InputError(
            f"--batch_size={config.batch_size}{default} is larger than the {train.num_examples} training images of "
            f"{config.dataset}; give --batch_size={train.num_examples} or less; README has settings for small folders."
        )


def check_space(run_dir, state, config):
    """Raises InputError where the disk of a local run directory cannot hold the checkpoints it will keep.

    Args:
        run_dir: RunDir.
        state: dict of name to variable, as the checkpoints hold it.
        config: has keep_checkpoints and epochs, of which there may be fewer.
    """
    if "://" in run_dir.path or not os.path.isdir(run_dir.path):
        return
    size = sum(np.prod(v.shape, dtype=np.int64) * np.dtype(v.dtype).itemsize for v in state.values())
    kept = min(config.keep_checkpoints, config.epochs) + 1  # while one is written there is one more
    needed = size * (kept - len(steps_in(run_dir.checkpoints)))
    free = shutil.disk_usage(run_dir.path).free
    if needed > free:
        raise InputError(
            f"--model_dir={run_dir.path} has {free / 1e6:.1f} MB free, but its checkpoints of {size / 1e6:.1f} MB need "
            f"{needed / 1e6:.1f} MB more; free space, or keep fewer than --keep_checkpoints={config.keep_checkpoints}."
        )


def labels_seen(train):
    """How many training images have a label that may be seen; a stream that has labels has them all."""
    if train.labels is None:
        return train.num_examples if train.has_labels else 0
    return int((train.labels >= 0).sum())


def describe_data(splits):
    """Lines that say what data was found."""
    train = splits.train
    line = f"{train.name}: {train.num_examples} training images"
    if not train.has_labels:
        line += ", no labels: no kNN and no probe"
    else:
        known = labels_seen(train)
        seen = f" ({known} labels seen)" if known < train.num_examples else ""
        line += f", {len(splits.class_names)} classes{seen}"
    if train.has_labels and splits.evaluation is not None:
        line += f"; {splits.evaluation.num_examples} for evaluation"
        line += " (held out, ids in split.json)" if splits.held_out else ""
    lines = [line, *splits.notes]
    if splits.held_out and len(splits.held_out) < FEW_HELD_OUT:
        lines.append(
            f"only {len(splits.held_out)} images to judge by: figures will be rough; --eval_fraction in the first "
            "stage with labels holds out more"
        )
    return lines


def count_parameters(layer):
    """For people: 23.6 M, 715 k."""
    count = layer.count_params()
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def duration(seconds):
    """For people: 48 s, 2 min 3 s."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
