"""A run directory -> an export: SavedModel, .keras, LiteRT or ONNX. Flags are read here; export/ writes."""

import dataclasses
import importlib
import sys

from absl import flags

from simclr_keras.backend import require_tensorflow, start_tensorflow_quietly
from simclr_keras.config import command_line
from simclr_keras.config.option import check, field_type, nearest, option
from simclr_keras.errors import InputError
from simclr_keras.export.formats.names import FORMATS

INTRODUCTION = """\
Writes a trained network so that any program can use it, and train it further.

  python export.py --run=runs/classifier --out=exports/classifier
  python export.py --run=runs/classifier --out=exports/phone --format=litert --int8 --endpoints=logits

The run may be of any stage that trains, and need not have ended. What is written is loaded back and
held against the network first; exports/classifier/README.md then shows how it is used.

Exit codes: 0 done; 1 it cannot be written, or differs from the network; 2 something in the command
is wrong."""


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The flags of export.py."""

    run: str | None = option(None, "Run directory whose network is exported.", group="What")
    checkpoint: str = option(
        "last",
        "Which of its weights: the last, or those that did best on its evaluation split.",
        group="What",
        choices=("last", "best"),
    )
    endpoints: str | None = option(
        None,
        "Only these, with commas, out of encoder, proj_head_0 .. and logits; layers that none of them needs are left "
        "out. Default: all.",
        group="What",
    )
    out: str | None = option(None, "Folder to write.", group="Where and how")
    overwrite: bool = option(False, "Replace an export that is there.", group="Where and how")
    format: str = option(
        "saved_model", f"One or more of {', '.join(FORMATS)}, with commas.", group="Where and how"
    )
    decode_images: bool = option(
        False,
        "The SavedModel also takes encoded JPEG and PNG files, and does the evaluation preprocessing itself "
        "(signatures NAME_from_bytes).",
        group="Where and how",
    )
    int8: bool = option(
        False,
        "Beside the float LiteRT model also write one in whole numbers of 8 bits.",
        group="Where and how",
    )
    int8_data: str | None = option(
        None,
        "Data whose images show the int8 model what values occur: digits, folder:PATH, npz:PATH or a TFDS name. "
        "Default: that of the run.",
        group="Where and how",
    )
    int8_images: int = option(
        200, "How many of them.", group="Where and how", unit="images", at_least=1, at_most=100_000
    )
    data_dir: str | None = option(
        None, "Where TensorFlow Datasets keeps prepared data.", group="Where and how"
    )
    license: str | None = option(
        None,
        "What its card says of the license, such as Apache-2.0. Default: what an imported run says.",
        group="Where and how",
    )

    def validate(self):
        """Raises InputError where a flag is missing or wrong; costs nothing."""
        for field in dataclasses.fields(self):
            check(field, getattr(self, field.name))
        for name, meant in (("run", "the --model_dir of a training run"), ("out", "a folder to write")):
            if not getattr(self, name):
                raise InputError(f"--{name} is missing: give {meant}.")
        for name in self.formats:
            if name not in FORMATS:
                raise InputError(f"--format={name} is not known: {nearest(name, FORMATS)}")
        if self.int8 and "litert" not in self.formats:
            raise InputError("--int8 goes with --format=litert.")
        if "://" in self.out and self.formats != ("saved_model",):
            raise InputError(
                f"--out={self.out}: only saved_model is written to remote places; give a local folder."
            )
        if self.decode_images and "saved_model" not in self.formats:
            raise InputError("--decode_images goes with --format=saved_model.")

    @property
    def formats(self):
        return tuple(dict.fromkeys(self.format.split(",")))

    @property
    def signatures(self):
        return None if self.endpoints is None else tuple(dict.fromkeys(self.endpoints.split(",")))


def read_flags(argv):
    """Returns the checked ExportConfig of the command line."""
    values, fields = flags.FlagValues(), dataclasses.fields(ExportConfig)
    command_line.define_field_flags(values, fields, field_type)
    command_line.parse(values, argv)
    given = {field.name: values[field.name].value for field in fields if values[field.name].value is not None}
    config = ExportConfig(**given)
    config.validate()
    return config


def help_text():
    groups = {}
    for field in dataclasses.fields(ExportConfig):
        entry = command_line.describe_fields([("export", field)], field_type, 1)
        groups.setdefault(field.metadata["group"], []).append(entry)
    return command_line.format_help(INTRODUCTION, groups)


def main(argv):
    if command_line.wants_help(argv):
        print(help_text())
        return
    config = read_flags(argv)
    command_line.check_there("run", config.run, "a training run")
    require_tensorflow()
    start_tensorflow_quietly()
    importlib.import_module("simclr_keras.export.from_run").run(config)


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "export.py"))
