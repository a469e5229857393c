"""The stages by name, and their configs made from flags, a recipe or a config.json. Imports no TensorFlow."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from simclr_keras.config.base import StageConfig
from simclr_keras.config.classify import FinetuneConfig, LinearEvalConfig, SupervisedConfig
from simclr_keras.config.distill import DistillConfig
from simclr_keras.config.evaluate import EvalConfig, KnnConfig
from simclr_keras.config.option import nearest
from simclr_keras.config.pretrain import PretrainConfig
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import is_backbone

# In the order of their use.
STAGES: tuple[type[StageConfig], ...] = (
    PretrainConfig,
    FinetuneConfig,
    DistillConfig,
    SupervisedConfig,
    LinearEvalConfig,
    KnnConfig,
    EvalConfig,
)
MODES = {config.NAME: config for config in STAGES}
LEAST_COVERED = 0.1  # of the image by a crop, as min_covered of CropConfig
# Settings that other networks do not have.
OF_BACKBONES = {"backbone_weights", "dense_layers", "freeze_backbone"}


def config_class(mode: str | None) -> type[StageConfig]:
    """Return the config class of a stage. Raises InputError for an unknown mode."""
    if mode is None:
        raise InputError(f"--mode is missing: give one of {', '.join(MODES)}.")
    if mode not in MODES:
        raise InputError(f"--mode={mode} is unknown: {nearest(mode, MODES)}")
    return MODES[mode]


def make_config(
    mode: str | None, recipe_values: Mapping[str, Any], flag_values: Mapping[str, Any]
) -> StageConfig:
    """Return the checked config of a stage: defaults, overridden by the recipe, overridden by the flags."""
    cls = config_class(mode)
    values = {**without_excluded(recipe_values, flag_values), **flag_values}
    names = {other: {field.name for field in dataclasses.fields(MODES[other])} for other in MODES}
    for name in values.keys() - names[cls.NAME]:
        others = [other for other in MODES if name in names[other]]
        if others:
            raise InputError(f"--{name} does not belong to {mode}, but to {', '.join(others)}; leave it out.")
        raise InputError(f"--{name} does not belong to {mode}: {nearest(name, names[cls.NAME])}")
    config = cls(**values)
    config.validate()
    largest_crop = vars(config).get("crop_max_area", 1)
    if largest_crop <= LEAST_COVERED:  # not in validate: there are such runs
        raise InputError(
            f"--crop_max_area={largest_crop}: crops below a tenth of the image are drawn again, as in the "
            "release; give more than 0.1, such as 0.2."
        )
    return config


def without_excluded(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe or file without those that cannot stand beside a flag; or their texts."""
    names = {name for name, value in flags.items() if str(value).lower() != "false"}
    excluded = {pair[1 - i] for pair in StageConfig.EXCLUSIVE for i in (0, 1) if pair[i] in names}
    if "model" in names and not is_backbone(flags["model"]):
        excluded |= OF_BACKBONES
    return {name: value for name, value in values.items() if name not in excluded or name in flags}


def config_of_run(values: Mapping[str, Any], path: str) -> StageConfig:
    """Return the checked config in the content of a config.json; keys that are no settings are ignored.

    An InputError names the path of the file and the invalid setting.
    """
    try:
        cls = config_class(values.get("mode"))
        for name in cls.OF_INIT:
            if name in values and values[name] is None:
                raise InputError(f"--{name} must have a value.")
        names = {field.name for field in dataclasses.fields(cls)}
        config = cls(**{name: value for name, value in values.items() if name in names})
        config.validate()
    except InputError as error:
        raise InputError(f"{path} is not the config of a run: {error}") from error
    return config
