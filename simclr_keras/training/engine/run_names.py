"""Names made from a config: the default run directory, and one spelling for every path."""

import os
import re

from simclr_keras.data.sources.load_dataset import PATH_KINDS


def default_model_dir(mode: str, config, other_dataset: bool = False) -> str:
    """Return runs/MODE-DATASET-MODEL[-ema][-LABELS], so that the same command finds its run again.

    Stages that evaluate a run are named after it, with `other_dataset` also after the data that they evaluate on. If a
    layer of the head is chosen, it is in the name too.
    """
    layer = f"-layer{config.head_layer}" if config.head_layer or mode == "finetune" else ""
    layer += "-ema" if config.use_ema else ""
    if mode in ("eval", "knn", "linear_eval"):
        fast = "-fast" if mode == "linear_eval" and not config.trains else ""
        run = os.path.basename(config.init.rstrip("/"))
        data = f"-{_data_name(config.dataset)}" if other_dataset else ""
        return f"runs/{mode}{fast}-{run}{data}{layer}{_labels_file(config)}{_labels_suffix(config)}"
    model = re.sub("[:/]+", "-", config.model)
    return f"runs/{mode}-{_data_name(config.dataset)}-{model}{layer}{_labels_suffix(config)}"


def _data_name(dataset) -> str:
    """Return the last part of a --dataset, as a part of a file name."""
    data = dataset.rstrip("/").split("/")[-1] if ":" in dataset else dataset
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in data.removesuffix(".npz"))


def _labels_file(config) -> str:
    """Return the name of the --labels file, so that every set of labels has its own evaluation; or ""."""
    name = os.path.basename(config.labels or "").removesuffix(".csv")
    return f"-{name}" if name and not name.startswith("labels") else ""


def _labels_suffix(config) -> str:
    """Return which labels are used: "-1pct", "-5perclass", or ""."""
    if config.label_fraction is not None:
        return f"-{100 * config.label_fraction:g}pct"
    return "" if config.labels_per_class is None else f"-{config.labels_per_class}perclass"


def normal_dataset(dataset: str) -> str:
    """Return a --dataset with its local path in one spelling."""
    kind, _, path = dataset.partition(":")
    return f"{kind}:{normal_path(path)}" if kind in PATH_KINDS and path else dataset


def normal_path(path: str) -> str:
    """Return a local path without "./", ".." or a slash at its end; other addresses unchanged."""
    return path if "://" in path else os.path.normpath(path)
