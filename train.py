"""flags -> the stage's config -> the stage. Nothing else lives here."""

import dataclasses
import importlib
import sys

from absl import flags

from simclr_keras.backend import require_tensorflow, start_tensorflow_quietly
from simclr_keras.config import command_line, recipes
from simclr_keras.config import modes as configs
from simclr_keras.config.option import field_type

INTRODUCTION = """\
Trains SimCLRv2 networks. The same command continues a run where it stopped.

  python train.py --mode=pretrain --recipe=photos_pretrain --dataset=folder:photos \\
      --model_dir=runs/photos
  python train.py --mode=finetune --recipe=photos_finetune --init=runs/photos --labels=labels.csv \\
      --model_dir=runs/classifier
  python train.py --mode=distill --recipe=photos_distill --teacher=runs/classifier
  python train.py --mode=finetune --help      # the flags of one stage

A recipe fills in the values; any flag given beside it wins. Defaults stand in [brackets]; a stage
that starts from an earlier run takes from it what is left open.

Exit codes: 0 done; 1 training could not go on; 2 something in the command or the data is wrong;
130 stopped by Ctrl-C (SIGINT); 143 stopped by SIGTERM. The same command continues what was saved."""


def help_text(mode=None):
    """The help of one stage, or of all of them together."""
    of_mode = [name for name, (stage, _) in recipes.RECIPES.items() if mode in (None, stage)]
    groups = {"Choose": [("--mode", f"The stage. Choices: {', '.join(configs.MODES)}.")]}
    if of_mode:
        groups["Choose"].append(("--recipe", f"Named settings. Choices: {', '.join(of_mode)}."))
    modes = [mode] if mode else list(configs.MODES)
    fields = {}
    for name in modes:
        for field in dataclasses.fields(configs.MODES[name]):
            fields.setdefault(field.name, []).append((name, field))
    for of_modes in fields.values():
        entry = command_line.describe_fields(of_modes, field_type, len(modes))
        groups.setdefault(of_modes[0][1].metadata["group"], []).append(entry)
    return command_line.format_help(INTRODUCTION, groups)


def read_flags(argv):
    """Returns the checked config of the stage that is asked for."""
    values = flags.FlagValues()
    flags.DEFINE_string("mode", None, "The stage.", flag_values=values)
    flags.DEFINE_string("recipe", None, "Named settings.", flag_values=values)
    mode = command_line.mentioned(argv, "mode", configs.MODES)
    # That stage's own fields last: where two stages have a flag of one name, it is read as this one wants it.
    stages = [*configs.MODES.values(), *([configs.MODES[mode]] if mode else [])]
    fields = {field.name: field for cls in stages for field in dataclasses.fields(cls)}
    command_line.define_field_flags(values, fields.values(), field_type)
    command_line.parse(values, argv)
    configs.config_class(values.mode)
    given = {name: values[name].value for name in fields if values[name].value is not None}
    return configs.make_config(values.mode, recipes.recipe(values.recipe, values.mode), given)


def main(argv):
    if command_line.wants_help(argv):
        print(help_text(command_line.mentioned(argv, "mode", configs.MODES)))
        return
    config = read_flags(argv)
    # The commonest slip, told before the seconds that TensorFlow takes to start.
    for flag in ("init", "teacher"):
        command_line.check_there(flag, getattr(config, flag, None), "an earlier stage")
    require_tensorflow()
    start_tensorflow_quietly()
    importlib.import_module(config.MODULE).run(config)


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "train.py"))
