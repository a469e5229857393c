"""A config field that makes its own flag, refusal and line of documentation: `option`, and what reads it.

Imports neither TensorFlow nor Keras, so that --help answers at once.
"""

import dataclasses
import difflib
import math
import typing

from simclr_keras.errors import InputError

KINDS = {
    int: "a whole number, such as 10",
    float: "a number, such as 0.5 or 1e-4",
    bool: "true or false",
    str: "text",
}


def option(
    default,
    help,
    *,
    group,
    choices=None,
    unit=None,
    at_least=None,
    above=None,
    at_most=None,
    below=None,
    resume="fixed",
):
    """A dataclass field that carries everything a flag, a check and a line of documentation need.

    Args:
        default: value when neither recipe nor flag gives one.
        help: one sentence.
        group: heading in --help.
        choices: the allowed values.
        unit: what the number counts.
        at_least, above, at_most, below: inclusive and exclusive bounds of a number.
        resume: "fixed" (a run directory keeps it for life), "free" (may change on resume: it does not touch the
            figures) or "up" (may only grow; the run directory writes down from what).
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
        "resume": resume,
    }
    return dataclasses.field(default=default, metadata=metadata)


def field_type(field):
    """Returns (type, optional): the plain type of a field and whether it may be None."""
    arguments = [a for a in typing.get_args(field.type) if a is not type(None)]
    return (arguments[0], True) if arguments else (field.type, False)


def differences(old, new):
    """Lists what keeps a run directory made with `old` (a dict) from being continued with `new` (a config).

    Returns:
        list of (field name, old value, new value, rule) where rule is "fixed" or "up".
    """
    found = []
    for field in dataclasses.fields(new):
        rule = field.metadata["resume"]
        value = getattr(new, field.name)
        if rule == "free" or field.name not in old or old[field.name] == value:
            continue
        if rule == "up" and value > old[field.name]:
            continue
        found.append((field.name, old[field.name], value, rule))
    return found


def may_change(config):
    """Names the flags of a config's fields that may differ when a run is continued, for a message."""
    rules = {field.name: field.metadata["resume"] for field in dataclasses.fields(config)}
    up = [f"--{name} upward" for name, rule in rules.items() if rule == "up"]
    # Another model_dir would be another run.
    free = [f"--{name}" for name, rule in rules.items() if rule == "free" and name != "model_dir"]
    return ", ".join(up + free)


def nearest(word, choices):
    """Says which of `choices` was probably meant, or lists them all."""
    close = difflib.get_close_matches(str(word), list(choices), n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(sorted(choices))}."


def check(field, value):
    """Raises InputError, naming the flag, unless a field's value keeps the rules of its `option`."""
    rules, flag = field.metadata, f"--{field.name}"
    kind, optional = field_type(field)
    if value is None:
        if not optional:
            raise InputError(f"{flag} must have a value.")
        return
    # A bool is an int to Python, but --epochs=True is a slip.
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool) == isinstance(
        value, bool
    )
    if not fits:
        raise InputError(f"{flag}={value!r}: give {KINDS[kind]}.")
    if rules["choices"] and value not in rules["choices"]:
        raise InputError(f"{flag}={value} is not known: {nearest(value, rules['choices'])}")
    if kind not in (int, float):
        return
    bounds = (
        ("at_least", lambda a, b: a >= b, "at least"),
        ("above", lambda a, b: a > b, "above"),
        ("at_most", lambda a, b: a <= b, "at most"),
        ("below", lambda a, b: a < b, "below"),
    )
    wanted = [f"{words} {rules[key]}" for key, _, words in bounds if rules[key] is not None]
    held = all(test(value, rules[key]) for key, test, _ in bounds if rules[key] is not None)
    if not math.isfinite(value):
        held, wanted = False, ["finite", *wanted]
    if not held:
        raise InputError(f"{flag}={value} is out of range: it must be {' and '.join(wanted)}.")
