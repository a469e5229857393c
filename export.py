"""A run directory -> an export: SavedModel, .keras, LiteRT or ONNX. The flags are read here; export/ writes."""

import importlib
import sys
from collections.abc import Sequence

from simclr_keras.config import command_line
from simclr_keras.config.export import ExportConfig
from simclr_keras.interop.fetching.addresses import check_address

INTRODUCTION = """\
Exports a trained network, so that any program can use it and train it further.

  python export.py --run=runs/classifier --out=exports/classifier
  python export.py --run=runs/classifier --out=exports/phone --format=litert --int8 --endpoints=logits

The run may be of any stage that trains, and need not be finished. Each file is loaded and compared
with the network before it is published. exports/classifier/README.md then shows how to use it.

Exit codes: 0 done; 1 the export cannot be written, or differs from the network; 2 the command is
wrong."""


def main(argv: Sequence[str]) -> None:
    if command_line.wants_help(argv):
        print(command_line.help_text(INTRODUCTION, ExportConfig))
        return
    config = command_line.read(ExportConfig, argv)
    check_address(config.run, "run", "a training run")
    from simclr_keras.backend import start_tensorflow_quietly  # help is quicker without

    start_tensorflow_quietly()
    importlib.import_module("simclr_keras.export.from_run").run(config)


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "export.py"))
