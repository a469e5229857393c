"""Files of settings: lines NAME: VALUE with comments, which are YAML. A value is written as after a flag."""

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Mapping

from simclr_keras.config.option import Settings
from simclr_keras.config.output_paths import check_file
from simclr_keras.errors import InputError, one_line
from simclr_keras.files import write_file

_LINE = re.compile(
    r"""(?P<name>\w+)\s*:(?:\s+(?P<value>"[^"]*"|'(?:[^']|'')*'|(?!["'])(?:[^\s#]|(?<=\S)\#|\s+(?![\s#]))*))?\s*(?:\#.*)?"""
)
_NO_VALUE = ("", "null", "~")


def read(path: str, names: Iterable[str]) -> dict[str, str]:
    """Return the texts of the settings in a file by name; settings without a value are left out.

    Raises:
        InputError: the file is unreadable, or a line is not NAME: VALUE, repeated, or of none of these names.
    """
    texts: dict[str, str] = {}
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.lstrip().startswith("#") or line.rstrip() == "---":
            continue
        match = _LINE.fullmatch(line.rstrip())
        if not match:
            raise InputError(
                f"--config={path}, line {number}: {one_line(line, 60)!r} is not NAME: VALUE; write a setting on each "
                "line without indentation, such as epochs: 100."
            )
        name, value = match["name"], match["value"] or ""
        check_name(name, names, path)
        if name in seen:
            raise InputError(
                f"--config={path}, line {number}: {name} appears twice; delete one of the lines."
            )
        seen.add(name)
        if value not in _NO_VALUE:
            texts[name] = _unquoted(value)
    return texts


def check_name(name: str, names: Iterable[str], path: str) -> None:
    """Raise InputError, with the closest name, if a setting of a file is unknown."""
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else "--help lists all settings."
        raise InputError(f"--config={path}: {name} is unknown: {hint}")


def write(path: str, program: str, texts: Mapping[str, str], config: Settings) -> None:
    """Write the texts of the flags on a command line to a new file; other settings are comments.

    Raises:
        InputError: the file exists, or its name or folder is wrong. TrainingError: it cannot be written.
    """
    # A stage reads a .json as the config.json of a run.
    check_file(path, (".yaml", ".yml"), overwrite=True, flag="save_config")
    if os.path.exists(path):
        raise InputError(f"--save_config={path} exists; give another name, or delete it.")
    lines = [f"# {program} --config={path}", *(f"{name}: {_quoted(text)}" for name, text in texts.items())]
    lines += ["", "# The values of all other settings:"]
    for field in dataclasses.fields(config):
        if field.name not in texts:
            value = getattr(config, field.name)
            text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            lines.append(f"# {field.name}: {text}".rstrip())
    write_file(path, "\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    """Return a value as the file needs it: quoted if it would be read differently."""
    match = _LINE.fullmatch(f"name: {text}")
    if match and match["value"] == text and text not in _NO_VALUE and text[0] not in "\"'":
        return text
    return "'" + text.replace("'", "''") + "'"


def _unquoted(value: str) -> str:
    if value[0] == "'":
        return value[1:-1].replace("''", "'")
    return value[1:-1] if value[0] == '"' else value


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(f"--config={path} is unreadable ({reason}); give a file of settings.") from error
