"""The images of a run: written down when it begins, and found again when it resumes."""

import dataclasses
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from simclr_keras.data.sources.inherited_split import MOST_MISSING
from simclr_keras.data.sources.source import RowIds
from simclr_keras.errors import InputError, some
from simclr_keras.runs.records import SplitRecord
from simclr_keras.runs.run_files import SPLIT, TRAINING_IMAGES, RunFiles


def bind_data(
    run_dir: RunFiles,
    splits: Any,
    resumed: bool,
    say: Callable[[str], object] = print,
    contents: dict[str, str | None] | None = None,
) -> Any:
    """Write split.json for later stages or, if the run resumes, return the images it began with.

    If some images of a folder have been deleted or damaged since, others of their class replace them, so that all
    other images keep their places. Images that were added are not used.

    Args:
        run_dir: of the run, opened.
        splits: Splits as the data is now.
        resumed: whether the run has a checkpoint already.
        say: prints a line.
        contents: of the data, by `data.sources.fingerprint.contents_of`; None if they are unknown.

    Returns:
        Splits of the run.

    Raises:
        InputError: a resumed run finds other data than it began with.
    """
    train, old = splits.train, run_dir.read_split()
    split = SplitRecord(
        **(contents or {}),
        class_names=None if splits.class_names is None else list(splits.class_names),
        training_images=train.num_examples,
        fingerprint=_fingerprint(train),
        held_out=list(splits.held_out),
        labeled=_visible_ids(train),
        held_out_labels=_labels_of(splits.evaluation) if splits.held_out else None,
        evaluation_images=0 if splits.evaluation is None else splits.evaluation.num_examples,
        evaluation_fingerprint=None if splits.evaluation is None else _fingerprint(splits.evaluation),
    )
    if not resumed:
        if _has_file_ids(train):
            run_dir.write(TRAINING_IMAGES, _images_list(train))
        run_dir.write_split(split)
        return splits
    if old is None:
        raise InputError(
            f"{run_dir.path} has checkpoints but no {SPLIT}, so it is unknown which images it held out; restore it, or "
            "give another --model_dir."
        )
    if _same(old, split):
        return splits
    original = _original_splits(run_dir, old, splits, say) if _has_file_ids(train) else None
    if original is None:
        raise InputError(
            f"{train.name} is not the data that --model_dir={run_dir.path} began with: images, labels or classes "
            f"differ ({_counts(old)} then, {_counts(split)} now); restore the data, or give another --model_dir."
        )
    return original


def _same(old: SplitRecord, split: SplitRecord) -> bool:
    """Return whether two records are of the same images; contents count if both are known."""
    if old.contents is None or split.contents is None:
        old, split = (
            dataclasses.replace(record, contents=None, evaluation_contents=None) for record in (old, split)
        )
    return old == split


def _counts(split: SplitRecord) -> str:
    return f"{split.training_images} training images and {split.evaluation_images} for evaluation"


