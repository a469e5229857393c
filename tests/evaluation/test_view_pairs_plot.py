"""View pairs: what is drawn is where it should be, pixel by pixel where that can be said."""

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation.plots import view_pairs_figure
from tests.evaluation.pixels import panel, pixels_of, texts


@pytest.mark.parametrize(("size", "scale"), [(8, 16), (32, 4), (96, 1), (224, 1)])
def test_every_pixel_of_every_view_is_a_square_at_its_place(size, scale):
    views = np.random.default_rng(0).integers(0, 256, (9, 2, size, size, 3)) / 255.0
    figure = view_pairs_figure(views)
    picture = pixels_of(figure)
    assert len(figure.axes) == 18
    for i, axes in enumerate(figure.axes):
        expected = np.round(views[i // 2, i % 2] * 255).repeat(scale, 0).repeat(scale, 1)
        # matplotlib's own float-to-byte step may round by one.
        np.testing.assert_allclose(panel(figure, picture, axes).astype(int), expected, atol=1)


def test_view_2_stands_right_below_view_1_and_pairs_keep_apart():
    figure = view_pairs_figure(np.zeros((3, 2, 32, 32, 3)))
    boxes = [axes.get_window_extent() for axes in figure.axes]
    first, second, next_first = boxes[:3]
    assert first.x0 == pytest.approx(second.x0)
    within = first.y0 - second.y1
    between = next_first.x0 - first.x1
    assert 0 < within < between / 3


def test_a_red_view_is_red_and_its_partner_is_blue():
    views = np.zeros((2, 2, 16, 16, 3))
    views[1, 0, ..., 0] = views[1, 1, ..., 2] = 1.0
    figure = view_pairs_figure(views)
    picture = pixels_of(figure)
    red, blue = (panel(figure, picture, figure.axes[i]) for i in (2, 3))
    assert (red == [255, 0, 0]).all()
    assert (blue == [0, 0, 255]).all()
    # Nothing else in the picture is red.
    assert (picture == [255, 0, 0]).all(axis=-1).sum() == red.shape[0] * red.shape[1]


def test_large_views_are_reduced_and_values_outside_are_clipped():
    figure = view_pairs_figure(np.stack([np.full((1, 512, 512, 3), 7.0), np.full((1, 512, 512, 3), -7.0)], 1))
    picture = pixels_of(figure)
    white, black = (panel(figure, picture, axes) for axes in figure.axes)
    assert white.shape == black.shape == (224, 224, 3)
    assert (white == 255).all()
    assert (black == 0).all()


def test_sixteen_pairs_at_most_in_rows_of_eight():
    figure = view_pairs_figure(np.zeros((40, 2, 8, 8, 3)))
    assert len(figure.axes) == 2 * 16
    assert len({round(axes.get_position().x0, 6) for axes in figure.axes}) == 8
    assert len(view_pairs_figure(np.zeros((40, 2, 8, 8, 3)), max_pairs=3).axes) == 2 * 3


def test_titles_stand_above_their_pair_whatever_they_hold():
    titles = ["cat", "a very long name of a class", "n01440764_a_very_long_id.JPEG", r"$\frac$", ""]
    figure = view_pairs_figure(np.zeros((5, 2, 32, 32, 3)), titles)
    picture = pixels_of(figure)
    shown = texts(figure)
    assert {"cat", r"$\frac$"} <= set(shown)
    for title in titles[1:3]:
        assert any(text.endswith("…") and len(text) > 12 and title.startswith(text[:-1]) for text in shown)
    assert picture.shape[0] > pixels_of(view_pairs_figure(np.zeros((5, 2, 32, 32, 3)))).shape[0]
    cat = next(text for text in figure.texts if text.get_text() == "cat").get_window_extent()
    view = figure.axes[0].get_window_extent()
    assert view.y1 < cat.y0
    assert cat.y1 < view.y1 + 30
    assert view.x0 - 1 <= cat.x0 < view.x1


@pytest.mark.parametrize("pairs", [1, 3, 11])
def test_no_text_leaves_the_picture(pairs):
    figure = view_pairs_figure(np.zeros((pairs, 2, 8, 8, 3)), ["W" * 40] * pairs)
    pixels_of(figure)
    whole = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent()
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text
    titles = [text.get_window_extent() for text in figure.texts if text.get_text().startswith("WW")]
    for title, axes in zip(titles, figure.axes[::2]):
        assert title.x1 <= axes.get_window_extent().x1 + 1


@pytest.mark.parametrize(
    ("shape", "titles", "said"),
    [
        ((4, 8, 8, 3), None, r"\[n, 2, S, S, 3\]"),
        ((4, 3, 8, 8, 3), None, r"\[n, 2, S, S, 3\]"),
        ((4, 2, 8, 9, 3), None, r"\[n, 2, S, S, 3\]"),
        ((4, 2, 8, 8, 1), None, r"\[n, 2, S, S, 3\]"),
        ((0, 2, 8, 8, 3), None, "no view pair"),
        ((4, 2, 8, 8, 3), ["a"], "1 for 4 pairs"),
    ],
)
def test_wrong_views_are_named_in_one_line(shape, titles, said):
    with pytest.raises(InputError, match=said):
        view_pairs_figure(np.zeros(shape), titles)
