"""The earlier runs that a stage starts from: which settings, images and labels it must keep from them."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

from simclr_keras.data.sources.load_dataset import DEFAULT_EVAL_FRACTION
from simclr_keras.errors import InputError
from simclr_keras.runs.open_run import OpenRun
from simclr_keras.runs.records import AncestorEntry, ConfigRecord, SplitRecord
from simclr_keras.runs.run_files import CONFIG, RunFiles

_Earlier = tuple[Any, SplitRecord, ConfigRecord]  # config, split.json and config.json of a run


def selection(run: OpenRun, config: Any, contents: str | None = None) -> dict[str, Any]:
    """Return the arguments of `load_dataset` that keep a stage to the same held-out images and labels.

    If its data is that of the run, or of one before it, the images that were held out then stay held out, because
    their labels may have been learned from otherwise. The labels that were visible stay the visible ones, unless the
    stage selects labels itself.

    Args:
        run: that the stage starts from.
        config: of the stage.
        contents: of its images, by `data.sources.fingerprint.contents_of`, which identifies moved data; None if they
            have not been opened yet, or none of them is held out.

    Raises:
        InputError: the config asks for another evaluation split, or it is unknown what was held out.
    """
    earlier = _run_on_same_data(run, config, contents)
    if earlier is None:
        return {}
    own, split, record = earlier
    arguments: dict[str, Any] = {}
    if split.held_out:
        if config.eval_fraction not in (None, own.eval_fraction or DEFAULT_EVAL_FRACTION):
            raise InputError(
                f"--eval_fraction={config.eval_fraction}: {run.path} or an ancestor has trained on the same data, also "
                "on images that would be held out now; leave --eval_fraction out to evaluate on its evaluation set."
            )
        arguments |= {"held_out": tuple(split.held_out), "eval_fraction": None}
    chose = chose_labels(own) if record.labels_chosen is None else record.labels_chosen
    if chose and not chose_labels(config) and split.labeled is not None:
        arguments["labeled"] = tuple(split.labeled)
    return arguments


def _run_on_same_data(run: OpenRun, config: Any, contents: str | None) -> _Earlier | None:
    """Return the latest run with the data of a config, from this one and its ancestors; None if there is none."""
    place, without_held_out = place_of(config.dataset), None
    for own, split, record in _runs_on_data_like(run, config, contents):
        is_here = place == (record.place or place_of(own.dataset))
        # A run that held nothing out, as on these images without their labels, has nothing to hand down.
        if split.held_out and (is_here or (contents is not None and contents == split.contents)):
            return own, split, record
        if is_here and without_held_out is None:
            without_held_out = own, split, record
            if contents is None:
                break
    return without_held_out


def _runs_on_data_like(run: OpenRun, config: Any, contents: str | None) -> Iterator[_Earlier]:
    """Yield this run and, from the latest on, its ancestors on data of the same kind.

    Raises:
        InputError: the directory of one is missing, and it may have had the same data.
    """
    place = place_of(config.dataset)
    yield run.config, run.split, run.record
    # A run that was on this very data knows what was held out, wherever its ancestors are.
    is_here = place == (run.record.place or place_of(run.config.dataset))
    for entry in reversed(run.result.ancestors):
        # Runs known from an export may be of another machine; what they held out is unknown here.
        if entry.get("exported") or _kind(place) != _kind(entry["dataset"]):
            continue
        files = RunFiles(entry["run"], run.files.flag)
        record, split = files.read_config(), files.read_split()
        if record is None or split is None:
            is_other = place != place_of(entry["dataset"])
            if is_here or (is_other and (contents is None or entry.get("contents") not in (None, contents))):
                continue
            raise InputError(
                f"{entry['run']}, an ancestor of {run.path}, is missing, so it is unknown which images of "
                f"{config.dataset} it held out; restore it."
            )
        yield record.config(files.file(CONFIG)), split, record


def inherit(config: Any, run: OpenRun, flag: str) -> Any:
    """Return the config with open settings taken from an earlier run: dataset, model, image size.

    Args:
        config: of the stage. run: that it starts from. flag: that gave the run, for messages.

    Raises:
        InputError: --image_size is not the one that a keras: backbone was built for, or --labels are for a folder.
    """
    own = run.config
    inherited: dict[str, Any] = {}
    if config.dataset is None and config.labels is not None and not own.dataset.startswith("folder:"):
        raise InputError(
            f"--labels={config.labels} goes with folder:PATH, but --{flag}={run.path} was trained on "
            f"{own.dataset}; give another --{flag}, or --dataset=folder:PATH."
        )
    if config.dataset is None:
        inherited |= {"dataset": own.dataset, "labels": config.labels or own.labels}
        inherited["data_dir"] = config.data_dir or own.data_dir
    if config.model is None:
        inherited["model"] = run.architecture.name
    if config.image_size is None:
        # Not the architecture's, which its stem was made for: the run may have trained on images of another size.
        inherited["image_size"] = run.image_size
    config = dataclasses.replace(config, **inherited)
    if config.eval_fraction is None and place_of(config.dataset) == place_of(own.dataset):
        config = dataclasses.replace(config, eval_fraction=own.eval_fraction)
    check_image_size(config, run, flag)
    return config


def labels_of(ancestors: Sequence[AncestorEntry], dataset: str, contents: str | None = None) -> int:
    """Return the most labels of a dataset that any network among these runs was trained on.

    The labels of an online probe do not count.

    Args:
        ancestors: runs as result.json lists them.
        dataset: its name.
        contents: of the dataset, which identifies it in another place.
    """
    return max(
        (
            run.get("labels_used") or 0
            for run in ancestors
            if run.get("mode") in ("finetune", "supervised", "distill")
            and (
                place_of(run.get("dataset")) == place_of(dataset)
                or (contents is not None and run.get("contents") == contents)
            )
        ),
        default=0,
    )


def check_image_size(config: Any, run: OpenRun, flag: str) -> None:
    """Raise InputError if the network of a run does not take images of that size."""
    name, size = run.architecture.name, run.architecture.image_size
    if name.startswith("keras:") and config.image_size != size:
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
    """Raise InputError, with both counts, if labeled data has other classes than the classifier of a run.

    Args:
        run: OpenRun, or ExportedTeacher. flag: that gave it.
        config: of the stage. splits: of its data.
    """
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
    if kind not in ("folder", "npz"):
        return kind  # without the version of a TFDS name
    return str(dataset) if "://" in path else f"{kind}:{os.path.realpath(path)}"


def _first(names: Sequence[str] | None) -> str:
    return "names unknown" if not names else ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _kind(dataset: str) -> str:
    return dataset.partition(":")[0]
