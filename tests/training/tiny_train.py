"""train.py with networks of two layers, for tests that need a process: python -m tests.training.tiny_train FLAGS."""

import sys

import pytest

from simclr_keras.backend import start_tensorflow_quietly
from simclr_keras.config import command_line


def main(argv):
    start_tensorflow_quietly(devices=False)
    import train
    from tests.training.tiny import make_tiny

    make_tiny(pytest.MonkeyPatch())
    return train.main(argv)


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "train.py"))
