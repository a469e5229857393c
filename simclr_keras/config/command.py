"""One command: its help, its settings and the function that executes them. Imports no TensorFlow."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

from simclr_keras.config import command_line
from simclr_keras.config.option import Settings


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of flags, and of words such as paths if it takes any.

    Attributes:
        name: in messages, unless the command was started by another name.
        introduction: the text above the flags in its help.
        settings: the config class of its flags.
        execute: called with the checked config, then the words if the command takes words.
        missing: the message if there are no words; None if the command takes only flags.
        check: called with the config before TensorFlow is imported, which takes seconds.
        tensorflow: whether TensorFlow is started before `execute`.
    """

    name: str
    introduction: str
    settings: type[Settings]
    execute: Callable[..., Any]
    missing: str | None = None
    check: Callable[[Any], None] = lambda config: None
    tensorflow: bool = True

    def main(self, argv: Sequence[str]) -> None:
        """Print the help, or execute the command. See `command_line.run` for its errors."""
        if command_line.wants_help(argv):
            print(command_line.help_text(self.introduction, self.settings))
            return
        words: list[list[str]] = []
        if self.missing is None:
            config = command_line.read(self.settings, argv)
        else:
            config, *words = command_line.read_with_words(self.settings, argv, self.missing)
        self.check(config)
        if self.tensorflow:
            from simclr_keras.backend import start_tensorflow_quietly  # help is quicker without

            start_tensorflow_quietly()
        self.execute(config, *words)

    def leave(self) -> None:
        """Run the command with the words of this process, and end the process."""
        command_line.leave(command_line.run(self.main, sys.argv, self.name))
