"""The pictures: what is drawn is where it should be, pixel by pixel where that can be said."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.errors import InputError
from simclr_keras.evaluation.plots import curves_figure, save_figure, view_pairs_figure


def pixels_of(figure):
    """uint8 [height, width, 3] of the PNG that save_figure writes."""
    png = io.BytesIO()
    save_figure(figure, png)
    return np.asarray(Image.open(png).convert("RGB"))


def panel(figure, picture, axes):
    """The pixels of `picture` inside `axes`."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = axes.get_position().extents * [width, height, width, height]
    left, right, top, bottom = (round(v) for v in (x0, x1, height - y1, height - y0))
    return picture[top:bottom, left:right]


def history(epochs, **columns):
    return [
        {"epoch": str(e), "step": str(e * 10)} | {name: str(values[i]) for name, values in columns.items()}
        for i, e in enumerate(range(1, epochs + 1))
    ]


def title_of(axes):
    return axes.get_title(loc="left")


def texts(figure):
    return [text.get_text() for text in figure.texts]


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


def test_a_whole_history_has_four_panels_with_its_numbers():
    loss, share, rate = [5.0, 4.0, 3.0], [0.1, 0.5, 0.6], [0.1, 0.3, 0.0]
    columns = {"contrastive_loss": loss, "contrastive_accuracy": share, "learning_rate": rate}
    figure = curves_figure(history(3, **columns, knn_top1=["0.3", "", "0.5"], probe_top1=["", "", "0.25"]))
    drawn = {title_of(axes): [line.get_xydata().tolist() for line in axes.lines] for axes in figure.axes}
    assert drawn == {
        "Contrastive loss": [[[1, 5.0], [2, 4.0], [3, 3.0]]],
        "Contrastive accuracy": [[[1, 0.1], [2, 0.5], [3, 0.6]]],
        "Top-1 on the evaluation split": [[[1, 0.3], [3, 0.5]], [[3, 0.25]]],
        "Learning rate": [[[1, 0.1], [2, 0.3], [3, 0.0]]],
    }
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 4
    assert figure.axes[1].get_title(loc="right") == "60.0 % at epoch 3"
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == [
        "kNN  50.0 %",
        "online linear probe  25.0 %",
    ]


def test_panels_without_values_are_left_out():
    rows = history(4, contrastive_loss=[1, 2, 3, 4], knn_top1=["", "", "", ""], learning_rate=["nan"] * 4)
    assert [title_of(axes) for axes in curves_figure(rows).axes] == ["Contrastive loss"]


@pytest.mark.parametrize("panels", [1, 2, 3, 4])
def test_panels_fill_the_figure_and_do_not_touch(panels):
    names = ["contrastive_loss", "contrastive_accuracy", "knn_top1", "learning_rate"][:panels]
    figure = curves_figure(history(5, **{name: [0.1, 0.2, 0.3, 0.4, 0.5] for name in names}))
    picture = pixels_of(figure)
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert len(boxes) == panels
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert max(box.x1 for box in boxes) > 0.95 * picture.shape[1]
    assert min(box.y0 for box in boxes) < 0.1 * picture.shape[0]


def test_a_single_row_shows_as_points():
    figure = curves_figure(history(1, contrastive_loss=[5.0]))
    axes = figure.axes[0]
    picture = panel(figure, pixels_of(figure), axes)
    low, high = axes.get_xlim()
    assert (low, high) == (0.0, 2.0)
    middle = picture[:, picture.shape[1] // 2 - 1 : picture.shape[1] // 2 + 2].astype(int)
    assert (middle[..., 2] - middle[..., 0] > 80).sum() >= 9  # the blue dot, in a white panel


def test_the_curve_is_drawn_in_its_color_and_rises_to_the_right():
    figure = curves_figure(history(60, contrastive_accuracy=np.linspace(0.1, 0.9, 60)))
    picture = panel(figure, pixels_of(figure), figure.axes[0]).astype(int)
    rows, columns = np.nonzero(picture[..., 2] - picture[..., 0] > 80)
    assert len(rows) > 500
    assert np.corrcoef(rows, columns)[0, 1] < -0.99  # row 0 is the top


def test_small_changes_of_an_accuracy_do_not_fill_the_panel():
    axes = curves_figure(history(2, contrastive_accuracy=[0.500, 0.502])).axes[0]
    low, high = axes.get_ylim()
    assert high - low == pytest.approx(0.1)
    low, high = curves_figure(history(2, contrastive_accuracy=[1.0, 0.0])).axes[0].get_ylim()
    assert (low, high) == pytest.approx((0, 1), abs=0.01)


def test_references_are_lines_beside_knn_and_probe_only():
    rows = history(3, knn_top1=[0.3, 0.4, 0.5], contrastive_loss=[3, 2, 1])
    loss, top1 = curves_figure(rows, {"raw pixels, kNN": 0.2, "random encoder, kNN": 0.25}).axes
    assert len(loss.lines) == 1
    assert [text.get_text() for text in top1.get_legend().get_texts()] == [
        "kNN  50.0 %",
        "raw pixels, kNN  20.0 %",
        "random encoder, kNN  25.0 %",
    ]
    assert top1.get_ylim()[0] < 0.2


def test_steps_serve_where_there_are_no_epochs():
    axes = curves_figure([{"step": 10, "learning_rate": 0.1}, {"step": 20, "learning_rate": 0.2}]).axes[0]
    assert axes.get_xlabel() == "step"
    assert axes.lines[0].get_xdata().tolist() == [10, 20]


@pytest.mark.parametrize("rows", [[], [{"epoch": 1}], [{"epoch": 1, "knn_top1": ""}], [{"knn_top1": 0.5}]])
def test_nothing_to_draw_is_said(rows):
    with pytest.raises(InputError, match="no curve to draw"):
        curves_figure(rows)


def test_a_path_an_open_file_and_gfile_get_the_same_png(tmp_path):
    figure = curves_figure(history(2, contrastive_loss=[2, 1]))
    save_figure(figure, tmp_path / "path.png")
    with open(tmp_path / "file.png", "wb") as file:
        save_figure(figure, file)
    with tf.io.gfile.GFile(str(tmp_path / "gfile.png"), "wb") as file:
        save_figure(figure, file)
    first, *others = ((tmp_path / f"{name}.png").read_bytes() for name in ("path", "file", "gfile"))
    assert first.startswith(b"\x89PNG")
    assert others == [first, first]
