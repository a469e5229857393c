"""The earlier runs that a stage starts from: which settings, images and labels it must keep from them."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from simclr_keras.config.base import NEAR_DUPLICATES
from simclr_keras.data.sources.load_dataset import PATH_KINDS, held_out_share
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.runs.open_run import OpenRun
from simclr_keras.runs.records import AncestorEntry

UNKNOWN = "unknown"  # the dataset of weights from elsewhere
_TRAINED_ON_LABELS = ("finetune", "supervised", "distill")


def inherited_ids(runs: Sequence[OpenRun], config: Any) -> dict[str, Any]:
    """Return the held-out and labeled ids that a stage keeps from the runs it starts from.

    Only runs with --group_by, or from before images were held out by content, and runs that started from them, pass on
    held-out ids.

    Args:
        runs: that the stage starts from, the most important first. config: of the stage.

    Returns:
        Arguments of `split_dataset`; empty if no run had the same data, or there is nothing to keep.

    Raises:
        InputError: the config asks for another evaluation split, which old ids or chosen labels do not fit, or two runs
            held out different images.
    """
    runs = [run for run in runs if _has_same_data(config, run)]
    splits = {tuple(run.split.held_out or ()) for run in runs if run.config.NAME != "pretrain"}
    if len(splits) > 1:
        raise InputError(
            f"{' and '.join(run.path for run in runs)} held out different images, so one was trained on evaluation "
            "images of the other; give runs with the same ancestors."
        )
    if not runs:
        return {}
    own, arguments = runs[0].config, runs[0].split.ids()
    if config.group_by != own.group_by:
        remedy = "leave --group_by out" if config.group_by else "leave --dataset out, or give --labels too,"
        raise InputError(
            f"--group_by={config.group_by or ''}: {runs[0].path} was trained on the same data with another split, "
            f"{f'--group_by={own.group_by}' if own.group_by else 'without --group_by'}; {remedy} to use it."
        )
    if chose_labels(config):
        arguments.pop("labeled", None)
    # An old run that held out nothing had other evaluation images, or no labels: there is nothing to repeat.
    if not arguments.get("held_out"):
        arguments.pop("held_out", None)
    elif config.eval_fraction not in (None, held_out_share(own.eval_fraction)):
        raise InputError(
            f"--eval_fraction={config.eval_fraction}: {runs[0].path} was trained on the same data with another "
            "evaluation split; leave --eval_fraction out to use its split."
        )
    own_share, share = runs[0].result.eval_fraction, held_out_share(config.eval_fraction)
    # `check_eval_fraction` refuses runs that were trained on labels.
    keeps_labels = bool(arguments.get("labeled")) and runs[0].record.mode not in _TRAINED_ON_LABELS
    if keeps_labels and "held_out" not in arguments and own_share is not None and share > own_share:
        raise InputError(
            f"--eval_fraction={share:g}: {runs[0].path} held out {own_share:g}, and some of the labels that it chose "
            "would be held out now; choose labels again with --label_fraction or --labels_per_class, or leave "
            "--eval_fraction out."
        )
    return arguments


def check_eval_fraction(config: Any, ancestors: Sequence[AncestorEntry]) -> None:
    """Raise InputError if an ancestor was trained on labels of images that are held out now.

    The config is that of a stage whose data has no evaluation split of its own.
    """
    fraction = held_out_share(config.eval_fraction)
    for entry in ancestors:
        held_out = entry.get("eval_fraction")
        if held_out is None or held_out >= fraction or entry["mode"] not in _TRAINED_ON_LABELS:
            continue
        if is_on_dataset(entry, config.dataset):
            raise InputError(
                f"--eval_fraction={fraction:g}: {entry['run']} held out {held_out:g} of these images and was trained "
                f"on labels of the others; give --eval_fraction={held_out:g} or less."
            )


def moved_notes(runs: Sequence[OpenRun], config: Any) -> list[str]:
    """Return notes for the user if runs held out images by their ids, and the data may be the same in another place."""
    return [
        f"{run.path} held out images by their names in {run.config.dataset}; {config.dataset} is split by content, so "
        "if it contains the same images, some evaluation images may have been trained on"
        for run in runs
        if run.split.held_out
        and not run.config.group_by
        and not _has_same_data(config, run)
        and _kind(run.config.dataset) == _kind(config.dataset) in PATH_KINDS
    ]


def inherit(config: Any, run: OpenRun, flag: str) -> Any:
    """Return the config with open settings taken from the run it starts from: dataset, split, model, images.

    Raises:
        InputError: --image_size is not the one that a backbone was built for, or --labels are for a folder.
    """
    own = run.config
    inherited: dict[str, Any] = {}
    if config.dataset is None and config.labels is not None and not own.dataset.startswith("folder:"):
        raise InputError(
            f"--labels={config.labels} goes with folder:PATH, but --{flag}={run.path} was trained on "
            f"{own.dataset}; give another --{flag}, or --dataset=folder:PATH."
        )
    if config.dataset is None and own.dataset == UNKNOWN:
        raise InputError(
            f"--dataset is missing: the data that --{flag}={run.path} was trained on is unknown; give --dataset, such "
            "as --dataset=folder:photos."
        )
    if config.dataset is None:
        labels = None if config.unlabeled else config.labels or own.labels
        unlabeled = config.unlabeled or (own.unlabeled and not labels)
        inherited |= {"dataset": own.dataset, "labels": labels, "unlabeled": unlabeled}
        inherited["data_dir"] = config.data_dir or own.data_dir
    if config.model is None:
        inherited["model"] = run.architecture.name
    if config.image_size is None:
        # Not the architecture's, which its stem was made for: the run may have trained on images of another size.
        inherited["image_size"] = run.image_size
    if config.eval_fraction is None:
        # Whatever the dataset: it may be a copy, of which the same images must be held out.
        inherited["eval_fraction"] = own.eval_fraction
    # A column is of the earlier run's labels.
    if config.group_by is None and (
        own.group_by == NEAR_DUPLICATES or config.dataset is None or config.labels
    ):
        inherited["group_by"] = own.group_by
    if config.eval_antialias is None:
        inherited["eval_antialias"] = run.eval_antialias
    config = dataclasses.replace(config, **inherited)
    check_image_size(config, run, flag)
    return config


def inherit_network(config: Any, run: OpenRun) -> Any:
    """Return the config of a pretraining with the parts of --init's network that it leaves open.

    Settings that are None are open. A fresh head is that of the config.

    Raises:
        InputError: a setting differs from the network, or there is no whole head to keep.
    """
    own = run.architecture
    values: dict[str, Any] = {"se_ratio": own.se_ratio}
    if is_backbone(own.name):
        values["dense_layers"] = ",".join(map(str, own.dense_layers or ())) or None
    if config.init_head == "keep":
        if not own.head_depth or own.head_depth < own.whole_head_depth:
            raise InputError(
                f"--init={run.path} has no whole projection head; give --init_head=fresh, or another --init."
            )
        names = ("proj_mode", "proj_layers", "proj_dim", "proj_hidden_dim")
        values |= {name: getattr(own, name) for name in names}
    for name, value in values.items():
        if getattr(config, name) not in (None, value):
            remedy = f"leave --{name} out" + (", or give --init_head=fresh" if "proj" in name else "")
            raise InputError(
                f"--{name}={getattr(config, name)}, but --init={run.path} has {value or 'none'}; {remedy}."
            )
    return dataclasses.replace(config, **values)


def saw_labels(ancestors: Sequence[AncestorEntry]) -> bool:
    """Return whether the encoder of any of these runs was trained on labels."""
    return any(run.get("mode") in _TRAINED_ON_LABELS for run in ancestors)


def labels_of(ancestors: Sequence[AncestorEntry], dataset: str) -> int:
    """Return the most labels of a dataset that any network among these runs was trained on.

    The labels of an online probe do not count.
    """
    counts = (
        run.get("labels_used") or 0
        for run in ancestors
        if run.get("mode") in _TRAINED_ON_LABELS and is_on_dataset(run, dataset)
    )
    return max(counts, default=0)


def check_image_size(config: Any, run: OpenRun, flag: str) -> None:
    """Raise InputError if the network of a run does not take images of that size."""
    name, size = run.architecture.name, run.architecture.image_size
    if is_backbone(name) and config.image_size != size:
        raise InputError(
            f"--image_size={config.image_size}, but --{flag}={run.path} contains {name}, built for {size}; leave "
            "--image_size out."
        )


def check_head_layer(layer: int, run: OpenRun) -> None:
    """Raise InputError if the projection head of --init has no such layer."""
    depth = run.architecture.head_depth
    if layer > depth:
        layers = f"layers 0 to {depth}" if depth else "layer 0 alone (the encoder's output)"
        raise InputError(
            f"--head_layer={layer} is beyond the projection head of --init={run.path}, which has {layers}."
        )


def check_classes(run: Any, flag: str, config: Any, splits: Any) -> None:
    """Raise InputError, with both counts, if labeled data has other classes than the classifier of a run."""
    count, names, classes = run.architecture.num_classes, run.class_names, splits.class_names
    if classes is not None and (len(classes) != count or (names and tuple(names) != tuple(classes))):
        raise InputError(
            f"--{flag}={run.path} has {count} classes ({_first(names)}), {config.dataset} has {len(classes)} "
            f"({_first(classes)}); give data with its classes, or another --{flag}."
        )


def check_same_model(config: Any, run: OpenRun, flag: str) -> None:
    """Raise InputError if --model was given and is not the model of a run."""
    name = run.architecture.name
    if config.model != name:
        raise InputError(
            f"--model={config.model}, but --{flag}={run.path} contains {name}; leave --model out."
        )


def chose_labels(config: Any) -> bool:
    """Return whether a config selects the labels that are visible."""
    return config.label_fraction is not None or config.labels_per_class is not None


def place_of(dataset: Any) -> str:
    """Return the same text for the same images, however the path or the version is spelled."""
    kind, _, path = str(dataset).partition(":")
    if kind not in PATH_KINDS:
        return kind  # without the version of a TFDS name
    return str(dataset) if "://" in path else f"{kind}:{os.path.realpath(path)}"


def _first(names: Sequence[str] | None) -> str:
    return "names unknown" if not names else ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def is_on_dataset(entry: AncestorEntry, dataset: str) -> bool:
    """Return whether a run was trained on this dataset, however it is spelled.

    If its place no longer exists, the project may have moved as a whole: then it is what its --dataset means here.
    """
    place, today = entry.get("place") or place_of(entry["dataset"]), place_of(dataset)
    return today == place or (not _exists(place) and today == place_of(entry["dataset"]))


def without_place(entry: AncestorEntry) -> dict[str, Any]:
    """Return the entry as runs of earlier versions have it, and without a folder of this machine."""
    return {name: value for name, value in entry.items() if name != "place"}


def _exists(place: str) -> bool:
    kind, _, path = place.partition(":")
    return kind not in PATH_KINDS or "://" in path or os.path.exists(path)


def _has_same_data(config: Any, run: OpenRun) -> bool:
    return is_on_dataset(run.as_ancestors()[-1], config.dataset)


def _kind(dataset: str) -> str:
    return dataset.partition(":")[0]
