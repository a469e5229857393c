"""The images of a run: recorded when it begins, and compared when it resumes."""

import gzip
import json
import zlib
from typing import Any, NamedTuple

import numpy as np

from simclr_keras.data.content_hash import is_held_out
from simclr_keras.data.sources.source import RowIds, rows_of_ids
from simclr_keras.errors import InputError, one_line, some
from simclr_keras.runs.records import SplitRecord
from simclr_keras.runs.run_files import SPLIT, TRAINING_IMAGES, RunFiles


class ImageList(NamedTuple):
    """The n image files that a run began with: ids, labels int [n], content hashes uint64 [n] (None in old lists)."""

    ids: list[str]
    labels: np.ndarray
    hashes: np.ndarray | None


def record_images(
    run_dir: RunFiles, splits: Any, whole: Any, epoch_images: int | None, ids: dict[str, Any]
) -> None:
    """Write split.json and, for a folder, the list of the images that the run begins with.

    Args:
        whole: the training source before it was split.
        epoch_images: number of images of an epoch, None if the run has no epochs.
        ids: held-out and labeled ids, see `SplitRecord`.
    """
    if has_files(whole):
        labels = np.full(len(whole), -1) if whole.labels is None else whole.labels
        rows = zip(labels.tolist(), whole.content_hashes.tolist(), whole.ids)
        # JSON strings, as a file name may contain a tab or a line break.
        lines = "".join(f"{label}\t{content}\t{json.dumps(name)}\n" for label, content, name in rows)
        run_dir.write(TRAINING_IMAGES, gzip.compress(lines.encode(), mtime=0))
    run_dir.write_split(_record(splits, epoch_images, ids))


def has_files(source: Any) -> bool:
    """Return whether the images of a source are files, which may disappear, and not rows of an archive."""
    return bool(source.indexed) and not isinstance(source.ids, RowIds)


def read_images(run_dir: RunFiles) -> ImageList | None:
    """Return the image files that a run began with; None if there is no list.

    Raises:
        InputError: the list is damaged.
    """
    content = run_dir.read_bytes(TRAINING_IMAGES)
    if content is None:
        return None
    try:
        # Lists of old runs have no hashes, and not the held-out images.
        rows = [line.split("\t") for line in gzip.decompress(content).decode().splitlines()]
        ids, labels = [json.loads(row[-1]) for row in rows], np.array([int(row[0]) for row in rows])
        hashes = np.array([int(row[1]) for row in rows], np.uint64) if len(rows[0]) == 3 else None
    except (OSError, EOFError, ValueError, IndexError, OverflowError, zlib.error) as error:
        raise run_dir.damaged(TRAINING_IMAGES, error) from error
    return ImageList(ids, labels, hashes)


def check_reading(
    run_dir: RunFiles, record: SplitRecord, images: ImageList | None, whole: Any, eval_fraction: float
) -> None:
    """Raise InputError if the data is read as other splits or classes than when the run began.

    So it is if another version began the run, or if the data has changed.

    Args:
        record, images: of the run; images is None if they are no files.
        whole: the Splits of today, before images are held out.
        eval_fraction: share that is held out if the data has no evaluation split.
    """
    old_classes, new_classes = record.class_names or [], list(whole.class_names or [])
    if _is_split_new(record, images, whole, eval_fraction):
        split = whole.evaluation.ids[0].split("/")[0]
        problem = f"{split} is the evaluation split now, and was not"
    elif record.has_own_evaluation and whole.evaluation is None:
        problem = "its evaluation split is missing"
    elif old_classes != new_classes:
        problem = (
            f"the classes are {some(new_classes) or 'unknown'} now, and were {some(old_classes) or 'unknown'}"
        )
    else:
        return
    raise InputError(
        f"{whole.train.name} is read differently than when --model_dir={run_dir.path} began: {problem}; if the data "
        "has not changed, use the version of simclr_keras that began the run. Otherwise restore the data, or give "
        "another --model_dir."
    )


