"""`python export.py` in a checkout: the same as the installed command `simclr export`."""

import sys

from simclr_keras.commands.export import COMMAND
from simclr_keras.config import command_line

main = COMMAND.main

if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "export.py"))
