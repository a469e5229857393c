"""From a dataset's name to its sources: "digits", "npz:PATH", "folder:PATH" or a TFDS name."""

import dataclasses
import difflib
import re
from collections.abc import Sequence

import numpy as np

from simclr_keras.data.sources import splits as selection
from simclr_keras.data.sources.digits import load_digits
from simclr_keras.data.sources.folder import load_folder
from simclr_keras.data.sources.inherited_split import hold_out_again, show_labels_again
from simclr_keras.data.sources.npz import load_npz
from simclr_keras.data.sources.source import Splits
from simclr_keras.data.sources.tfds import load_tfds
from simclr_keras.errors import InputError, some

DEFAULT_EVAL_FRACTION = 0.1
DEFAULT_MEMORY_LIMIT = 2 * 1024**3  # bytes


def load_dataset(
    spec: str,
    *,
    data_dir: str | None = None,
    labels: str | None = None,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    on_bad_image: str = "skip",
    recheck: bool = False,
    **split,
) -> Splits:
    """Open a dataset: its training source, its evaluation source, and notes for the user.

    If the data has labels but no evaluation split, a stratified one is held out. label_fraction and
    labels_per_class hide the labels of all other training images (they become -1); the images stay.

    Args:
        spec: "digits"; "npz:PATH"; "folder:PATH" (class sub-folders, train/ and val/ with class sub-folders,
            or flat); or a TFDS name such as "cifar10" or "imagenet2012_subset/1pct".
        data_dir: folder of prepared TFDS data, or None for its default.
        labels: for a folder, the path of a CSV file of two columns, filename and label; or None.
        memory_limit: bytes up to which the images of a folder or TFDS split are kept in memory.
        on_bad_image: "skip" skips unreadable image files and lists them in `Splits.unreadable`; "error" raises.
        recheck: whether to decode every file of a folder again, also those that the manifest remembers as readable.
        split: arguments of `split_dataset`.

    Raises:
        InputError: there is no such dataset, it cannot be used, or an argument does not fit it.
    """
    whole = open_dataset(
        spec,
        data_dir=data_dir,
        labels=labels,
        memory_limit=memory_limit,
        on_bad_image=on_bad_image,
        recheck=recheck,
    )
    return split_dataset(whole, **split)


def open_dataset(
    spec: str,
    *,
    data_dir: str | None = None,
    labels: str | None = None,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    on_bad_image: str = "skip",
    recheck: bool = False,
) -> Splits:
    """Open a whole dataset, with its own evaluation split if it has one; arguments as in `load_dataset`."""
    _check_spec(spec, data_dir, labels)
    if on_bad_image not in ("skip", "error"):
        raise InputError(f"on_bad_image must be skip or error. Received: on_bad_image={on_bad_image!r}")
    splits = _open(spec, data_dir, labels, memory_limit, on_bad_image, recheck)
    if splits.train.num_examples < 2:
        raise InputError(f"{spec} contains one training image only; at least 2 are needed")
    return splits


