"""Checks of the values in a run's JSON files."""

import math
from collections.abc import Callable
from typing import Any


class RecordError(Exception):
    """A JSON file does not contain what a run writes: the reason, for the message of `RunFiles`."""


def check_list(values: dict[str, Any], name: str, kind: type) -> None:
    """Raise RecordError unless a value is None or a list of values of one type."""
    value = values.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(v, kind) for v in value)):
        raise RecordError(f"{name} is {value!r}")


def check_fields(values: dict[str, Any]) -> None:
    """Raise RecordError unless the values that are used by name are of their kind, or None."""
    for name, value in values.items():
        is_good = _KINDS.get(name) or (_is_share if name.endswith(("_top1", "_top5")) else None)
        if is_good and value is not None and not is_good(value):
            raise RecordError(f"{name} is {value!r}")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_integer(value: Any) -> bool:
    return type(value) is int


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_interval(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_share, value))


_IMAGES = ("training_images", "evaluation_images", "evaluation_images_seen", "epoch_images")
_COUNTS = (*_IMAGES, "parameters", "labels_used", "epochs", "step", "head_layer", "replicas", "hosts")
_NAMES = ("mode", "model", "dataset", "place", "checkpoint", "license")
_TEXTS = (*_NAMES, "protocol", "classifier", "problem", "distill_on", "published_in")
_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("top1", "top5", "balanced_accuracy", "best_balanced_accuracy"), _is_share),
    **dict.fromkeys(_COUNTS, _is_count),
    **dict.fromkeys(_TEXTS, _is_text),
    **dict.fromkeys(("temperature", "alpha", "eval_fraction"), _is_number),
    "seed": _is_integer,
    "top1_interval": _is_interval,
}
