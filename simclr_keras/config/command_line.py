"""The one flag system of all commands: a config class -> flags, help and one-line errors."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from simclr_keras import packages
from simclr_keras.config import settings_file
from simclr_keras.config.option import Settings, field_kind
from simclr_keras.errors import InputError, Stopped, TrainingError
from simclr_keras.files import expand_home

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130
WIDTH, INDENT = 100, 30
FILE_FLAGS = {
    "config": "File of settings, a line NAME: VALUE each, as --save_config writes it. A flag overrides it.",
    "save_config": "Write the settings to a new file for --config, and do nothing else.",
}
HELP_FLAGS = ("--help", "-h", "-help", "--helpfull", "--helpshort")

Config = TypeVar("Config", bound=Settings)


class Saved(Exception):  # noqa: N818  it is no error
    """End the command, as it was only to write its settings to a file: the message says where."""


def read(cls: type[Config], argv: Sequence[str]) -> Config:
    """Return the checked config of a command line, the program and its flags, and of its --config.

    Raises:
        InputError: a flag is unknown, unreadable, out of range or missing. Saved: --save_config was written.
    """

    def make(texts: Mapping[str, str]) -> Config:
        config = cls(**parse(dataclasses.fields(cls), texts))
        config.validate()
        return config

    return read_texts(dataclasses.fields(cls), argv, make)


def read_with_words(cls: type[Config], argv: Sequence[str], missing: str) -> tuple[Config, list[str]]:
    """Return the checked config and the words that are no flags, such as paths.

    Without words, the message is `missing`. A flag must be written --name=value, because every other word is a path.
    """
    words = [word for word in argv[1:] if not word.startswith("-")]
    config = read(cls, [argv[0], *(word for word in argv[1:] if word.startswith("-"))])
    if not words:
        raise InputError(missing)
    return config, [expand_home(word) for word in words]


def read_texts(
    fields: Iterable[dataclasses.Field],
    argv: Sequence[str],
    make: Callable[[Mapping[str, str]], Config],
    read_file: Callable[[str, Iterable[str]], dict[str, str]] = settings_file.read,
    beside: Callable[[dict[str, str], dict[str, str]], dict[str, str]] = lambda texts, flags: texts,
) -> Config:
    """Return make(texts) of the flags on a command line, and of the file in its --config, which flags override.

    Errors are those of `read`.

    Args:
        fields: whose names are flags.
        make: returns the checked config of texts by flag; those of no flag and no file are missing.
        read_file: returns the texts of a file by name; called with its path and the names of the flags.
        beside: returns those of them that can stand beside the texts of flags.
    """
    booleans = {field.name: field_kind(field).type is bool for field in fields}
    texts = _texts(booleans | dict.fromkeys(FILE_FLAGS, False), argv)
    path, out = (texts.pop(flag, None) for flag in FILE_FLAGS)
    if path is not None:
        texts = {**beside(read_file(expand_home(path), booleans), texts), **texts}
    config = make(texts)
    if out is not None:
        settings_file.write(expand_home(out), argv[0], texts, config)
        raise Saved(f"settings {out}, read by --config={out}")
    return config


def parse(fields: Iterable[dataclasses.Field], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the texts of flags by name. Raises InputError for a text that stands for none."""
    kinds = {field.name: field_kind(field) for field in fields}
    return {name: kinds[name].parse(name, text) for name, text in texts.items()}


def _texts(booleans: Mapping[str, bool], argv: Sequence[str]) -> dict[str, str]:
    """Return the texts of the flags on a command line by name, without those that are not on it."""
    from absl import flags  # not at the top: --help does without it

    values = flags.FlagValues()
    for name, boolean in booleans.items():  # a boolean has a form --noNAME
        values[name] = flags.Flag(flags.ArgumentParser(), None, name, None, "", boolean=boolean)
    for word, following in itertools.pairwise([*argv[1:], "--"]):
        name = word.lstrip("-")
        if word.startswith("-") and following.startswith("--") and booleans.get(name) is False:
            raise InputError(f"--{name} has no value: write --{name}=value.")
    try:
        rest = values(argv)
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(values), n=1)
        hint = f"did you mean --{close[0]}?" if close else "--help lists all flags."
        raise InputError(f"unknown flag --{error.flagname}: {hint}") from error
    except flags.Error as error:
        raise InputError(f"{str(error).removeprefix('ERROR:: ')}: write --name=value.") from error
    if len(rest) > 1:
        raise InputError(f"unexpected word {rest[1]!r}: every setting is a flag, --name=value.")
    texts: dict[str, str | None] = {name: values[name].value for name in booleans}
    return {name: text for name, text in texts.items() if text is not None}


def wants_help(argv: Sequence[str]) -> bool:
    return any(word in HELP_FLAGS for word in argv[1:])


def mentioned(argv: Sequence[str], flag: str, choices: Iterable[str]) -> str | None:
    """Return the value of a flag if it is one of `choices`, else None; used for help, which must not fail."""
    for word, following in zip(argv[1:], [*argv[2:], ""]):
        name, _, value = word.lstrip("-").partition("=")
        if name == flag and (value or following) in choices:
            return value or following
    return None


