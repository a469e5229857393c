"""`simclr STAGE`, and train.py --mode=STAGE: flags -> the stage's config -> the stage. Nothing else lives here."""

import dataclasses
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence

from simclr_keras import packages
from simclr_keras.config import command_line, recipes, settings_file
from simclr_keras.config.base import StageConfig
from simclr_keras.config.modes import MODES, config_class, make_config, without_excluded
from simclr_keras.config.option import Settings, option
from simclr_keras.errors import InputError
from simclr_keras.interop.fetching.addresses import check_address

INTRODUCTION = """\
Trains SimCLRv2 networks. If a run was interrupted, rerun the same command to continue it.

  simclr pretrain --recipe=photos_pretrain --dataset=folder:photos --model_dir=runs/photos
  simclr finetune --recipe=photos_finetune --init=runs/photos --labels=labels.csv \\
      --model_dir=runs/classifier
  simclr distill --recipe=photos_distill --teacher=runs/classifier
  simclr finetune --help      # the flags of one stage

`python train.py --mode=pretrain` in a checkout is the same as `simclr pretrain`.

A recipe gives values to many flags. A file in --config overrides it, and a flag overrides both. The
file may be the config.json of a run. A stage that starts from an earlier run inherits the settings
of that run that you do not give.

`simclr fit` (--mode=fit) goes all this way for photos by itself: simclr fit --help.

Exit codes: 0 done; 1 training failed; 2 the command or the data is wrong; 130 stopped by Ctrl-C
(SIGINT); 143 stopped by SIGTERM."""


FIT = "fit"


@dataclasses.dataclass(frozen=True)
class Selection(Settings):
    """The two flags that select a stage's config."""

    mode: str | None = option(None, "The stage.")
    recipe: str | None = option(None, "Named settings.")


def help_text(mode: str | None = None) -> str:
    """Return the help of one stage, or of all stages."""
    stages = {mode: MODES[mode]} if mode else MODES
    names = [name for name, recipe in recipes.RECIPES.items() if recipe.mode in stages]
    first = {} if mode else {"mode": f"The stage. Choices: {', '.join(MODES)}."}
    if names:
        first["recipe"] = f"Named settings. Choices: {', '.join(names)}."
    return command_line.help_text(INTRODUCTION, stages, first)


def read_flags(argv: Sequence[str]) -> StageConfig:
    """Return the checked config of the stage that --mode names, on the command line or in --config."""
    fields = [field for cls in (Selection, *MODES.values()) for field in dataclasses.fields(cls)]
    mode = command_line.mentioned(argv, "mode", MODES)

    def read_file(path: str, names: Iterable[str]) -> dict[str, str]:
        texts = _read_file(path, names)
        if mode and texts.get("mode", mode) != mode:
            raise InputError(
                f"--config={path} is for {texts['mode']}, not for {mode}; give another file or stage."
            )
        return texts

    return command_line.read_texts(fields, argv, _make, read_file, without_excluded)


def _make(texts: Mapping[str, str]) -> StageConfig:
    settings = dict(texts)
    mode, recipe = settings.pop("mode", None), settings.pop("recipe", None)
    # The fields of that stage come last: if two stages share a name, its own field reads the flag.
    classes = [*MODES.values(), config_class(mode)]
    fields = [field for cls in classes for field in dataclasses.fields(cls)]
    return make_config(mode, recipes.recipe(recipe, mode), command_line.parse(fields, settings))


def _read_file(path: str, names: Iterable[str]) -> dict[str, str]:
    """Return the texts of the settings in a file of settings, or in the config.json of a run.

    Of a run, all settings are taken but the directory, so that a new run has the same settings.
    """
    if not path.endswith(".json"):
        return settings_file.read(path, names)
    from simclr_keras.runs.records import ConfigRecord, RecordError

    try:
        with open(path, encoding="utf-8") as file:
            record = ConfigRecord.from_json(json.load(file))
    except (OSError, ValueError, AttributeError, RecordError) as error:
        raise InputError(
            f"--config={path} is not the config.json of a run; give one, or a .yaml file."
        ) from error
    settings = {"mode": record.mode, **record.settings, "model_dir": None}
    for name in settings:
        settings_file.check_name(name, names, path)
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
        if value is not None
    }


def _without_mode(argv):
    """Return the words of a command line without --mode=fit, or --mode fit."""
    words = [word for word in argv if word.lstrip("-") != f"mode={FIT}"]
    for place, word in enumerate(words[:-1]):
        if word in ("-mode", "--mode"):
            return [*words[:place], *words[place + 2 :]]
    return words


def main(argv: Sequence[str]) -> None:
    """Print the help, or run a stage. See `command_line.run` for its errors."""
    if command_line.mentioned(argv, "mode", [FIT]):  # no stage: it runs several
        importlib.import_module("simclr_keras.commands.fit").COMMAND.main(_without_mode(argv))
        return
    if command_line.wants_help(argv):
        print(help_text(command_line.mentioned(argv, "mode", MODES)))
        return
    config = read_flags(argv)
    # The most common mistake is reported before TensorFlow is imported, which takes seconds.
    for flag in config.RUN_FLAGS:
        check_address(getattr(config, flag), flag, "an earlier stage")
    for module in packages.missing(packages.TRAINING):  # some are first used after hours
        raise InputError(packages.remedy(module))
    from simclr_keras.backend import start_tensorflow_quietly  # help is quicker without

    start_tensorflow_quietly(devices=False)  # the stage sets them
    importlib.import_module(config.MODULE).run(config)
