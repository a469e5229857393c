"""`simclr export`, and export.py: a run directory -> SavedModel, .keras, LiteRT or ONNX; export/ writes."""

import importlib

from simclr_keras.config.command import Command
from simclr_keras.config.export import ExportConfig
from simclr_keras.interop.fetching.addresses import check_address

INTRODUCTION = """\
Exports a trained network, so that any program can use it and train it further.

  simclr export --run=runs/classifier --out=exports/classifier
  simclr export --run=runs/classifier --out=exports/phone --format=litert --int8 --endpoints=logits

The run may be of any stage that trains, and need not be finished. Each file is loaded and compared
with the network before it is published. exports/classifier/README.md then shows how to use it.
`python export.py` in a checkout is the same command.

Exit codes: 0 done; 1 the export cannot be written, or differs from the network; 2 the command is
wrong."""


def _export(config: ExportConfig) -> None:
    importlib.import_module("simclr_keras.export.from_run").run(config)


COMMAND = Command(
    "export",
    INTRODUCTION,
    ExportConfig,
    _export,
    check=lambda config: check_address(config.run, "run", "a training run"),
)
