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

The run may be of any stage that trains, finished or not. Each file is compared with the network before
the export is published; exports/classifier/README.md then shows how to use it.

Exit codes: 0 done; 1 the export cannot be written, or differs from the network; 2 a wrong command."""


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The flags of export.py."""

    run: str | None = option(None, "Run directory whose network is exported.", group="What")
    checkpoint: str = option(
        "last",
        "Which weights: the last, or the best on its evaluation split.",
        group="What",
        choices=("last", "best"),
    )
    endpoints: str | None = option(
        None,
        "Export only these endpoints, separated by commas: encoder, proj_head_0 .. and logits. Layers that none of "
        "them needs are removed. Default: all.",
        group="What",
    )
    out: str | None = option(None, "Folder to write.", group="Where and how")
    overwrite: bool = option(False, "Replace an existing export.", group="Where and how")
    format: str = option(
        "saved_model", f"One or more of {', '.join(FORMATS)}, separated by commas.", group="Where and how"
    )
    decode_images: bool = option(
        False,
        "The SavedModel also takes encoded JPEG and PNG files and does the evaluation preprocessing (signatures "
        "NAME_from_bytes).",
        group="Where and how",
    )
    int8: bool = option(
        False,
        "Also write a LiteRT model quantized to 8-bit integers.",
        group="Where and how",
    )
    int8_data: str | None = option(
        None,
        "Data whose images calibrate the int8 model: digits, folder:PATH, npz:PATH or a TFDS name. "
        "Default: the run's.",
        group="Where and how",
    )
    int8_images: int = option(
        200,
        "How many images calibrate the int8 model.",
        group="Where and how",
        unit="images",
        at_least=1,
        at_most=100_000,
    )
    data_dir: str | None = option(
        None, "Folder where TensorFlow Datasets stores prepared data.", group="Where and how"
    )
    license: str | None = option(
        None,
        "License to state on the card, such as Apache-2.0. Default: that of an imported run.",
        group="Where and how",
    )

    def validate(self) -> None:
        """Raise InputError if a flag is missing or wrong."""
        for field in dataclasses.fields(self):
            check(field, getattr(self, field.name))
        for name, meaning in (("run", "the --model_dir of a training run"), ("out", "a folder to write")):
            if not getattr(self, name):
                raise InputError(f"--{name} is missing: give {meaning}.")
        for name in self.formats:
            if name not in FORMATS:
                raise InputError(f"--format={name} is not known: {nearest(name, FORMATS)}")
        if self.int8 and "litert" not in self.formats:
            raise InputError("--int8 needs --format=litert.")
        if "://" in self.out and self.formats != ("saved_model",):
            raise InputError(
                f"--out={self.out}: only saved_model is written to remote folders; give a local folder."
            )
        if self.decode_images and "saved_model" not in self.formats:
            raise InputError("--decode_images needs --format=saved_model.")

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.format.split(",")))

    @property
    def signatures(self) -> tuple[str, ...] | None:
        return None if self.endpoints is None else tuple(dict.fromkeys(self.endpoints.split(",")))


def read_flags(argv: list[str]) -> ExportConfig:
    """Return the checked ExportConfig of the command line."""
    values, fields = flags.FlagValues(), dataclasses.fields(ExportConfig)
    command_line.define_field_flags(values, fields, field_type)
    command_line.parse(values, argv)
    flag_values = {field.name: values[field.name].value for field in fields}
    config = ExportConfig(**{name: value for name, value in flag_values.items() if value is not None})
    config.validate()
    return config


def help_text() -> str:
    groups = {}
    for field in dataclasses.fields(ExportConfig):
        entry = command_line.describe_fields([("export", field)], field_type, 1)
        groups.setdefault(field.metadata["group"], []).append(entry)
    return command_line.format_help(INTRODUCTION, groups)


def main(argv: list[str]) -> None:
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
