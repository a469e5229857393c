"""The sides of a case take turns, so that a moment in which the machine is slow slows all of them."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping

from benchmarks.side_by_side.cases import OURS, PEER, Case, Side
from benchmarks.side_by_side.own_process import LeftOutError


@dataclasses.dataclass(frozen=True)
class Measured:
    """A case and the rounds of its sides.

    Attributes:
        comparison: name of the comparison. case: the Case.
        rounds: by side, dicts of seconds, processor_seconds, memory in bytes, and figures of the side.
    """

    comparison: str
    case: Case
    rounds: Mapping[str, list[dict[str, float]]]

    @property
    def ours(self) -> str | None:
        """Return the name of our side, or None if it was left out."""
        return next((name for name in self.rounds if self.case.sides[name].role == OURS), None)

    @property
    def best_peer(self) -> str | None:
        """Return the name of the fastest peer, or None without peers."""
        peers = [name for name in self.rounds if self.case.sides[name].role == PEER]
        return min(peers, key=self.median, default=None)

    def seconds(self, side: str) -> list[float]:
        """Return the seconds of the rounds of a side."""
        return [figures["seconds"] for figures in self.rounds[side]]

    def median(self, side: str) -> float:
        """Return the median seconds of a round of a side."""
        return statistics.median(self.seconds(side))

    def memory(self, side: str) -> float:
        """Return the peak memory of a side in bytes, less its size before the first round."""
        return max(figures["memory"] for figures in self.rounds[side])

    def ratios(self) -> list[float] | None:
        """Return how many times as fast as its best peer ours was in each round; None without both."""
        if self.ours is None or self.best_peer is None:
            return None
        return [peer / ours for ours, peer in zip(self.seconds(self.ours), self.seconds(self.best_peer))]


def take_turns(
    comparison: str, case: Case, rounds: int, start: Callable[[Side], object], say: Callable[[str], object]
) -> Measured:
    """Return the measured case.

    Args:
        comparison: its name.
        case: Case.
        rounds: timed ones, after those that warm up.
        start: returns a prepared side with `round` and `close`, or raises LeftOutError.
        say: prints a line about a side that is left out.
    """
    running, measured = {}, {}
    for name, side in case.sides.items():
        try:
            running[name] = start(side)
            measured[name] = []
        except LeftOutError as error:
            say(f"{comparison}: {name} is left out: {error}")
    for number in range(case.warm_up + rounds):
        for name, process in list(running.items()):
            try:
                figures = process.round()
            except LeftOutError as error:
                say(f"{comparison}: {name} is left out: {error}")
                del running[name], measured[name]
                continue
            if number >= case.warm_up:
                measured[name].append(figures)
    for process in running.values():
        process.close()
    return Measured(comparison, case, measured)
