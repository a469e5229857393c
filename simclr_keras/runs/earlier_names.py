"""The names that earlier versions wrote into run directories, and what they are called today."""

import dataclasses
from typing import Any

from simclr_keras.config.modes import MODES
from simclr_keras.config.option import field_kind

RENAMED = {
    "linear_eval": "protocol",
    "train_after_block": "freeze_through",
    "steps_per_call": "steps_per_execution",
    "knn_bank": "knn_bank_size",
    "eval_every": "eval_every_epochs",
    "checkpoint_steps": "checkpoint_every_steps",
    "checkpoint_minutes": "checkpoint_every_minutes",
    "labelled_batch_size": "labeled_batch_size",
    "labelled": "labeled",  # of split.json
    "licence": "license",  # of result.json
}
# Settings that earlier versions did not have, and what they did.
ADDED = {"memory": "none", "ema_decay": 0.999, "memory_size": 65536}
ADDED |= {"use_ema": False, "microbatch_size": 0, "global_bn": True, "init": None}
ADDED |= {"freeze_batch_norm": False}
ADDED |= {"class_weights": "none", "best_metric": "top1", "eval_antialias": False}
_RESPELLED = {("distill_on", "labelled"): "labeled"}


def upgrade(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a JSON file with the names of today."""
    return {
        RENAMED.get(name, name): _RESPELLED.get((name, value), value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def upgrade_settings(mode: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a stage with the names and types of today, and those that were added since.

    Settings of an unknown stage are only renamed.
    """
    settings = upgrade(values)
    fields = {field.name: field for field in dataclasses.fields(MODES[mode])} if mode in MODES else {}
    layer = settings.get("head_layer")
    if "head_layer" in fields and (type(layer) is int or (isinstance(layer, str) and layer.isdecimal())):
        settings["head_layer"] = field_kind(fields["head_layer"]).type(layer)
    if "random_crop" in settings:
        crop = settings.pop("random_crop")
        settings.setdefault("augment", "crop,flip,color,blur" if crop else "flip,color,blur")
    return {name: value for name, value in ADDED.items() if name in fields} | settings