def _is_split_new(record: SplitRecord, images: ImageList | None, whole: Any, eval_fraction: float) -> bool:
    """Return whether the run trained on today's evaluation images, or held out images instead of these."""
    train, evaluation = whole.train, whole.evaluation
    if evaluation is None or not train.indexed:  # records of TFDS name their splits
        return False
    if images is not None and not set(images.ids).isdisjoint(evaluation.ids):
        return True
    images = images or ImageList(train.ids, train.labels, train.content_hashes)
    if images.hashes is None or record.held_out is not None:
        return False
    mask = is_held_out(images.hashes, eval_fraction)
    labeled = 0 if images.labels is None else np.count_nonzero(images.labels[mask] >= 0)
    counts = (np.count_nonzero(~mask), labeled)
    return (record.training_images, record.evaluation_images) == counts


def check_files(run_dir: RunFiles, images: ImageList, whole: Any) -> None:
    """Raise InputError if an image file has another content or label than when the run began.

    `images` are those of the run, `whole` the training source of today, before it is split.
    """
    row_of = {name: row for row, name in enumerate(images.ids)}
    rows, _ = rows_of_ids(whole.ids, images.ids)
    then = np.array([row_of[whole.ids[row]] for row in rows], np.int64)
    changed = np.zeros(len(rows), bool)
    if images.hashes is not None:
        changed |= images.hashes[then] != whole.content_hashes[rows]
    if whole.labels is not None:
        # Old lists have -1 for a label that was not visible.
        old, new = images.labels[then], whole.labels[rows]
        changed |= (old != new) & ((images.hashes is not None) | ((old >= 0) & (new >= 0)))
    if changed.any():
        names = some([one_line(whole.ids[row], 100) for row in rows[changed][:4]], 3)
        raise InputError(
            f"{whole.name}: {int(changed.sum())} images have another content or label than when "
            f"--model_dir={run_dir.path} began: {names}; restore them, or give another --model_dir."
        )


def check_images(run_dir: RunFiles, splits: Any) -> SplitRecord:
    """Return the record of a resumed run.

    Raises:
        InputError: there is none, or the images or labels are not those that the run began with.
    """
    old = run_dir.read_split()
    if old is None:
        raise InputError(
            f"{run_dir.path} has checkpoints but no {SPLIT}, so it is unknown which images it held out; restore it, or "
            "give another --model_dir."
        )
    new = _record(splits, old.epoch_images, {})
    names = []
    if not has_files(splits.train):  # files are compared one by one, and may be missing
        names = ["training_images", "evaluation_images"]
        # Old runs have other fingerprints.
        names += [] if old.epoch_images is None else ["fingerprint", "evaluation_fingerprint"]
    differing = [name.replace("_", " ") for name in names if getattr(old, name) != getattr(new, name)]
    if differing:
        raise InputError(
            f"{splits.train.name} is not the data that --model_dir={run_dir.path} began with: {some(differing)} differ "
            f"({_counts(old)} then, {_counts(new)} now); restore the data, or give another --model_dir."
        )
    return old


def has_other_evaluation(old: SplitRecord, splits: Any) -> bool:
    """Return whether the evaluation images or their labels are not those of when the run began."""
    # Old runs have other fingerprints, or none.
    if old.epoch_images is None or old.evaluation_fingerprint is None:
        return False
    return bool(splits.evaluation.fingerprint() != old.evaluation_fingerprint)


def _record(splits: Any, epoch_images: int | None, ids: dict[str, Any]) -> SplitRecord:
    train, evaluation = splits.train, splits.evaluation
    return SplitRecord(
        class_names=None if splits.class_names is None else list(splits.class_names),
        training_images=train.num_examples,
        evaluation_images=0 if evaluation is None else evaluation.num_examples,
        fingerprint=train.fingerprint(),
        evaluation_fingerprint=None if evaluation is None else evaluation.fingerprint(),
        epoch_images=epoch_images,
        has_own_evaluation=evaluation is not None and splits.held_out is None,
        **ids,
    )


def _counts(split: SplitRecord) -> str:
    return f"{split.training_images} training images and {split.evaluation_images} for evaluation"
