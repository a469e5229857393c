"""flags -> the stage's config -> the stage. Nothing else lives here."""

import dataclasses
import importlib
import sys

from absl import flags

from simclr_keras import command_line
from simclr_keras.backend import require_tensorflow, start_tensorflow_quietly
from simclr_keras.training import config as configs
from simclr_keras.training import recipes

INTRODUCTION = """\
Trains SimCLRv2 networks. The same command continues a run where it stopped.

  python train.py --mode=pretrain --recipe=digits_demo
  python train.py --mode=pretrain --recipe=cifar10_small --dataset=npz:data/cifar10.npz
  python train.py --mode=pretrain --dataset=folder:photos --model=r18_1x_sk0 --image_size=96 \\
      --batch_size=64 --epochs=100 --warmup_epochs=5 --optimizer=momentum --learning_rate=0.12 \\
      --learning_rate_scaling=linear --temperature=0.2

A recipe fills in the values; any flag given beside it wins. Defaults stand in [brackets].

Exit codes: 0 done; 1 training could not go on; 2 something in the command or the data is wrong;
130 stopped by Ctrl-C (SIGINT); 143 stopped by SIGTERM. The same command continues what was saved."""


def help_text():
    groups = {
        "Choose": [
            ("--mode", f"The stage. Choices: {', '.join(configs.MODES)}."),
            ("--recipe", f"Named settings. Choices: {', '.join(recipes.RECIPES)}."),
        ]
    }
    for cls in configs.MODES.values():
        for field in dataclasses.fields(cls):
            entry = command_line.describe_field(field, configs.field_type)
            entries = groups.setdefault(field.metadata["group"], [])
            if entry not in entries:
                entries.append(entry)
    return command_line.format_help(INTRODUCTION, groups)


def read_flags(argv):
    """Returns (mode, checked config of that stage)."""
    values = flags.FlagValues()
    flags.DEFINE_string("mode", None, "The stage.", flag_values=values)
    flags.DEFINE_string("recipe", None, "Named settings.", flag_values=values)
    fields = {field.name: field for cls in configs.MODES.values() for field in dataclasses.fields(cls)}
    command_line.define_field_flags(values, fields.values(), configs.field_type)
    command_line.parse(values, argv)
    configs.config_class(values.mode)
    given = {name: values[name].value for name in fields if values[name].value is not None}
    return values.mode, configs.make_config(values.mode, recipes.recipe(values.recipe, values.mode), given)


def main(argv):
    if command_line.wants_help(argv):
        print(help_text())
        return
    mode, config = read_flags(argv)
    require_tensorflow()
    start_tensorflow_quietly()
    stage = importlib.import_module(f"simclr_keras.training.{mode}")
    stage.run(config)


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "train.py"))
