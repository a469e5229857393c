"""One host of a run: goes through stages with tiny networks, in a process of its own.

Usage: host_program.py FILE, where FILE is JSON: a list of [mode, settings of `configure` or `make_config`].
"""

import functools
import importlib
import json
import pathlib
import sys

import pytest

from simclr_keras.backend import start_tensorflow_quietly
from simclr_keras.config import command_line


def main(argv):
    start_tensorflow_quietly(devices=False)
    from tests.training.tiny import configure, make_config, make_tiny

    make_tiny(pytest.MonkeyPatch())
    for mode, settings in json.loads(pathlib.Path(argv[1]).read_text()):
        config = make_config(**settings) if mode == "pretrain" else configure(mode, **settings)
        importlib.import_module(config.MODULE).run(config, say=functools.partial(print, flush=True))


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "host_program.py"))
