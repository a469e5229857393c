"""One option: its type, its rules, and its rule for resuming."""

import dataclasses
from typing import Literal

import pytest

from simclr_keras.config.option import (
    Settings,
    again,
    check,
    differences,
    field_kind,
    may_change,
    nearest,
    option,
)
from simclr_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Example(Settings):
    name: str = option("x", "Name.", required="give a name, such as --name=x")
    count: int = option(3, "How many.", at_least=1, at_most=5, resume="up")
    open: float = option(0.5, "Share.", above=0, below=1)
    closed: float | None = option(None, "Share.", at_least=0, at_most=1)
    kind: str = option("momentum", "Which.", choices=("momentum", "adamw"), resume="free")
    layer: int | Literal["auto"] | None = option(None, "Layer.", at_least=0)
    loud: bool = option(False, "Whether.", resume="free")


VALID = [
    {"count": 1},
    {"count": 5},
    {"open": 0.001},
    {"closed": 0},  # a whole number for a float
    {"closed": 1.0},
    {"kind": "adamw"},
    {"layer": 0},
    {"layer": "auto"},
    {"layer": None},
    {"loud": True},
]
INVALID = [
    ({"name": ""}, "--name is missing: give a name, such as --name=x."),
    ({"name": 18}, "--name=18: give text."),
    ({"count": 0}, "--count=0 is out of range: it must be at least 1 and at most 5."),
    ({"count": "3"}, "--count='3': give a whole number, such as 10."),
    ({"count": 2.5}, "--count=2.5: give a whole number, such as 10."),
    ({"count": True}, "--count=True: give a whole number, such as 10."),
    ({"count": None}, "--count must have a value."),
    ({"open": 0}, "--open=0 is out of range: it must be above 0 and below 1."),
    ({"open": 1}, "--open=1 is out of range: it must be above 0 and below 1."),
    ({"open": float("nan")}, "--open=nan is out of range: it must be finite and above 0 and below 1."),
    ({"closed": 1.001}, "--closed=1.001 is out of range: it must be at least 0 and at most 1."),
    ({"kind": "momentun"}, "--kind=momentun is unknown: did you mean momentum?"),
    ({"kind": "zzz"}, "--kind=zzz is unknown: choose one of adamw, momentum."),
    ({"layer": -1}, "--layer=-1 is out of range: it must be at least 0."),
    ({"layer": "top"}, "--layer=top: give a whole number, such as 10 or auto."),
    ({"loud": 1}, "--loud=1: give true or false."),
]


def test_valid_values():
    for values in VALID:
        Example(**values).validate()


@pytest.mark.parametrize(("values", "message"), INVALID, ids=str)
def test_invalid_values(values, message):
    with pytest.raises(InputError) as error:
        Example(**values).validate()
    assert str(error.value) == message


def test_kind_of_annotations():
    kinds = {field.name: tuple(field_kind(field)) for field in dataclasses.fields(Example)}
    assert kinds["count"] == (int, (), False)
    assert kinds["closed"] == (float, (), True)
    assert kinds["layer"] == (int, ("auto",), True)


def test_again_changes_what_it_is_given():
    @dataclasses.dataclass(frozen=True)
    class Other(Settings):
        count: int = again(Example, "count", default=9, at_most=None, help="Others.")

    (field,) = dataclasses.fields(Other)
    check(field, field.default)
    assert (field.metadata["help"], field.metadata["at_least"], field.metadata["resume"]) == (
        "Others.",
        1,
        "up",
    )


def test_nearest_with_no_near_choice_lists_all():
    assert nearest("zzz", ["momentum", "a"]) == "choose one of a, momentum."


def test_differences_by_the_rule_for_resuming():
    old = dataclasses.asdict(Example())
    for changes, expected in (
        ({}, []),
        ({"open": 0.25}, [("open", 0.5, 0.25)]),
        ({"count": 4}, []),
        ({"count": 2}, [("count", 3, 2)]),
        ({"kind": "adamw", "loud": True}, []),
    ):
        assert differences(old, Example(**changes)) == expected
    del old["open"]  # a run older than the setting
    assert differences(old, Example(open=0.25)) == []
    assert may_change(Example(), kept=[]) == "--count upward, --kind, --loud"
    assert may_change(Example(), kept=["kind"]) == "--count upward, --loud"
