"""What train.py, export.py and the tools share: flags from a config, grouped help, one-line errors."""

import difflib
import os
import sys
import textwrap

from absl import flags

from simclr_keras.config.option import KINDS
from simclr_keras.errors import InputError, Stopped, TrainingError

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130
WIDTH = 100


def define_field_flags(flag_values, fields, field_type):
    """Defines one absl flag per dataclass field, all defaulting to None so that "not given" can be seen.

    Args:
        flag_values: an absl FlagValues to define them in.
        fields: dataclass fields with the metadata of `training.options.option`.
        field_type: function of a field to (type, optional).
    """
    for field in fields:
        kind, _ = field_type(field)
        if kind is bool:
            flag = flags.BooleanFlag(field.name, None, field.metadata["help"])
            flag.parser = _BooleanParser()
        else:
            flag = flags.Flag(_Parser(kind), None, field.name, None, field.metadata["help"])
        flag_values[field.name] = flag


class _Parser(flags.ArgumentParser):
    """Reads a value, and says what would be right where absl would show Python's own message."""

    def __init__(self, kind):
        self._kind = kind

    def parse(self, argument):
        try:
            return self._kind(argument)
        except ValueError as error:
            raise ValueError(f"give {KINDS[self._kind]}") from error


class _BooleanParser(flags.BooleanParser):
    def parse(self, argument):
        try:
            return super().parse(argument)
        except ValueError as error:
            raise ValueError(f"give {KINDS[bool]}") from error


def parse(flag_values, argv):
    """Parses argv. Raises InputError, in one line, for unknown flags, unreadable values or stray words."""
    try:
        rest = flag_values(argv)
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(flag_values), n=1)
        hint = f"did you mean --{close[0]}?" if close else "--help lists all flags."
        raise InputError(f"unknown flag --{error.flagname}: {hint}") from error
    except flags.IllegalFlagValueError as error:
        raise InputError(str(error)) from error
    except flags.Error as error:
        raise InputError(f"{str(error).removeprefix('ERROR:: ')}: write --name=value.") from error
    if len(rest) > 1:
        raise InputError(f"unexpected word {rest[1]!r}: every setting is a flag, --name=value.")
    return flag_values


def wants_help(argv):
    return any(word in ("--help", "-h", "-help", "--helpfull", "--helpshort") for word in argv[1:])


def format_help(introduction, groups):
    """Lays out help text.

    Args:
        introduction: text printed first, as it is.
        groups: dict of heading to list of (flag, description).
    """
    lines = [introduction.rstrip(), ""]
    for heading, entries in groups.items():
        lines.append(f"{heading}:")
        for flag, description in entries:
            body = textwrap.wrap(description, WIDTH - 30)
            if len(flag) > 26:
                lines.append(f"  {flag}")
            else:
                lines.append(f"  {flag:<27} {body.pop(0)}")
            lines += [" " * 30 + line for line in body]
        lines.append("")
    return "\n".join(lines)


def mentioned(argv, flag, choices):
    """Returns the value that a flag is given in argv, where it is one of `choices`; for help that must not fail."""
    for word, following in zip(argv[1:], [*argv[2:], ""]):
        name, _, value = word.lstrip("-").partition("=")
        if name == flag and (value or following) in choices:
            return value or following
    return None


def describe_fields(of_modes, field_type, all_modes):
    """Returns (flag, description) of a config field for the help text, where it may have several defaults.

    Args:
        of_modes: [(mode, field)] of the modes that have it.
        field_type: function of a field to (type, optional).
        all_modes: how many modes the help is about.
    """
    field = of_modes[0][1]
    rules = field.metadata
    kind, _ = field_type(field)
    flag = f"--[no]{field.name}" if kind is bool else f"--{field.name}"
    text = rules["help"]
    if rules["choices"]:
        text += f" Choices: {', '.join(rules['choices'])}."
    defaults = {}
    for mode, other in of_modes:
        defaults.setdefault(_shown_default(other, field_type), []).append(mode)
    if len(defaults) == 1:
        text += "".join(f" [{default}]" for default in defaults if default)
        if len(of_modes) < all_modes:
            text += f" ({', '.join(mode for mode, _ in of_modes)})"
    else:
        told = (f"{', '.join(modes)}: {default or 'see there'}" for default, modes in defaults.items())
        text += f" [{'; '.join(told)}]"
    return flag, text


def _shown_default(field, field_type):
    kind, optional = field_type(field)
    if optional and field.default is None:
        return ""
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    return f"{str(field.default).lower() if kind is bool else field.default}{unit}"


def check_there(flag, path, stage):
    """Raises InputError where the run directory that a flag names does not exist; remote ones are left to others.

    Args:
        flag: name. path: its value, or None. stage: what left it, for the message.
    """
    if path and "://" not in path and not os.path.exists(path):
        raise InputError(
            f"--{flag}={path} is not a run directory (no such directory); give the --model_dir of {stage}."
        )


def run(main, argv, program):
    """Runs main(argv) and returns the exit code; what the user should know of a stop becomes one line on stderr."""
    try:
        return main(argv) or EXIT_OK
    except InputError as error:
        code, message = EXIT_BAD_INPUT, f"error: {error}"
    except TrainingError as error:
        code, message = EXIT_FAILED, f"error: {error}"
    except Stopped as stop:
        code, message = stop.code, stop
    except KeyboardInterrupt:  # before a stage has begun to listen
        code, message = EXIT_INTERRUPTED, "interrupted; the same command continues."
    print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def leave(code):
    """Ends the process with this exit code, past the end of the interpreter.

    There TensorFlow's threads are waited for, which took up to 40 seconds when a run was stopped in the midst of its
    batches; whatever is to last has been written by then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
