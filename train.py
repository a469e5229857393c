"""flags -> the stage's config -> the stage. Nothing else lives here."""

import dataclasses
import importlib
import sys
from collections.abc import Sequence

from simclr_keras.config import command_line, recipes
from simclr_keras.config.base import StageConfig
from simclr_keras.config.modes import MODES, config_class, make_config
from simclr_keras.config.option import Settings, option
from simclr_keras.interop.fetching.addresses import check_address

INTRODUCTION = """\
Trains SimCLRv2 networks. If a run was interrupted, rerun the same command to continue it.

  python train.py --mode=pretrain --recipe=photos_pretrain --dataset=folder:photos \\
      --model_dir=runs/photos
  python train.py --mode=finetune --recipe=photos_finetune --init=runs/photos --labels=labels.csv \\
      --model_dir=runs/classifier
  python train.py --mode=distill --recipe=photos_distill --teacher=runs/classifier
  python train.py --mode=finetune --help      # the flags of one stage

A recipe gives values to many flags; a flag on the command line overrides the recipe. A stage that
starts from an earlier run inherits the settings of that run that you do not give.

Exit codes: 0 done; 1 training failed; 2 the command or the data is wrong; 130 stopped by Ctrl-C
(SIGINT); 143 stopped by SIGTERM."""


@dataclasses.dataclass(frozen=True)
class Selection(Settings):
    """The two flags that select a stage's config."""

    mode: str | None = option(None, "The stage.")
    recipe: str | None = option(None, "Named settings.")


def help_text(mode: str | None = None) -> str:
    """Return the help of one stage, or of all stages."""
    stages = {mode: MODES[mode]} if mode else MODES
    names = [name for name, recipe in recipes.RECIPES.items() if recipe.mode in stages]
    first = {"mode": f"The stage. Choices: {', '.join(MODES)}."}
    if names:
        first["recipe"] = f"Named settings. Choices: {', '.join(names)}."
    return command_line.help_text(INTRODUCTION, stages, first)


def read_flags(argv: Sequence[str]) -> StageConfig:
    """Return the checked config of the stage that --mode names."""
    mode = command_line.mentioned(argv, "mode", MODES)
    # The fields of that stage come last: if two stages share a name, its own field reads the flag.
    classes = [Selection, *MODES.values(), *([MODES[mode]] if mode else [])]
    fields = {field.name: field for cls in classes for field in dataclasses.fields(cls)}
    values = command_line.read_values(fields.values(), argv)
    mode, recipe = values.pop("mode", None), values.pop("recipe", None)
    config_class(mode)
    return make_config(mode, recipes.recipe(recipe, mode), values)


def main(argv: Sequence[str]) -> None:
    if command_line.wants_help(argv):
        print(help_text(command_line.mentioned(argv, "mode", MODES)))
        return
    config = read_flags(argv)
    # The most common mistake is reported before TensorFlow is imported, which takes seconds.
    for flag in config.RUN_FLAGS:
        check_address(getattr(config, flag), flag, "an earlier stage")
    from simclr_keras.backend import start_tensorflow_quietly  # help is quicker without

    start_tensorflow_quietly(devices=False)  # the stage sets them
    importlib.import_module(config.MODULE).run(config)


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "train.py"))
