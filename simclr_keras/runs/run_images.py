"""The images of a run: recorded when it begins, and compared when it resumes."""

import gzip
import json
import zlib
from collections.abc import Sequence
from typing import Any

from simclr_keras.data.sources.source import RowIds
from simclr_keras.errors import InputError
from simclr_keras.runs.records import SplitRecord
from simclr_keras.runs.run_files import SPLIT, TRAINING_IMAGES, RunFiles


def record_images(
    run_dir: RunFiles, splits: Any, images: Sequence[str], epoch_images: int | None, old_split: dict[str, Any]
) -> None:
    """Write split.json and, for a folder, the list of the images that the run begins with.

    Args:
        run_dir: of the run, opened.
        splits: Splits of the run.
        images: ids of all images that the splits were made of, in order.
        epoch_images: number of images of an epoch, None if the run has no epochs.
        old_split: held_out and labeled ids that an old run passed on, see `ancestors.old_split`.
    """
    if not isinstance(images, RowIds):  # a file may disappear, a row of an archive does not
        # JSON strings, as a file name may contain a line break.
        lines = "".join(f"{json.dumps(name)}\n" for name in images)
        run_dir.write(TRAINING_IMAGES, gzip.compress(lines.encode(), mtime=0))
    run_dir.write_split(_record(splits, epoch_images, old_split))


def read_images(run_dir: RunFiles) -> list[str] | None:
    """Return the ids of the images that a run began with; None if they are not files.

    Raises:
        InputError: the list is damaged.
    """
    content = run_dir.read_bytes(TRAINING_IMAGES)
    if content is None:
        return None
    try:
        # Lists of old runs have a label number and a tab before the name, and not the held-out images.
        lines = gzip.decompress(content).decode().splitlines()
        images = [json.loads(line.rpartition("\t")[2]) for line in lines]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise run_dir.damaged(TRAINING_IMAGES, error) from error
    if not images:
        raise run_dir.damaged(TRAINING_IMAGES, "it is empty")
    return images


def check_images(run_dir: RunFiles, splits: Any) -> SplitRecord:
    """Return the record of a resumed run.

    Raises:
        InputError: the data is not the one that the run began with.
    """
    old = run_dir.read_split()
    if old is None:
        raise InputError(
            f"{run_dir.path} has checkpoints but no {SPLIT}, so it is unknown which images it held out; restore it, or "
            "give another --model_dir."
        )
    new = _record(splits, old.epoch_images, {})
    # Missing images were counted and printed when the data was opened; old runs have other fingerprints.
    names = ["class_names"]
    if not splits.missing:
        names += ["training_images", "evaluation_images"]
    if not splits.missing and old.held_out is None:
        names += ["fingerprint", "evaluation_fingerprint"]
    if any(getattr(old, name) != getattr(new, name) for name in names):
        raise InputError(
            f"{splits.train.name} is not the data that --model_dir={run_dir.path} began with: images, labels or "
            f"classes differ ({_counts(old)} then, {_counts(new)} now); restore the data, or give another --model_dir."
        )
    return old


def _record(splits: Any, epoch_images: int | None, old_split: dict[str, Any]) -> SplitRecord:
    train, evaluation = splits.train, splits.evaluation
    return SplitRecord(
        class_names=None if splits.class_names is None else list(splits.class_names),
        training_images=train.num_examples,
        evaluation_images=0 if evaluation is None else evaluation.num_examples,
        fingerprint=train.fingerprint(),
        evaluation_fingerprint=None if evaluation is None else evaluation.fingerprint(),
        epoch_images=epoch_images,
        **old_split,
    )


def _counts(split: SplitRecord) -> str:
    return f"{split.training_images} training images and {split.evaluation_images} for evaluation"