def help_text(
    introduction: str,
    configs: type[Settings] | Mapping[str, type[Settings]],
    first: Mapping[str, str] | None = None,
) -> str:
    """Return the text of --help, its flags grouped by heading.

    Args:
        introduction: printed first, as it is.
        configs: a config class, or those of several stages by name.
        first: flags by name with their help, listed under "Choose".
    """
    stages = configs if isinstance(configs, Mapping) else {"": configs}
    groups: dict[str, list[tuple[str, str]]] = {}
    if first:
        groups["Choose"] = [(f"--{name}", text) for name, text in first.items()]
    for name, fields in fields_by_name(stages).items():
        field = next(iter(fields.values()))
        flag = f"--[no]{name}" if field_kind(field).type is bool else f"--{name}"
        groups.setdefault(field.metadata["group"], []).append((flag, describe(fields, len(stages))))
    groups["Settings file"] = [(f"--{name}", text) for name, text in FILE_FLAGS.items()]
    lines = [introduction.rstrip(), ""]
    for heading, entries in groups.items():
        lines.append(f"{heading}:")
        for flag, text in entries:
            first_line, *others = textwrap.wrap(text, WIDTH - INDENT)
            fits = len(flag) + 4 <= INDENT
            lines += (
                [f"  {flag:<{INDENT - 3}} {first_line}"] if fits else [f"  {flag}", " " * INDENT + first_line]
            )
            lines += [" " * INDENT + line for line in others]
        lines.append("")
    return "\n".join(lines)


def fields_by_name(stages: Mapping[str, type[Settings]]) -> dict[str, dict[str, dataclasses.Field]]:
    """Return, for every field name, the fields of that name by stage."""
    named: dict[str, dict[str, dataclasses.Field]] = {}
    for stage, cls in stages.items():
        for field in dataclasses.fields(cls):
            named.setdefault(field.name, {})[stage] = field
    return named


def describe(fields: Mapping[str, dataclasses.Field], num_stages: int = 1) -> str:
    """Return the help of a flag: its sentences, choices, stages and defaults.

    Args:
        fields: the fields of one name by stage. num_stages: how many stages the help is about.
    """
    field = next(iter(fields.values()))
    stages_of: dict[str, list[str]] = {}
    for stage, other in fields.items():
        stages_of.setdefault(other.metadata["help"], []).append(stage)
    text = field.metadata["help"]
    if len(stages_of) > 1:
        text = " ".join(f"{', '.join(stages)}: {help}" for help, stages in stages_of.items())
    if all(other.metadata["required"] for other in fields.values()):
        text += " Required."
    if field.metadata["choices"]:
        text += f" Choices: {', '.join(field.metadata['choices'])}."
    if len(fields) < num_stages:
        text += f" Stages: {', '.join(fields)}."
    defaults = {stage: _shown_default(other) for stage, other in fields.items()}
    unit = field.metadata["unit"]
    if len(set(defaults.values())) > 1:
        listed = "; ".join(f"{stage} {default or 'none'}" for stage, default in defaults.items())
        return f"{text} Default{f' in {unit}' if unit else ''}: {listed}."
    (default,) = set(defaults.values())
    if not default:
        return text
    return f"{text} Default: {default}{f' {unit}' if unit and not field.metadata['default_words'] else ''}."


def _shown_default(field: dataclasses.Field) -> str:
    if field.metadata["default_words"]:
        return field.metadata["default_words"]
    if field.default in (None, ""):
        return ""
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str], program: str) -> int:
    """Run main(argv) and return the exit code; an expected error becomes one line on stderr, after `program`."""
    message: object
    os.environ["MPLBACKEND"] = "agg"  # pictures are files: a window or a notebook of the user does not matter
    # Else a class name would end a run in a terminal without UTF-8.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return main(argv) or EXIT_OK
    except Saved as saved:
        print(saved)
        return EXIT_OK
    except InputError as error:
        code, message = EXIT_BAD_INPUT, f"error: {error}"
    except TrainingError as error:
        code, message = EXIT_FAILED, f"error: {error}"
    except Stopped as stop:
        code, message = stop.code, stop
    except ModuleNotFoundError as error:
        if error.name not in packages.PACKAGES:
            raise
        code, message = EXIT_BAD_INPUT, f"error: {packages.remedy(error.name)}"
    except BrokenPipeError:  # the reader of the output, such as head, has stopped
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  until the process ends
        return EXIT_OK
    except KeyboardInterrupt:  # before a stage listens for signals
        code, message = EXIT_INTERRUPTED, "interrupted; rerun the same command to continue."
    print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def leave(code: int) -> None:
    """End the process with this exit code, without the shutdown of the interpreter.

    The shutdown waits for TensorFlow's threads: up to 40 seconds if a run is stopped between its batches. All files are
    written by then.
    """
    with contextlib.suppress(BrokenPipeError):  # the reader of the output, such as head, has stopped
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
