"""Which evaluation images earlier runs were trained on: exactly if files or splits show it, else as a note."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simclr_keras.data.content_hash import is_held_out
from simclr_keras.data.sources.load_dataset import held_out_share
from simclr_keras.errors import InputError
from simclr_keras.formatting import counted
from simclr_keras.runs.ancestors import UNKNOWN, is_on_dataset
from simclr_keras.runs.records import AncestorEntry, SplitRecord
from simclr_keras.runs.run_files import RunFiles
from simclr_keras.runs.run_images import ImageList, has_files, read_images

_ONLY_LABELED = ("finetune", "supervised", "linear_eval")
_HOW = {"pretrain": ", without labels,", "distill": ""}


def notes_on_seen_images(
    config: Any, ancestors: Sequence[AncestorEntry], splits: Any
) -> tuple[list[str], int]:
    """Return notes for the user, and how many evaluation images are known to be seen by the ancestors."""
    evaluation, notes = splits.evaluation, []
    if evaluation is None:
        return [], 0
    is_seen = np.zeros(evaluation.num_examples, bool)
    for entry in ancestors:
        is_trained_on = _is_trained_on(entry, config, splits)
        if is_trained_on is None:
            notes += _doubt(entry, config) if splits.held_out is not None else []
        elif is_trained_on.any():
            is_seen |= is_trained_on
            how = _HOW.get(entry["mode"], ", with their labels,")
            count = counted(int(is_trained_on.sum()), "image")
            notes.append(
                f"{entry['run']} was trained{how} on {count} of the {len(is_seen):,} that are evaluated on; "
                f"{_remedy(config, splits)}"
            )
    return notes, int(is_seen.sum())


def seen_rows(source: Any, ancestors: Sequence[AncestorEntry]) -> tuple[np.ndarray, list[str]]:
    """Return which of n image files some runs were trained on, by their content: bool [n].

    The second value are the runs on folders, or on unknown data, whose images are unknown.
    """
    is_seen, unknown = np.zeros(source.num_examples, bool), []
    for entry in ancestors:
        hashes = _trained_hashes(entry)
        if hashes is not None:
            is_seen |= np.isin(source.content_hashes, hashes)
        elif entry.get("exported") or entry["dataset"].startswith("folder:") or entry["dataset"] == UNKNOWN:
            unknown.append(entry["run"])
    return is_seen, unknown


def _trained_hashes(entry: AncestorEntry) -> np.ndarray | None:
    """Return the content hashes of the image files that a run was trained on; None if they are unknown."""
    split, images = _read(entry)
    if split is None or images is None or images.hashes is None:
        return None
    hashes: np.ndarray = images.hashes[_training_rows(entry, split, images.ids, images.hashes, images.labels)]
    return hashes


def _read(entry: AncestorEntry) -> tuple[SplitRecord | None, ImageList | None]:
    """Return the split and the image files of a run; None for what is unknown."""
    if entry.get("exported"):
        return None, None
    files = RunFiles(entry["run"], flag=None)
    try:
        record, split, images = files.read_config(), files.read_split(), read_images(files)
    except (InputError, ValueError):  # damaged, or no path at all
        return None, None
    if record is None or split is None or record.settings.get("dataset") != entry["dataset"]:
        return None, None  # moved, or another run in its place
    return split, images


def _is_trained_on(entry: AncestorEntry, config: Any, splits: Any) -> np.ndarray | None:
    """Return whether a run was trained on each evaluation image, bool [n]; None if it is unknown."""
    evaluation, (split, _) = splits.evaluation, _read(entry)
    if split is None:
        return None
    hashes = _trained_hashes(entry)
    if hashes is not None and has_files(evaluation):
        return np.isin(evaluation.content_hashes, hashes)
    if not is_on_dataset(entry, config.dataset):
        return None
    if splits.held_out is None:  # the data's own evaluation split, then as now
        return np.zeros(evaluation.num_examples, bool)
    return _training_rows(entry, split, list(evaluation.ids), evaluation.content_hashes, evaluation.labels)


def _training_rows(
    entry: AncestorEntry,
    split: SplitRecord,
    ids: Sequence[str],
    hashes: np.ndarray,
    labels: np.ndarray | None,
) -> np.ndarray:
    """Return which of n images a run trains on, bool [n], by its split and its mode."""
    rows, fraction = np.ones(len(ids), bool), entry.get("eval_fraction")
    if split.held_out:
        rows &= ~np.isin(ids, split.held_out)
    elif fraction is not None:
        rows &= ~is_held_out(hashes, fraction)
    if entry["mode"] in _ONLY_LABELED:
        rows &= True if labels is None else labels >= 0
        rows &= np.isin(ids, split.labeled) if split.labeled else True
    return rows


def _doubt(entry: AncestorEntry, config: Any) -> list[str]:
    """Return a note if a run may have been trained on images that are evaluated on now."""
    fraction, dataset = entry.get("eval_fraction"), entry["dataset"]
    has_same_kind = dataset.partition(":")[0] == config.dataset.partition(":")[0]  # else it is other data
    if fraction is None or fraction >= held_out_share(config.eval_fraction) or not has_same_kind:
        return []
    return [
        f"{entry['run']} held out {fraction:g} of {dataset}; others of its images may be among those evaluated on; to "
        f"avoid this, give --eval_fraction={fraction:g} or less"
    ]


def _remedy(config: Any, splits: Any) -> str:
    if splits.held_out is None:
        return "to avoid this, start from a run that was trained without them"
    labels = f" --labels={config.labels}" if config.labels else ""
    return (
        f"to avoid this, pretrain with --dataset={config.dataset}{labels} "
        f"--eval_fraction={held_out_share(config.eval_fraction):g}"
    )