def split_dataset(
    splits: Splits,
    *,
    eval_fraction: float | None = None,
    seed: int = 0,
    label_fraction: float | None = None,
    labels_per_class: int | None = None,
    held_out: Sequence[str] | None = None,
    labeled: Sequence[str] | None = None,
) -> Splits:
    """Hold out an evaluation split and hide labels of a whole dataset.

    Args:
        splits: of `open_dataset`.
        eval_fraction: share of the training images to hold out, in (0, 1), if there is no evaluation split. None
            means 0.1 for labeled data and no evaluation split for unlabeled data.
        seed: of the held-out images and of the labels kept.
        label_fraction: share of the labels of every class to keep, in (0, 1], or None for all.
        labels_per_class: number of labels of every class to keep, or None for all.
        held_out: ids that an earlier run held out, to hold out again instead of eval_fraction; none if empty.
        labeled: ids of the training images whose labels an earlier run saw, to show these instead of
            label_fraction and labels_per_class. Up to a tenth of either may be missing; a note lists them.
    """
    if seed < 0:
        raise InputError(f"seed must be at least 0. Received: seed={seed}")
    if eval_fraction is not None:
        selection.check_eval_fraction(eval_fraction)
    selection.check_label_choice(label_fraction, labels_per_class)
    if held_out is not None and eval_fraction is not None:
        raise InputError(
            "eval_fraction does not go with the held-out images of an earlier run: leave it out. "
            f"Received: eval_fraction={eval_fraction}"
        )
    if labeled is not None and (label_fraction is not None or labels_per_class is not None):
        raise InputError(
            "label_fraction and labels_per_class do not go with the labels of an earlier run: leave them out. "
            f"Received: label_fraction={label_fraction}, labels_per_class={labels_per_class}"
        )
    if held_out is not None:
        splits = hold_out_again(splits, held_out)
    elif splits.evaluation is None:
        splits = _hold_out(splits, eval_fraction, seed)
    elif eval_fraction is not None:
        note = f"{splits.train.name} has its own evaluation split: eval_fraction={eval_fraction} is not used"
        splits = dataclasses.replace(splits, notes=(*splits.notes, note))
    if label_fraction is not None or labels_per_class is not None:
        splits = _hide_labels(splits, label_fraction, labels_per_class, seed)
    if labeled is not None:
        splits = show_labels_again(splits, labeled)
    return splits


def _open(spec, data_dir, labels, memory_limit, on_bad_image, recheck):
    if spec == "digits":
        return load_digits()
    kind, _, path = spec.partition(":")
    if kind == "npz":
        return load_npz(path)
    if kind == "folder":
        return load_folder(path, labels, memory_limit, on_bad_image, recheck)
    return load_tfds(spec, data_dir, memory_limit)


def _check_spec(spec, data_dir, labels):
    kind, colon, rest = spec.partition(":")
    if not spec:
        raise InputError("Give a dataset: digits, npz:PATH, folder:PATH or a TFDS name")
    # After a TFDS name, a colon stands before a version.
    if colon and kind not in ("npz", "folder") and not re.fullmatch(r"[\d.*]+", rest):
        near = difflib.get_close_matches(kind, ("npz", "folder"), 1)
        hint = f"; did you mean {near[0]}:{rest}?" if near else ""
        raise InputError(
            f"Unknown kind of dataset {kind!r}: give npz:PATH or folder:PATH{hint}. Received: {spec!r}"
        )
    if labels is not None and kind != "folder":
        raise InputError(
            f"labels (a CSV file) goes with folder:PATH only. Received: {spec!r}, labels={labels!r}"
        )
    if data_dir is not None and (spec == "digits" or kind in ("npz", "folder")):
        raise InputError(f"data_dir goes with TFDS names only. Received: {spec!r}, data_dir={data_dir!r}")


def _hold_out(splits, eval_fraction, seed):
    if not splits.train.has_labels and eval_fraction is None:
        return splits
    train = _with_known_labels(splits.train)
    fraction = DEFAULT_EVAL_FRACTION if eval_fraction is None else eval_fraction
    labels = np.zeros(train.num_examples, np.int32) if train.labels is None else train.labels
    rows, single = selection.held_out_rows(labels, fraction, seed)
    notes = list(splits.notes)
    if single:
        names = some([train.class_names[label] for label in single])
        notes.append(f"{len(single)} classes of one image stay in training alone: {names}")
    if not len(rows):
        return dataclasses.replace(splits, notes=tuple(notes))
    kept = np.ones(train.num_examples, bool)
    kept[rows] = False
    evaluation = train.subset(rows)
    return dataclasses.replace(
        splits,
        train=train.subset(kept),
        evaluation=evaluation,
        held_out=tuple(evaluation.ids),
        notes=tuple(notes),
    )


def _hide_labels(splits, fraction, per_class, seed):
    train = _with_known_labels(splits.train)
    if train.labels is None:
        raise InputError(f"{train.name} has no labels: label_fraction and labels_per_class do not apply")
    rows = selection.labeled_rows(
        train.labels, fraction=fraction, per_class=per_class, seed=seed, class_names=train.class_names
    )
    return dataclasses.replace(splits, train=train.with_labels_of(rows))


def _with_known_labels(source):
    return source if source.indexed else source.read_labels()
