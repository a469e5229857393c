"""The plan of a fit: which pieces fit into the minutes, and what is left out; made again after every piece."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence

from simclr_keras.fit.candidates.pieces import Piece
from simclr_keras.formatting import duration

FIRST = 3  # regressions that are tried in any case: on colors, and the cheapest on features of a network
SLACK = 1.25  # a planned piece is left out after all if the time would exceed the budget by more


@dataclasses.dataclass(frozen=True)
class Plan:
    """Pieces in their order, and those that are left out.

    Attributes:
        pieces: that are tried. left_out: that do not fit.
        seconds: of all pieces that are tried, spent or still to come.
    """

    pieces: list[Piece]
    left_out: list[Piece]
    seconds: float


def make_plan(
    pieces: Sequence[Piece], spent: dict[str, float], budget: float, planned: Collection[Piece] = ()
) -> Plan:
    """Return the plan: one piece after the other is taken if it still fits.

    The first regressions are tried in any case, and finished pieces are kept, whatever they took. A piece that only
    prepares others is taken if one of these fits too.

    Args:
        pieces: in the order of promise. spent: seconds of finished pieces by name. budget: seconds.
        planned: pieces of the plan before.
    """
    taken: list[Piece] = []
    total = 0.0

    def seconds(piece):
        return piece.seconds_after(spent[piece.name]) if piece.name in spent else piece.seconds

    for piece in pieces:
        needed = seconds(piece)
        if piece.judge is None:
            needed += min((seconds(other) for other in pieces if other.after == piece.name), default=0.0)
        is_ready = piece.after is None or any(other.name == piece.after for other in taken)
        is_first = piece.judge is not None and not piece.is_training and len(taken) < FIRST
        limit = budget * (SLACK if piece in planned else 1)
        if is_ready and (is_first or piece.name in spent or total + needed <= limit):
            taken.append(piece)
            total += seconds(piece)
    return Plan(taken, [piece for piece in pieces if piece not in taken], total)


def lines_of(plan: Plan, spent: dict[str, float]) -> Iterator[str]:
    """Yield the lines of a plan: every piece with its time."""
    width = max(len(piece.title) for piece in plan.pieces)
    for piece in plan.pieces:
        when = "done" if piece.name in spent else f"about {duration(piece.seconds)}"
        yield f"  {piece.title:<{width}}  {when}" + "  (baseline)" * piece.is_baseline
    for piece in plan.left_out:
        yield f"  not tried, it needs about {duration(piece.seconds)} more: {piece.title}"
