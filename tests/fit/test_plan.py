"""The plan: pieces that fit into the minutes, and those that are left out."""

from simclr_keras.fit.candidates.pieces import Piece
from simclr_keras.fit.plan import lines_of, make_plan


def piece(name, seconds, after=None, trains=True):
    return Piece(name, name, seconds, judge=(lambda: None) if trains else None, after=after)


PIECES = [
    piece("colors", 4),
    piece("roots", 1),
    piece("features", 100),
    piece("long", 50),
    piece("pretraining", 40, trains=False),
    piece("of pretraining", 30, after="pretraining"),
    piece("short", 10),
]


def names(pieces):
    return [piece.name for piece in pieces]


def test_the_first_are_tried_and_later_ones_if_they_fit():
    plan = make_plan(PIECES, {}, 50)
    assert names(plan.pieces) == ["colors", "roots", "features"]
    plan = make_plan(PIECES, {}, 120)
    assert names(plan.pieces) == ["colors", "roots", "features", "short"]
    assert names(plan.left_out) == ["long", "pretraining", "of pretraining"]
    assert plan.seconds == 115


def test_a_pretraining_is_not_run_for_nothing():
    plan = make_plan(PIECES, {}, 174)
    assert names(plan.pieces) == ["colors", "roots", "features", "long", "short"]
    plan = make_plan([piece for piece in PIECES if piece.name != "long"], {}, 175)
    assert names(plan.pieces) == ["colors", "roots", "features", "pretraining", "of pretraining"]


def test_finished_pieces_count_with_their_time():
    plan = make_plan(PIECES, {"features": 20.0}, 130)
    assert names(plan.pieces) == ["colors", "roots", "features", "long", "short"]
    text = "\n".join(lines_of(plan, {"features": 20.0}))
    assert "done" in text
    assert "not tried, it needs about 40 s more: pretraining" in text


def test_finished_pieces_are_kept_whatever_they_took():
    plan = make_plan(PIECES, {"long": 500.0}, 130)
    assert names(plan.pieces) == ["colors", "roots", "features", "long"]


def test_a_planned_piece_is_kept_within_the_slack_and_others_use_the_time_that_is_left():
    planned = make_plan(PIECES, {}, 165).pieces
    assert names(planned) == ["colors", "roots", "features", "long", "short"]
    for took, expected in (
        (5.0, ["colors", "roots", "features", "long", "pretraining", "of pretraining", "short"]),
        (140.0, ["colors", "roots", "features", "long", "short"]),  # 205 of 165 * 1.25 seconds
        (150.0, ["colors", "roots", "features", "long"]),
        (160.0, ["colors", "roots", "features", "short"]),
    ):
        again = make_plan(PIECES, {"features": took}, 165, planned)
        assert names(again.pieces) == expected
