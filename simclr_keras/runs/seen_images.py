"""Which evaluation images earlier runs were trained on: exactly if files or splits show it, else as a note."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simclr_keras.data.content_hash import is_held_out
from simclr_keras.data.sources.load_dataset import PATH_KINDS, held_out_share
from simclr_keras.errors import InputError
from simclr_keras.formatting import counted
from simclr_keras.runs.ancestors import place_of
from simclr_keras.runs.records import AncestorEntry
from simclr_keras.runs.run_files import RunFiles
from simclr_keras.runs.run_images import has_files, read_images

_ONLY_LABELED = ("finetune", "supervised", "linear_eval")
_HOW = {"pretrain": ", without labels,", "distill": ""}


def notes_on_seen_images(
    config: Any, ancestors: Sequence[AncestorEntry], splits: Any
) -> tuple[list[str], int]:
    """Return notes for the user, and how many evaluation images are known to be seen.

    Args:
        config: of the stage. ancestors: the runs that it descends from. splits: of its data.
    """
    evaluation, notes = splits.evaluation, []
    if evaluation is None:
        return [], 0
    seen = np.zeros(evaluation.num_examples, bool)
    for entry in ancestors:
        own = _seen_by(entry, config, splits)
        if own is None:
            notes += _doubt(entry, config) if splits.held_out is not None else []
        elif own.any():
            seen |= own
            how = _HOW.get(entry["mode"], ", with their labels,")
            notes.append(
                f"{entry['run']} was trained{how} on {counted(int(own.sum()), 'image')} of the {len(own):,} that are "
                f"evaluated on; {_remedy(config, splits)}"
            )
    return notes, int(seen.sum())


def _seen_by(entry: AncestorEntry, config: Any, splits: Any) -> np.ndarray | None:
    """Return which evaluation images a run was trained on, bool [n]; None if it is unknown."""
    if entry.get("exported"):
        return None
    evaluation, files = splits.evaluation, RunFiles(entry["run"], flag=None)
    is_same = place_of(entry["dataset"]) == place_of(config.dataset)
    try:
        record, split, images = files.read_config(), files.read_split(), read_images(files)
    except (InputError, ValueError):  # damaged, or no path at all
        return None
    if record is None or split is None or record.settings.get("dataset") != entry["dataset"]:
        return None  # moved, or another run in its place
    fraction = entry.get("eval_fraction")
    only_labeled = entry["mode"] in _ONLY_LABELED
    if images is not None and images.hashes is not None and has_files(evaluation):
        trained = np.ones(len(images.ids), bool)
        if split.held_out:
            trained &= ~np.isin(images.ids, split.held_out)
        elif fraction is not None:
            trained &= ~is_held_out(images.hashes, fraction)
        if only_labeled:
            trained &= images.labels >= 0
            trained &= np.isin(images.ids, split.labeled) if split.labeled else True
        return np.isin(evaluation.content_hashes, images.hashes[trained])
    if not is_same:
        return None
    if splits.held_out is None:  # the data's own evaluation split, then as now
        return np.zeros(evaluation.num_examples, bool)
    seen = np.ones(evaluation.num_examples, bool)
    if split.held_out:
        seen &= ~np.isin(list(evaluation.ids), split.held_out)
    elif fraction is not None:
        seen &= ~is_held_out(evaluation.content_hashes, fraction)
    if only_labeled and split.labeled:
        seen &= np.isin(list(evaluation.ids), split.labeled)
    return seen


def _doubt(entry: AncestorEntry, config: Any) -> list[str]:
    """Return a note if a run may have been trained on images that are evaluated on now."""
    fraction, share = entry.get("eval_fraction"), held_out_share(config.eval_fraction)
    kind = entry["dataset"].partition(":")[0]
    if fraction is None or fraction >= share:
        return []
    if place_of(entry["dataset"]) == place_of(config.dataset):
        return [
            f"{entry['run']} held out {fraction:g} of the images and was trained, without labels, on some that are "
            f"evaluated on now; to avoid this, pretrain with --eval_fraction={share:g}"
        ]
    if kind == config.dataset.partition(":")[0] in PATH_KINDS:
        return [
            f"{entry['run']} held out {fraction:g} of {entry['dataset']}; if {config.dataset} contains the same "
            f"images, give --eval_fraction={fraction:g} or less"
        ]
    return []


def _remedy(config: Any, splits: Any) -> str:
    if splits.held_out is None:
        return "to avoid this, start from a run that was trained without them"
    labels = f" --labels={config.labels}" if config.labels else ""
    return (
        f"to avoid this, pretrain with --dataset={config.dataset}{labels} "
        f"--eval_fraction={held_out_share(config.eval_fraction):g}"
    )
