"""`python train.py --mode=STAGE` in a checkout: the same as the installed command `simclr STAGE`."""

import sys

from simclr_keras.commands.train import help_text, main, read_flags
from simclr_keras.config import command_line

__all__ = ["help_text", "main", "read_flags"]

if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "train.py"))
