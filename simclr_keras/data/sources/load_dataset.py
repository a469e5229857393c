"""From a dataset's name to its sources: "digits", "npz:PATH", "folder:PATH" or a TFDS name."""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from simclr_keras.data.sources.digits import load_digits
from simclr_keras.data.sources.folder import load_folder
from simclr_keras.data.sources.npz import load_npz
from simclr_keras.data.sources.source import Splits
from simclr_keras.data.sources.splits import (
    hold_out,
    hold_out_ids,
    keep_images,
    keep_labels,
    keep_labels_of_ids,
)
from simclr_keras.data.sources.tfds import load_tfds
from simclr_keras.errors import InputError
from simclr_keras.files import expand_home

PATH_KINDS = ("npz", "folder")  # datasets named KIND:PATH
DEFAULT_MEMORY_LIMIT = 2 * 1024**3  # bytes


def load_dataset(
    spec: str,
    *,
    data_dir: str | None = None,
    labels: str | None = None,
    unlabeled: bool = False,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    **split,
) -> Splits:
    """Open and split a dataset; arguments as in `open_dataset` and `split_dataset`."""
    opening = {"data_dir": data_dir, "labels": labels, "unlabeled": unlabeled, "memory_limit": memory_limit}
    return split_dataset(open_dataset(spec, **opening), **split)


def open_dataset(
    spec: str,
    *,
    data_dir: str | None = None,
    labels: str | None = None,
    unlabeled: bool = False,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    on_bad_image: str = "skip",
    recheck: bool = False,
    may_be_lost: bool = False,
) -> Splits:
    """Open a whole dataset: its training source, its own evaluation split if it has one, and notes for the user.

    Args:
        spec: "digits"; "npz:PATH"; "folder:PATH" (class sub-folders, train/ and val/ with class sub-folders,
            or flat); or a TFDS name such as "cifar10" or "imagenet2012_subset/1pct".
        data_dir: folder of prepared TFDS data, or None for its default.
        labels: for a folder, the path of a CSV file of file names and labels (see labels_csv.py), or None.
        unlabeled: for a folder, whether its sub-folders are no classes.
        memory_limit: bytes up to which the images of a folder or TFDS split are kept in memory.
        on_bad_image: "skip" skips unreadable image files and lists them in `Splits.unreadable`; "error" raises.
        recheck: whether to decode every file of a folder again, also those that the manifest remembers as readable.
        may_be_lost: whether `labels` may name images that are missing, as those of a run that is resumed.

    Raises:
        InputError: there is no such dataset, it cannot be used, or an argument does not fit it.
    """
    spec, data_dir, labels = (path and expand_home(path) for path in (spec, data_dir, labels))
    _check(spec, data_dir, labels, unlabeled)
    kind, _, path = spec.partition(":")
    if spec == "digits":
        splits = load_digits()
    elif kind in PATH_KINDS:
        splits = open_path(kind, path, labels, memory_limit, on_bad_image, recheck, unlabeled, may_be_lost)
    else:
        splits = load_tfds(spec, data_dir, memory_limit)
    if splits.train.num_examples < 2:
        raise InputError(f"{spec} contains fewer than 2 training images: give more")
    return splits


def split_dataset(
    splits: Splits,
    *,
    eval_fraction: float | None = None,
    seed: int = 0,
    label_fraction: float | None = None,
    labels_per_class: int | None = None,
    images: Sequence[str] | None = None,
    held_out: Sequence[str] | None = None,
    labeled: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
) -> Splits:
    """Hold out an evaluation set and hide labels of a whole dataset.

    If the data has no evaluation split, the images whose content hash is below `eval_fraction` are held out; the
    labeled images among them are the evaluation set. So pretraining on images without labels, or on a copy of the
    folder, never sees the images that a later stage evaluates on; and copies of an image are on the same side.

    Args:
        splits: of `open_dataset`.
        eval_fraction: share of the training images to hold out, in (0, 1), or None for 0.1. Not used if the data has
            its own evaluation split.
        seed: of the choice of labels.
        label_fraction: share of the training labels of every class to keep, in (0, 1], or None for all. The others
            become -1; the images stay.
        labels_per_class: number of training labels of every class to keep, or None for all.
        images: ids of the images that a run began with (training and held out), in its order: to resume it. Missing
            images are dropped with a note, images added since are not used. None for all images.
        held_out: ids that a run held out in groups, or before images were held out by content: to hold out these
            instead; empty to hold out nothing.
        labeled: ids of the training images whose labels an old run saw, before labels were chosen by content.
        groups: int [n], numbers from 0 of groups of the training images: a group is held out as a whole, by its
            smallest content hash. None: every image is a group.

    Raises:
        InputError: an argument does not fit the data, or fewer than 2 training images are left.
    """
    if images is not None:
        splits = keep_images(splits, images)
    if held_out is not None:
        splits = hold_out_ids(splits, held_out) if held_out else splits
    elif splits.evaluation is None:
        splits = hold_out(splits, held_out_share(eval_fraction), groups)
    elif eval_fraction is not None:
        note = f"{splits.train.name} has its own evaluation split: eval_fraction={eval_fraction} is not used"
        splits = dataclasses.replace(splits, notes=(*splits.notes, note))
    if labeled is not None:
        return keep_labels_of_ids(splits, labeled)
    if label_fraction is None and labels_per_class is None:
        return splits
    train = keep_labels(splits.train, fraction=label_fraction, per_class=labels_per_class, seed=seed)
    return dataclasses.replace(splits, train=train)


def held_out_share(eval_fraction: float | None) -> float:
    """Return the share of the images that `split_dataset` holds out: 0.1 if `eval_fraction` is None."""
    return 0.1 if eval_fraction is None else eval_fraction


def open_path(kind: str, path: str, labels: str | None = None, *folder_settings: Any) -> Splits:
    """Return the Splits of KIND:PATH. folder_settings: as in `load_folder`, after `labels`."""
    if kind == "npz":
        return load_npz(path)
    return load_folder(path, labels, *folder_settings)


def _check(spec, data_dir, labels, unlabeled):
    kind, colon, rest = spec.partition(":")
    if not spec:
        raise InputError("Give a dataset: digits, npz:PATH, folder:PATH or a TFDS name")
    # After a TFDS name, a colon stands before a version.
    if colon and kind not in PATH_KINDS and not re.fullmatch(r"[\d.*]+", rest):
        near = difflib.get_close_matches(kind, PATH_KINDS, 1)
        hint = f"; did you mean {near[0]}:{rest}?" if near else ""
        raise InputError(
            f"Unknown kind of dataset {kind!r}: give npz:PATH or folder:PATH{hint}. Received: {spec!r}"
        )
    if labels is not None and kind != "folder":
        raise InputError(
            f"labels (a CSV file) goes with folder:PATH only. Received: {spec!r}, labels={labels!r}"
        )
    if unlabeled and kind != "folder":
        raise InputError(f"unlabeled goes with folder:PATH only. Received: {spec!r}")
    if data_dir is not None and (spec == "digits" or kind in PATH_KINDS):
        raise InputError(f"data_dir goes with TFDS names only. Received: {spec!r}, data_dir={data_dir!r}")
