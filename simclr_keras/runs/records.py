"""Records of config.json, split.json and result.json, with their checks. (model.json's is in `architecture`.)"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypedDict

from simclr_keras.config.modes import config_of_run
from simclr_keras.runs.earlier_names import upgrade, upgrade_settings


class RecordError(Exception):
    """A JSON file does not contain what a run writes: the reason, for the message of `RunFiles`."""


class AncestorEntry(TypedDict, total=False):
    """An earlier run, as the result.json and config.json of the runs after it list it."""

    run: str
    mode: str
    model: str
    parameters: int
    dataset: str
    place: str  # `ancestors.place_of` the dataset when the run began; runs of earlier versions have none
    eval_fraction: float
    labels_used: int
    head_layer: int
    step: int
    epochs: int
    seed: int
    top1: float
    checkpoint: str
    ema: bool  # the momentum network was taken
    exported: bool  # known from the card of an export alone
    exported_from: str | None
    weights: str


# Fields of a result.json that describe the run to the runs after it.
INHERITED: tuple[str, ...] = ("mode", "model", "parameters", "dataset", "eval_fraction", "labels_used")
INHERITED += ("head_layer", "step", "epochs", "seed", "top1")


@dataclasses.dataclass(frozen=True)
class ConfigRecord:
    """The content of config.json.

    Attributes:
        mode: name of the stage.
        settings: the fields of its config.
        ancestors: the earlier runs it started from, oldest first; None if the file does not list them.
        place: `ancestors.place_of` the dataset when the run began.
        class_names: in the order of the logits, if the run has a classifier.
        extended_from: the numbers of epochs that the run was first started for.
        replicas: number of replicas, if the results depend on it.
        hosts: the number of hosts, if the batches depend on it; None if not.
    """

    mode: str
    settings: dict[str, Any]
    ancestors: list[AncestorEntry] | None = None
    place: str | None = None
    class_names: list[str] | None = None
    extended_from: list[int] = dataclasses.field(default_factory=list)
    replicas: int | None = None
    hosts: int | None = None

    def config(self, path: str) -> Any:
        """Return the checked config of the stage.

        Raises:
            InputError: a setting has a value that the stage refuses; names it and `path`.
        """
        return config_of_run({"mode": self.mode, **self.settings}, path)

    def to_json(self) -> dict[str, Any]:
        """Return the dict that config.json holds."""
        values = dataclasses.asdict(self)
        return {"mode": values.pop("mode"), **values.pop("settings"), **_without_none(values)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ConfigRecord":
        """Return the record. Raises RecordError if a value is of the wrong kind."""
        mode = values.get("mode")
        if not isinstance(mode, str):
            raise RecordError("it names no mode")
        settings = upgrade_settings(mode, {name: v for name, v in values.items() if name not in _BESIDE})
        fields = {name: value for name, value in settings.items() if name != "head_layer"}
        _check_fields({**fields, "replicas": values.get("replicas"), "hosts": values.get("hosts")})
        _check_list(values, "ancestors", dict)
        _check_list(values, "class_names", str)
        _check_list(values, "extended_from", int)
        return cls(
            mode=mode,
            settings=settings,
            ancestors=values.get("ancestors"),
            place=values.get("place"),
            class_names=values.get("class_names"),
            extended_from=values.get("extended_from") or [],
            replicas=values.get("replicas"),
            hosts=values.get("hosts"),
        )


@dataclasses.dataclass(frozen=True)
class SplitRecord:
    """The content of split.json: the images of a run.

    Attributes:
        class_names: of the data, None if it has no labels.
        training_images, evaluation_images: their numbers.
        fingerprint, evaluation_fingerprint: digests of their content and labels.
        epoch_images: images of an epoch when the run began, None if it has no epochs.
        held_out: ids of the held-out images of a run with --group_by, or from before images were held out by content,
            or of a run that started from such a run; None if they are held out by content.
        labeled: ids of the training images whose label is visible, if labels were chosen, here or by an ancestor.
        has_own_evaluation: whether the data brought its evaluation images; None in runs of earlier versions.
    """

    class_names: list[str] | None = None
    training_images: int | None = None
    evaluation_images: int | None = None
    fingerprint: str | None = None
    evaluation_fingerprint: str | None = None
    epoch_images: int | None = None
    held_out: list[str] | None = None
    labeled: list[str] | None = None
    has_own_evaluation: bool | None = None

    def ids(self) -> dict[str, Any]:
        """Return the recorded ids as arguments of `split_dataset`."""
        return _without_none({"held_out": self.held_out, "labeled": self.labeled})

    def to_json(self) -> dict[str, Any]:
        """Return the dict that split.json holds."""
        return _without_none(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SplitRecord":
        """Return the record. Raises RecordError if a value is of the wrong kind."""
        values = upgrade(values)
        _check_fields(values)
        for name in ("class_names", "held_out", "labeled"):
            _check_list(values, name, str)
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in _without_none(values).items() if name in names})


@dataclasses.dataclass(frozen=True)
class ResultRecord:
    """The content of result.json.

    Attributes:
        warnings: sentences on why the figures may not mean what they seem to.
        ancestors: the earlier runs it started from, oldest first.
        figures: all other values of result.json, by name.
    """

    mode: str | None = None
    finished: bool = False
    imported: bool = False
    model: str | None = None
    parameters: int | None = None
    dataset: str | None = None
    eval_fraction: float | None = None
    labels_used: int | None = None
    head_layer: int | None = None
    step: int | None = None
    epochs: int | None = None
    seed: int | None = None
    top1: float | None = None
    top5: float | None = None
    top1_interval: list[float] | None = None
    evaluation_images: int | None = None
    protocol: str | None = None
    classifier: str | None = None
    published_top1: float | None = None
    published_in: str | None = None
    license: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    ancestors: list[AncestorEntry] = dataclasses.field(default_factory=list)
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)

    def get(self, name: str) -> Any:
        """Return a value by its name in result.json, None if it is missing."""
        return self.figures.get(name) if name not in _RESULT_FIELDS else getattr(self, name)

    def has_ended(self, config: Any) -> bool:
        """Return whether the run has reached all epochs of its config, or its --train_steps."""
        if not self.finished or not config.trains:
            return self.finished
        return bool(self.epochs == config.epochs) or 0 < (config.train_steps or 0) <= (self.get("step") or 0)

    def inherited(self) -> dict[str, Any]:
        """Return what the runs after this one note of it."""
        return _without_none({name: getattr(self, name) for name in INHERITED})

    def to_json(self) -> dict[str, Any]:
        """Return the dict that result.json holds."""
        values = {name: getattr(self, name) for name in _RESULT_FIELDS}
        values |= {"imported": self.imported or None, "warnings": self.warnings or None}
        return _without_none({**values, **self.figures})

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ResultRecord":
        """Return the record. Raises RecordError if a value is of the wrong kind."""
        values = _without_none(upgrade(values))
        _check_fields(values)
        _check_list(values, "ancestors", dict)
        _check_list(values, "warnings", str)
        for entry in values.get("ancestors", []):
            _check_entry(entry)
        own = {name: values.pop(name) for name in _RESULT_FIELDS if name in values}
        own |= {name: own.get(name) is True for name in ("finished", "imported")}
        return cls(**own, figures=values)


_RESULT_FIELDS = tuple(field.name for field in dataclasses.fields(ResultRecord) if field.name != "figures")
# The entries of config.json beside the settings; "labels_chosen" and "imported" were written by earlier versions.
_BESIDE = {"mode", "ancestors", "place", "labels_chosen", "class_names", "extended_from", "imported"}
_BESIDE |= {"replicas", "hosts"}


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


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _check_entry(entry: dict[str, Any]) -> None:
    for name in ("run", "dataset", "mode"):
        if not isinstance(entry.get(name), str):
            raise RecordError(f"{name} of an ancestor is {entry.get(name)!r}")
    _check_fields(entry)


def _check_list(values: dict[str, Any], name: str, kind: type) -> None:
    """Raise RecordError unless a value is None or a list of values of one type."""
    value = values.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(v, kind) for v in value)):
        raise RecordError(f"{name} is {value!r}")


def _check_fields(values: dict[str, Any]) -> None:
    """Raise RecordError unless the values that are used by name are of their kind, or None."""
    for name, value in values.items():
        is_good = _KINDS.get(name) or (_is_share if name.endswith(("_top1", "_top5")) else None)
        if is_good and value is not None and not is_good(value):
            raise RecordError(f"{name} is {value!r}")
