"""The flags of a command that has only a few: said once, for its help and for reading them; outputs looked at first."""

import os
from typing import NamedTuple

from absl import flags

from simclr_keras.config import command_line
from simclr_keras.errors import InputError


class Flag(NamedTuple):
    """One flag.

    Attributes:
        help: one sentence or two. kind: str, int or bool. default: value where it is not given.
        required: whether it must be given. choices: the values it may have. least: the smallest number.
    """

    help: str
    kind: type = str
    default: object = None
    required: bool = False
    choices: tuple = ()
    least: int = 1

    def described(self):
        text = self.help
        if self.choices:
            text += f" Choices: {', '.join(self.choices)}."
        return text if self.default in (None, False, "") else f"{text} [{self.default}]"


def help_text(introduction, groups):
    """The text of --help.

    Args:
        introduction: what comes first. groups: dict of heading to dict of name to Flag.
    """
    shown = {
        heading: [(f"--{name}", flag.described()) for name, flag in group.items()]
        for heading, group in groups.items()
    }
    return command_line.format_help(introduction, shown)


def read(argv, groups, words=None):
    """Reads a command line.

    Args:
        argv: list of words, the first of which is the program.
        groups: dict of heading to dict of name to Flag.
        words: what words that are no flags are, for the message when there are none ("no image is given: ..."); None
            where there may be none.

    Returns:
        (dict of name to value, list of the words that are no flags)

    Raises:
        InputError: one line.
    """
    known = {name: flag for group in groups.values() for name, flag in group.items()}
    values = flags.FlagValues()
    for name, flag in known.items():
        if flag.kind is bool:
            flags.DEFINE_boolean(name, flag.default, flag.help, flag_values=values)
        elif flag.kind is int:
            flags.DEFINE_integer(name, flag.default, flag.help, flag_values=values)
        else:
            flags.DEFINE_string(name, flag.default, flag.help, flag_values=values)
    # A flag is written --name=value as everywhere, so that every other word is one of the others.
    given = argv[1:] if words is None else [word for word in argv[1:] if word.startswith("-")]
    rest = [] if words is None else [word for word in argv[1:] if not word.startswith("-")]
    command_line.parse(values, [argv[0], *given])
    found = {name: values[name].value for name in known}
    for name, flag in known.items():
        _check(name, flag, found[name])
    if words is not None and not rest:
        raise InputError(words)
    return found, rest


def _check(name, flag, value):
    if value in (None, ""):
        if flag.required:
            raise InputError(f"--{name} is missing: {flag.help[0].lower()}{flag.help[1:]}")
    elif flag.choices and value not in flag.choices:
        raise InputError(f"--{name}={value} must be one of {', '.join(flag.choices)}.")
    elif flag.kind is int and value < flag.least:
        raise InputError(f"--{name}={value} must be at least {flag.least}.")


def check_file(path, endings, overwrite, flag="out"):
    """Looks, before any work, whether a file can be written.

    Args:
        path: of it. endings: those it may have. overwrite: whether it may be there. flag: name of the one that gave it.

    Raises:
        InputError: one line.
    """
    if not path.lower().endswith(endings):
        raise InputError(f"--{flag}={path} must end in {' or '.join(endings)}.")
    if "://" in path:
        raise InputError(
            f"--{flag}={path} is not on this machine; give a local file, and copy it afterwards."
        )
    check_parent(path, flag)
    if os.path.isdir(path):
        raise InputError(f"--{flag}={path} is a folder; give a file.")
    if os.path.exists(path) and not overwrite:
        raise InputError(f"--{flag}={path} exists; give another name, or --overwrite to replace it.")


def check_parent(path, flag="out"):
    """Raises InputError unless the folder that something is to be written in is there and may be written to."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise InputError(f"--{flag}={path}: there is no folder {folder}; make it, or give another.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"--{flag}={path}: the folder {folder} may not be written to; give another.")
