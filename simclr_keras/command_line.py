"""Leaf: what train.py, export.py and the tools share: flags from a config, grouped help, one-line errors."""

import sys
import textwrap

from absl import flags

from simclr_keras.errors import InputError, TrainingError

EXIT_OK, EXIT_STOPPED, EXIT_BAD_INPUT = 0, 1, 2
WIDTH = 100


def define_field_flags(flag_values, fields, field_type):
    """Defines one absl flag per dataclass field, all defaulting to None so that "not given" can be seen.

    Args:
        flag_values: an absl FlagValues to define them in.
        fields: dataclass fields with the metadata of `training.config.option`.
        field_type: function of a field to (type, optional).
    """
    makers = {
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_boolean,
        str: flags.DEFINE_string,
    }
    for field in fields:
        kind, _ = field_type(field)
        makers[kind](field.name, None, field.metadata["help"], flag_values=flag_values)


def parse(flag_values, argv):
    """Parses argv. Raises InputError, in one line, for unknown flags, unreadable values or stray words."""
    try:
        rest = flag_values(argv)
    except flags.Error as error:
        raise InputError(" ".join(str(error).split())) from error
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


def describe_field(field, field_type):
    """Returns (flag, description) of a config field for the help text."""
    rules = field.metadata
    kind, optional = field_type(field)
    flag = f"--[no]{field.name}" if kind is bool else f"--{field.name}"
    text = rules["help"]
    if rules["choices"]:
        text += f" Choices: {', '.join(rules['choices'])}."
    if not (optional and field.default is None):
        unit = f" {rules['unit']}" if rules["unit"] else ""
        default = str(field.default).lower() if kind is bool else field.default
        text += f" [{default}{unit}]"
    return flag, text


def run(main, argv, program):
    """Runs main(argv) and returns the exit code; bad input and stopped training become one line on stderr."""
    try:
        return main(argv) or EXIT_OK
    except InputError as error:
        code, message = EXIT_BAD_INPUT, error
    except TrainingError as error:
        code, message = EXIT_STOPPED, error
    print(f"{program}: error: {' '.join(str(message).split())}", file=sys.stderr)
    return code
