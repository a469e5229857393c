"""The plan of a fit: which pieces fit into the minutes, and what is left out."""

import dataclasses
from collections.abc import Iterator, Sequence

from simclr_keras.fit.candidates.pieces import Piece
from simclr_keras.formatting import duration


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


def make_plan(pieces: Sequence[Piece], spent: dict[str, float], budget: float) -> Plan:
    """Return the plan: one piece after the other is taken if it still fits.

    The first two, a baseline and the cheapest candidate, are tried in any case.

    Args:
        pieces: in the order of promise. spent: seconds of finished pieces by name. budget: seconds.
    """
    taken: list[Piece] = []
    left_out: list[Piece] = []
    total = 0.0
    for piece in pieces:
        seconds = spent.get(piece.name, piece.seconds)
        ready = piece.after is None or any(other.name == piece.after for other in taken)
        if ready and (len(taken) < 2 or total + seconds <= budget):
            taken.append(piece)
            total += seconds
        else:
            left_out.append(piece)
    # A pretraining alone is worth nothing.
    idle = [
        piece
        for piece in taken
        if piece.judge is None and not any(other.after == piece.name for other in taken)
    ]
    total -= sum(spent.get(piece.name, piece.seconds) for piece in idle)
    return Plan(
        [piece for piece in taken if piece not in idle],
        [piece for piece in pieces if piece in left_out or piece in idle],
        total,
    )


def lines_of(plan: Plan, spent: dict[str, float]) -> Iterator[str]:
    """Yield the lines of a plan: every piece with its time."""
    width = max(len(piece.title) for piece in plan.pieces)
    for piece in plan.pieces:
        when = "done" if piece.name in spent else f"about {duration(piece.seconds)}"
        yield f"  {piece.title:<{width}}  {when}" + "  (baseline)" * piece.is_baseline
    for piece in plan.left_out:
        yield f"  not tried, it needs about {duration(piece.seconds)} more: {piece.title}"