def _original_splits(run_dir: RunFiles, old: SplitRecord, splits: Any, say: Callable[[str], object]) -> Any:
    """Return the Splits that the run began with, from those of today; None if too much is missing."""
    data = run_dir.read_bytes(TRAINING_IMAGES)
    names = None if splits.class_names is None else list(splits.class_names)
    if data is None or old.class_names != names:
        return None
    try:
        labels, ids = _read_images_list(data)
    except (OSError, EOFError, ValueError, zlib.error):  # damaged
        return None
    if len(ids) != old.training_images:
        return None
    train, held_out = splits.train, old.held_out
    everything = train.union(splits.evaluation) if splits.held_out else train
    row_of = {name: row for row, name in enumerate(everything.ids)}
    missing = [name for name in [*ids, *held_out] if name not in row_of]
    if len(missing) > MOST_MISSING * (len(ids) + len(held_out)):
        return None
    rows = np.array([row_of.get(name, -1) for name in ids], np.int64)
    if train.labels is not None:
        is_there = rows >= 0
        now, then = everything.labels[rows[is_there]], labels[is_there]
        # Which labels are visible (-1: not) comes from the run, their values from the data.
        if np.any((now != then) & (now >= 0) & (then >= 0)):
            return None
    replaced = _with_replacements(rows, labels)
    if replaced is None:
        return None
    if missing:
        say(
            f"data     {len(missing)} of the original images are missing: {some(missing, 3)}; images of the same class "
            "replace those to train on"
        )
    new = len(row_of) - (len(ids) + len(held_out) - len(missing))
    if new:
        say(f"data     {new} images were added since the run began; they are not used")
    evaluation = splits.evaluation
    if not splits.held_out and evaluation is not None and evaluation.num_examples != old.evaluation_images:
        say(
            f"data     {evaluation.num_examples} evaluation images, {old.evaluation_images} when the run began"
        )
    if splits.held_out:
        is_there = np.array([name in row_of for name in held_out])
        # Their labels too: the label of an image that today would be a training image may be hidden.
        values = None if old.held_out_labels is None else np.array(old.held_out_labels)[is_there]
        names = [name for name in held_out if name in row_of]
        evaluation = everything.arranged([row_of[name] for name in names], names, values)
    original = everything.arranged(replaced, ids, labels if train.labels is not None else None)
    tampered = _fingerprint(original) != old.fingerprint
    if splits.held_out and len(evaluation) == len(held_out):
        tampered |= _fingerprint(evaluation) != old.evaluation_fingerprint
    if tampered:
        return None
    return dataclasses.replace(
        splits, train=original, evaluation=evaluation, held_out=tuple(held_out), missing=tuple(missing)
    )


def _with_replacements(rows: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Return rows with every -1 replaced by the next row, in a circle, of the same label; None if there is none."""
    rows, n = rows.copy(), len(rows)
    for place in np.flatnonzero(rows < 0):
        others = np.roll(np.arange(n), -place)
        others = others[(labels[others] == labels[place]) & (rows[others] >= 0)]
        if not len(others):
            return None
        rows[place] = rows[others[0]]
    return rows


def _visible_ids(source: Any) -> list[str] | None:
    """Return the ids of the rows with a visible label; None if all are visible, or none exists."""
    if source.labels is None or np.all(source.labels >= 0):
        return None
    return list(source.labeled_ids())


def _labels_of(source: Any) -> list[int] | None:
    return None if source.labels is None else source.labels.tolist()


def _has_file_ids(source: Any) -> bool:
    return bool(source.indexed) and not isinstance(source.ids, RowIds)


def _images_list(source: Any) -> bytes:
    """Return the label number and id of each image, in the order of the run."""
    labels = np.full(len(source), -1) if source.labels is None else source.labels
    # JSON strings, as a file name may hold a tab or a line break.
    lines = "".join(f"{label}\t{json.dumps(name)}\n" for label, name in zip(labels.tolist(), source.ids))
    return gzip.compress(lines.encode(), mtime=0)


def _read_images_list(data: bytes) -> tuple[np.ndarray, list[str]]:
    lines = [line.split("\t", 1) for line in gzip.decompress(data).decode().splitlines()]
    return np.array([int(label) for label, _ in lines], np.int32), [json.loads(name) for _, name in lines]


def _fingerprint(source: Any) -> str:
    """Return a digest of the ids and labels of a source, in their order; the pixels are not read."""
    digest = hashlib.blake2b(digest_size=16)
    if source.indexed:
        for name in source.ids:
            digest.update(name.encode(errors="surrogateescape") + b"\0")
    else:
        # Ids of a stream are row numbers: a million of them would say no more than their count.
        digest.update(str(source.num_examples).encode())
    if source.labels is not None:
        digest.update(np.ascontiguousarray(source.labels, np.int32).tobytes())
    return digest.hexdigest()
