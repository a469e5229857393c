"""One setting: a dataclass field with its help, type, range and rule for resuming, and the check of its value.

Imports neither TensorFlow nor Keras, so that --help answers at once.
"""

import dataclasses
import difflib
import math
import operator
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from simclr_keras.errors import InputError
from simclr_keras.files import expand_home

KINDS = {
    int: "a whole number, such as 10",
    float: "a number, such as 0.5 or 1e-4",
    bool: "true or false",
    str: "text",
}
_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def option(
    default: Any,
    help: str,
    *,
    group: str = "Flags",
    choices: Iterable[str] | None = None,
    unit: str | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    required: str | None = None,
    default_words: str | None = None,
    resume: str = "fixed",
) -> Any:
    """Return a dataclass field with all that its flag, its check and its documentation need.

    Args:
        default: value if neither recipe nor flag gives one.
        help: one or two sentences.
        group: heading in --help.
        choices: the allowed values of a text.
        unit: what the number counts.
        at_least, above, at_most, below: inclusive and exclusive bounds of a number.
        required: what to do if the value is missing, for the message; None if it may be missing.
        default_words: the default in words, if the value alone does not explain itself.
        resume: "fixed" (a run directory keeps the value), "free" (it may change when the run is resumed, as it does not
            influence the results) or "up" (it may only grow; the run directory records the earlier values).
    """
    metadata = {
        "help": help,
        "group": group,
        "choices": tuple(choices) if choices else None,
        "unit": unit,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "required": required,
        "default_words": default_words,
        "resume": resume,
    }
    return dataclasses.field(default=default, metadata=metadata)


def again(cls: type, name: str, **changes: Any) -> Any:
    """Return the option `name` of another dataclass with some arguments of `option` changed."""
    field = cls.__dataclass_fields__[name]  # type: ignore[attr-defined]
    return option(**{"default": field.default, **field.metadata, **changes})


class Kind(NamedTuple):
    """The type of a field: a plain type, words allowed beside it (int | Literal["auto"]), and whether None is."""

    type: type
    words: tuple[str, ...]
    optional: bool

    @property
    def description(self) -> str:
        return " or ".join([KINDS[self.type], *self.words])

    def parse(self, name: str, text: str) -> Any:
        """Return the value that the text of the flag `name` stands for. Raises InputError if it stands for none."""
        if text in self.words:
            return text
        try:
            return _BOOLEANS[text.lower()] if self.type is bool else self.type(text)
        except (KeyError, ValueError) as error:
            raise InputError(f"--{name}={text}: give {self.description}.") from error

    def fits(self, value: Any) -> bool:
        if value in self.words:
            return True
        # A bool is an int to Python, but --epochs=True is a mistake.
        types = (int, float) if self.type is float else self.type
        return isinstance(value, types) and isinstance(value, bool) == (self.type is bool)


def field_kind(field: dataclasses.Field) -> Kind:
    """Return the Kind of a field from its annotation, such as `int | Literal["auto"] | None`."""
    parts = typing.get_args(field.type) or (field.type,)
    words = [word for part in parts for word in typing.get_args(part)]
    (plain,) = (part for part in parts if part is not type(None) and not typing.get_args(part))
    return Kind(plain, tuple(words), type(None) in parts)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The base of every config: a frozen dataclass whose fields are options. "~" in a path is the home folder."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                object.__setattr__(self, field.name, expand_home(value))

    def validate(self) -> None:
        """Check every field against its option. Raises InputError: one line that names the flag."""
        for field in dataclasses.fields(self):
            check(field, getattr(self, field.name))


class Difference(NamedTuple):
    """A setting that must not change as it did when a run is resumed."""

    name: str
    old: Any
    new: Any


def differences(old: Mapping[str, Any], new: Settings) -> list[Difference]:
    """Return the changes that keep a run with settings `old` from being resumed with `new`."""
    changes = []
    for field in dataclasses.fields(new):
        rule, value = field.metadata["resume"], getattr(new, field.name)
        if rule == "free" or field.name not in old or old[field.name] == value:
            continue
        if rule == "up" and value > old[field.name]:
            continue
        changes.append(Difference(field.name, old[field.name], value))
    return changes


def may_change(config: Settings, kept: Collection[str]) -> str:
    """Return the flags that may change when a run is resumed, for a message; not those in `kept`."""
    rules = {field.name: field.metadata["resume"] for field in dataclasses.fields(config)}
    up = [f"--{name} upward" for name, rule in rules.items() if rule == "up"]
    free = [f"--{name}" for name, rule in rules.items() if rule == "free" and name not in kept]
    return ", ".join(up + free)


def nearest(word: object, choices: Iterable[str]) -> str:
    """Return the choice that was probably meant, or all of them, as the end of a message."""
    close = difflib.get_close_matches(str(word), list(choices), n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(sorted(choices))}."


def check(field: dataclasses.Field, value: Any) -> None:
    """Raise InputError, naming the flag, unless a value keeps the rules of its field."""
    rules, flag, kind = field.metadata, f"--{field.name}", field_kind(field)
    if rules["required"] and value in (None, ""):
        raise InputError(f"{flag} is missing: {rules['required']}.")
    if value is None:
        if not kind.optional:
            raise InputError(f"{flag} must have a value.")
        return
    if not kind.fits(value):
        shown = value if kind.words else repr(value)
        raise InputError(f"{flag}={shown}: give {kind.description}.")
    if rules["choices"] and value not in rules["choices"]:
        raise InputError(f"{flag}={value} is unknown: {nearest(value, rules['choices'])}")
    if isinstance(value, (int, float)):
        _check_bounds(flag, value, rules)


_BOUNDS: dict[str, Callable[[float, float], bool]] = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


def _check_bounds(flag: str, value: float, rules: Mapping[str, Any]) -> None:
    bounds = {name: rules[name] for name in _BOUNDS if rules[name] is not None}
    finite = math.isfinite(value)
    if finite and all(_BOUNDS[name](value, bound) for name, bound in bounds.items()):
        return
    limits = [f"{name.replace('_', ' ')} {bound}" for name, bound in bounds.items()]
    limits = limits if finite else ["finite", *limits]
    raise InputError(f"{flag}={value} is out of range: it must be {' and '.join(limits)}.")
