"""Cases: pieces of work that several sides do, each side in a process of its own."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

# A function without arguments that does the work once and waits for it. It may return figures by name; "seconds" among
# them replace those of the clock.
Run = Callable[[], Mapping[str, float] | None]

OURS, PEER, BESIDE = "ours", "peer", "beside"


@dataclasses.dataclass(frozen=True)
class Side:
    """One way to do the work of a case.

    Attributes:
        prepare: function of a module, called with the settings in the process of the side; returns a Run.
        settings: its keyword arguments, which JSON can hold.
        role: OURS; PEER, which ours is compared with; or BESIDE, which is only printed.
        lightly: whether --lightly_python runs it, the Python that has PyTorch and lightly.
    """

    prepare: Callable[..., Run]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    role: str = PEER
    lightly: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    """One piece of work.

    Attributes:
        name: of the work.
        sides: by name; one of them is ours.
        units: of work in a round. unit: their name, such as "images".
        rounds: timed rounds; None for --rounds.
        warm_up: rounds before them, which trace.
        least_ratio: goal: how many times as fast as the best peer ours must be; None for no goal.
        most_seconds: goal: how long a round of ours may take; None for no goal.
        size: what grows from case to case of a series, such as the number of files; None if the case is in no series.
        series: name of the series.
    """

    name: str
    sides: Mapping[str, Side]
    units: float = 1
    unit: str = "calls"
    rounds: int | None = None
    warm_up: int = 2
    least_ratio: float | None = None
    most_seconds: float | None = None
    size: float | None = None
    series: str = ""
