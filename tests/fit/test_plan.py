"""The plan: pieces that fit into the minutes, and those that are left out."""

from simclr_keras.fit.candidates.pieces import Piece
from simclr_keras.fit.plan import lines_of, make_plan


def piece(name, seconds, after=None, trains=True):
    return Piece(name, name, seconds, judge=(lambda: None) if trains else None, after=after)


PIECES = [
    piece("colors", 5),
    piece("features", 100),
    piece("long", 50),
    piece("pretraining", 40, trains=False),
    piece("of pretraining", 30, after="pretraining"),
    piece("short", 10),
]


def names(pieces):
    return [piece.name for piece in pieces]


def test_the_first_two_are_tried_and_later_ones_if_they_fit():
    plan = make_plan(PIECES, {}, 50)
    assert names(plan.pieces) == ["colors", "features"]
    plan = make_plan(PIECES, {}, 120)
    assert names(plan.pieces) == ["colors", "features", "short"]
    assert names(plan.left_out) == ["long", "pretraining", "of pretraining"]
    assert plan.seconds == 115


def test_a_pretraining_is_not_run_for_nothing():
    plan = make_plan([*PIECES[:2], *PIECES[3:5]], {}, 150)
    assert names(plan.pieces) == ["colors", "features"]
    assert plan.seconds == 105


def test_finished_pieces_count_with_their_time():
    plan = make_plan(PIECES, {"features": 20.0}, 130)
    assert names(plan.pieces) == ["colors", "features", "long", "short"]
    text = "\n".join(lines_of(plan, {"features": 20.0}))
    assert "done" in text
    assert "not tried, it needs about 40 s more: pretraining" in text
