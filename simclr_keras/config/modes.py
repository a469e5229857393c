"""The stages and their configs: one frozen dataclass each, over a common base; its field metadata makes the flags,
the refusals and the reference page. Imports neither TensorFlow nor Keras, so that --help answers at once."""

import dataclasses

from simclr_keras.config.classify import FinetuneConfig, LinearEvalConfig, SupervisedConfig
from simclr_keras.config.distill import DistillConfig
from simclr_keras.config.evaluate import EvalConfig, KnnConfig
from simclr_keras.config.option import nearest
from simclr_keras.config.pretrain import PretrainConfig
from simclr_keras.errors import InputError

# In the order in which they are used.
STAGES = (
    PretrainConfig,
    FinetuneConfig,
    DistillConfig,
    SupervisedConfig,
    LinearEvalConfig,
    KnnConfig,
    EvalConfig,
)
MODES = {config.NAME: config for config in STAGES}


def config_class(mode):
    """Returns the dataclass of a stage. Raises InputError for an unknown mode."""
    if mode is None:
        raise InputError(f"--mode is missing: give one of {', '.join(MODES)}.")
    if mode not in MODES:
        raise InputError(f"unknown --mode={mode}: {nearest(mode, MODES)}")
    return MODES[mode]


def make_config(mode, recipe_values, flag_values):
    """Builds and checks a stage's config: defaults, then the recipe, then what the user said.

    Args:
        mode: name of the stage.
        recipe_values: dict of field values from a recipe.
        flag_values: dict of the values given on the command line.
    """
    cls = config_class(mode)
    names = {other: {field.name for field in dataclasses.fields(MODES[other])} for other in MODES}
    for name in {**recipe_values, **flag_values}:
        if name in names[mode]:
            continue
        others = [f"--mode={other}" for other in MODES if name in names[other]]
        where = f"but to {', '.join(others)}; leave it out." if others else nearest(name, names[mode])
        raise InputError(f"--{name} does not belong to --mode={mode}{', ' if others else ': '}{where}")
    config = cls(**{**recipe_values, **flag_values})
    config.validate()
    return config


def config_of_run(held, path):
    """Returns the checked config that a run directory's config.json holds.

    Args:
        held: dict read from the file. path: of the file, for the message.

    Raises:
        InputError: one line naming the setting that is not what a run would have written.
    """
    try:
        cls = config_class(held.get("mode"))
        names = {field.name for field in dataclasses.fields(cls)}
        config = cls(**{name: value for name, value in held.items() if name in names})
        config.validate()
    except InputError as error:
        raise InputError(f"{path} is not the settings of a run: {error}") from error
    return config
