"""Refusals that need the devices, the data or the disk; a config's own rules are checked in config/."""

import os
import shutil

import numpy as np

from simclr_keras.config.output_paths import check_outside, path_inside
from simclr_keras.config.recipes import RECIPES
from simclr_keras.data.sources.layout import EVALUATION_FOLDERS, TRAINING_FOLDERS
from simclr_keras.errors import InputError
from simclr_keras.formatting import counted
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.training.engine.epochs import warmup_steps
from simclr_keras.training.engine.introduction import count_labels


def check_batch_divides(config, replicas: int, name: str = "batch_size") -> None:
    """Raise InputError unless every replica gets the same number of images, at least 2."""
    batch_size = getattr(config, name)
    if batch_size % replicas:
        raise InputError(
            f"--{name}={batch_size} is not a multiple of the {counted(replicas, 'replica')}; give a multiple."
        )
    if batch_size // replicas < 2:
        raise InputError(
            f"--{name}={batch_size} leaves fewer than 2 images for each of {counted(replicas, 'replica')}; "
            f"give at least {2 * replicas}."
        )


def check_same_replicas(run_dir, config, replicas: int) -> None:
    """Raise InputError if a run is resumed on another number of replicas, and its results depend on it."""
    old = run_dir.read_config() if steps_in(run_dir.checkpoints) else None
    if config.depends_on_replicas and old and old.replicas not in (None, replicas):
        raise InputError(
            f"--model_dir={run_dir.path} was trained on {counted(old.replicas, 'replica')}, and there "
            f"{'is' if replicas == 1 else 'are'} {replicas} now, on which the results depend; continue it on "
            f"{old.replicas}, or give another --model_dir."
        )


def check_backbone_weights(config) -> None:
    """Raise InputError if the weights file of a backbone does not exist."""
    weights = config.backbone_weights
    if weights in (None, "imagenet", "preset") or "://" in weights or os.path.isfile(weights):
        return
    raise InputError(
        f"--backbone_weights={weights} not found; give imagenet (keras:), preset (hub:), or a .weights.h5, .keras or "
        ".h5 file."
    )


def check_labels(config, train, needed_by: str) -> None:
    """Raise InputError if there are no labeled training images, which a flag and its value, `needed_by`, need."""
    if train.has_labels and count_labels(train) == 0:
        raise InputError(
            f"{config.dataset} has no labeled training image left, because all are held out, and {needed_by} needs "
            "them; give more labels, or a smaller --eval_fraction."
        )
    if train.has_labels:
        return
    kind = config.dataset.partition(":")[0]
    remedy = {
        "npz": "an archive with y_train too",
        "folder": "two class sub-folders or more, or --labels=labels.csv",
    }
    if config.unlabeled:
        remedy["folder"] = f"--labels=labels.csv, or --dataset={config.dataset} without --unlabeled"
    raise InputError(
        f"{config.dataset} has no labels, and {needed_by} needs them; give {remedy.get(kind, 'a labeled dataset')}."
    )


def check_enough_images(config, train, repeat: bool, run_dir) -> None:
    """Raise InputError if there are fewer than 2 images, or fewer than a batch and they may not `repeat`.

    A resumed run may have lost some since it began with enough.
    """
    if train.num_examples < 2:
        raise InputError(
            f"{config.dataset} leaves fewer than 2 images to train on; give more images, or hold out fewer."
        )
    if config.batch_size > train.num_examples and not (repeat or steps_in(run_dir.checkpoints)):
        default = " (the paper's, for ImageNet)" if config.batch_size == type(config).batch_size else ""
        recipe = RECIPES.get(f"photos_{config.NAME}")
        is_small = recipe and recipe.values["batch_size"] <= train.num_examples
        raise InputError(
            f"--batch_size={config.batch_size}{default} is larger than the {train.num_examples} training images of "
            f"{config.dataset}; give --batch_size={train.num_examples} or less"
            + (f", or --recipe=photos_{config.NAME}." if is_small else ".")
        )


def check_outside_images(config) -> None:
    """Raise InputError if the run's pictures would become images of the folder that it is trained on."""
    inside = path_inside(config.model_dir, config.dataset)
    if inside is None or any(part.startswith(".") for part in inside):  # hidden folders are not read
        return
    path = config.dataset.partition(":")[2]
    tops = {name.lower() for name in os.listdir(path)} if os.path.isdir(path) else set()
    has_splits = not tops.isdisjoint(TRAINING_FOLDERS) and not tops.isdisjoint(EVALUATION_FOLDERS)
    top = inside[0].lower() if inside else ""
    if not has_splits or top in (*TRAINING_FOLDERS, *EVALUATION_FOLDERS):
        check_outside(config.model_dir, config.dataset, "model_dir")


def check_warmup(config, num_examples: int) -> None:
    """Raise InputError if --train_steps ends the run before its warm-up; num_examples: images of an epoch."""
    if config.train_steps is None:
        return
    warmup = warmup_steps(config, num_examples)
    if warmup > config.train_steps:
        raise InputError(
            f"--train_steps={config.train_steps} is shorter than the warm-up of {counted(warmup, 'step')}; give more "
            f"steps, or fewer than --warmup_epochs={config.warmup_length:g}."
        )


def check_space(run_dir, state: dict, config) -> None:
    """Raise InputError if a local disk has no room for the checkpoints of `state`, a dict of variables."""
    if "://" in run_dir.path or not os.path.isdir(run_dir.path):
        return
    size = sum(np.prod(v.shape, dtype=np.int64) * np.dtype(v.dtype).itemsize for v in state.values())
    between_epochs = config.checkpoint_every_steps or config.checkpoint_every_minutes
    kept = config.keep_checkpoints if between_epochs else min(config.keep_checkpoints, config.epochs)
    needed = size * (kept + 1 - len(steps_in(run_dir.checkpoints)))  # while one is written there is one more
    free = shutil.disk_usage(run_dir.path).free
    if needed > free:
        raise InputError(
            f"--model_dir={run_dir.path} has {free / 1e6:.1f} MB free, but its checkpoints of {size / 1e6:.1f} MB need "
            f"{needed / 1e6:.1f} MB more; free space, or keep fewer than --keep_checkpoints={config.keep_checkpoints}."
        )
