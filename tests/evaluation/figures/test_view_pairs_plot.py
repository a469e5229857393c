"""View pairs: each axes shows view 1 above view 2."""

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation.plots import view_pairs_figure


def drawn(axes):
    (image,) = axes.images
    return np.asarray(image.get_array())


def test_view_1_is_above_view_2():
    views = np.random.default_rng(0).random((9, 2, 32, 32, 3)).astype(np.float32)
    figure = view_pairs_figure(views)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 9
    for axes, (view1, view2) in zip(shown, views):
        np.testing.assert_array_equal(drawn(axes)[:32], view1)
        np.testing.assert_array_equal(drawn(axes)[-32:], view2)


def test_values_are_clipped():
    views = np.stack([np.full((1, 8, 8, 3), 7.0), np.full((1, 8, 8, 3), -7.0)], 1)
    pair = drawn(view_pairs_figure(views).axes[0])
    assert (pair[:8] == 1).all()
    assert (pair[-8:] == 0).all()


def test_max_pairs_and_columns():
    views = np.zeros((40, 2, 8, 8, 3))
    for pairs, figure in ((16, view_pairs_figure(views)), (3, view_pairs_figure(views, max_pairs=3))):
        assert len([axes for axes in figure.axes if axes.images]) == pairs
        figure.canvas.draw()
        assert len({round(axes.get_position().x0, 3) for axes in figure.axes}) == min(pairs, 8)


def test_titles_are_shortened_and_never_formulas():
    titles = ["cat", "a very long name of a class", r"$\frac$", ""]
    figure = view_pairs_figure(np.zeros((4, 2, 32, 32, 3)), titles)
    figure.canvas.draw()
    shown = [axes.get_title(loc="left") for axes in figure.axes]
    assert shown == ["cat", "a very long name of…", r"\$\frac\$", ""]


@pytest.mark.parametrize(
    ("shape", "titles", "message"),
    [
        ((4, 8, 8, 3), None, r"\[n, 2, S, S, 3\]"),
        ((4, 3, 8, 8, 3), None, r"\[n, 2, S, S, 3\]"),
        ((4, 2, 8, 9, 3), None, r"\[n, 2, S, S, 3\]"),
        ((4, 2, 8, 8, 1), None, r"\[n, 2, S, S, 3\]"),
        ((0, 2, 8, 8, 3), None, "no view pair"),
        ((4, 2, 8, 8, 3), ["a"], "1 for 4 pairs"),
    ],
)
def test_wrong_input(shape, titles, message):
    with pytest.raises(InputError, match=message):
        view_pairs_figure(np.zeros(shape), titles)
