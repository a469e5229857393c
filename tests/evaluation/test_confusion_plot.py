"""The confusions: every cell has its color, and text only where it fits, at 2 classes as at 2500."""

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation.plots import confusion_figure
from tests.evaluation.pixels import panel, pixels_of, texts

BLUE, ORANGE, GRAY = np.array([0x22, 0x66, 0xAA]), np.array([0xD9, 0x65, 0x1D]), np.array([0xEE, 0xF1, 0xF4])


def counts_of(num_classes, seed=0):
    """Each class mostly right, some wrong, some cells empty."""
    rng = np.random.default_rng(seed)
    return rng.poisson(0.4, (num_classes, num_classes)) + np.diag(rng.integers(20, 60, num_classes))


def inner_corners(figure, num_cells):
    """uint8 [cells, cells, 3]: a pixel of each cell that neither its text nor a seam covers."""
    matrix = panel(figure, pixels_of(figure), figure.axes[0])
    cell = matrix.shape[0] // num_cells
    assert matrix.shape[:2] == (cell * num_cells, cell * num_cells)
    within = np.arange(num_cells) * cell + min(3, cell - 2)
    return matrix[np.ix_(within, within)].astype(int)


def expected_colors(counts):
    """Twin: cell by cell, white for nothing to full color for a whole row."""
    found = np.empty((*counts.shape, 3))
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            depth = np.sqrt(count / row.sum()) if row.sum() else 0
            found[i, j] = GRAY if not row.sum() else 255 - depth * (255 - (BLUE if i == j else ORANGE))
    return found


@pytest.mark.parametrize("num_classes", [1, 2, 5, 10, 12, 13, 25, 40, 100, 120, 250])
def test_every_cell_has_the_color_of_its_share(num_classes):
    counts = counts_of(num_classes)
    counts[num_classes // 2] = 0 if num_classes > 1 else counts[0]
    figure = confusion_figure(counts)
    np.testing.assert_allclose(inner_corners(figure, num_classes), expected_colors(counts), atol=1.01)


def test_above_250_classes_a_cell_shows_the_largest_share_of_its_classes():
    counts = np.diag(np.full(1000, 4))
    counts[10, 990] = 12  # three quarters of a row: a cell off the diagonal
    counts[21, 22] = 12  # within a block: larger than what is right there
    counts[40:44] = 0
    cells = inner_corners(confusion_figure(counts), 250)
    shade = 255 - np.sqrt(0.75) * (255 - ORANGE)
    np.testing.assert_allclose(cells[2, 247], shade, atol=1.01)
    np.testing.assert_allclose(cells[0, 0], BLUE, atol=1.01)
    np.testing.assert_allclose(cells[10, [0, 10]], [GRAY, GRAY], atol=1.01)
    assert (cells[3, 100] == 255).all()


def test_classes_that_are_mostly_wrong_show_orange_where_they_share_a_cell():
    counts = np.diag(np.full(1000, 1))
    counts[np.arange(20, 24), [21, 20, 23, 22]] = 8
    cell = inner_corners(confusion_figure(counts), 250)[5, 5]
    np.testing.assert_allclose(cell, 255 - np.sqrt(8 / 9) * (255 - ORANGE), atol=1.01)


def test_up_to_12_classes_hold_shares_and_counts():
    shown = texts(confusion_figure(np.array([[150, 50, 0], [1, 999, 0], [0, 1, 2]]), ["ant", "bee", "cat"]))
    assert {"75 %", "150", "25 %", "50", "<1 %", "1", ">99 %", "999", "33 %", "67 %"} <= set(shown)
    assert "0 %" not in shown
    assert "95.7 % of 1,203 images right; shares of each row" in shown


@pytest.mark.parametrize(
    ("num_classes", "percents"), [(12, True), (13, True), (25, True), (26, False), (300, False)]
)
def test_percents_are_written_where_cells_have_room(num_classes, percents):
    counts = np.diag(np.full(num_classes, 3))
    counts[0, 1] = 1
    shown = texts(confusion_figure(counts, [f"c{k}" for k in range(num_classes)]))
    assert bool({"75", "75 %"} & set(shown)) == percents


@pytest.mark.parametrize("num_classes", [12, 13])
def test_beside_many_classes_the_worst_are_listed(num_classes):
    counts = np.diag(np.full(num_classes, 10))
    counts[3, 7], counts[5, 2] = 4, 30
    shown = texts(confusion_figure(counts, [f"class {k}" for k in range(num_classes)]))
    listed = {"class 5 → class 2", "30 of 40", "class 3 → class 7", "4 of 14", "25 % of 40", "71 % of 14"}
    assert listed <= set(shown) if num_classes > 12 else not listed & set(shown)


def test_the_most_frequent_mistakes_come_first_and_no_mistake_is_none():
    counts = np.diag(np.full(30, 50))
    counts[np.arange(20), np.arange(20) + 5] = np.arange(1, 21)
    shown = texts(confusion_figure(counts))
    mistakes = [text for text in shown if "→" in text]
    assert mistakes == [f"{k} → {k + 5}" for k in range(19, 7, -1)]
    assert "none" in texts(confusion_figure(np.diag(np.full(30, 50))))


@pytest.mark.parametrize("num_classes", [1, 2, 10, 20, 40, 120, 121, 1001])
@pytest.mark.parametrize("name", ["W" * 40, "cat"])
def test_no_text_leaves_the_picture_or_touches_other_text(num_classes, name):
    figure = confusion_figure(counts_of(num_classes) * 1000, [f"{name} {k}" for k in range(num_classes)])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    whole = figure.bbox
    for text, box in zip(figure.texts, boxes):
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text
    # By their middles: the boxes of neighboring lines of text may share a pixel above and below the ink.
    low, high = (np.array([getattr(box, corner) for box in boxes]) for corner in ("p0", "p1"))
    low, high = low + 0.2 * (high - low), high - 0.2 * (high - low)
    overlap = ((low[:, None] < high[None]) & (low[None] < high[:, None])).all(axis=-1)
    np.fill_diagonal(overlap, False)
    pairs = [(figure.texts[i].get_text(), figure.texts[j].get_text()) for i, j in np.argwhere(overlap)]
    assert not pairs
    assert max(whole.width, whole.height) < 2200


def test_names_stand_at_their_rows_and_columns():
    figure = confusion_figure(counts_of(4), ["ant", "bee", "cat", "dog"])
    figure.canvas.draw()
    matrix = figure.axes[0].get_window_extent()
    for k, name in enumerate(["ant", "bee", "cat", "dog"]):
        left, below = sorted(
            (text.get_window_extent() for text in figure.texts if text.get_text() == name),
            key=lambda box: box.x0,
        )
        middle = (k + 0.5) * matrix.width / 4
        assert left.x1 < matrix.x0
        assert (left.y0 + left.y1) / 2 == pytest.approx(matrix.y1 - middle, abs=4)
        assert below.y1 < matrix.y0
        assert (below.x0 + below.x1) / 2 == pytest.approx(matrix.x0 + middle, abs=2)


@pytest.mark.parametrize(
    ("matrix", "names", "said"),
    [
        (np.ones((2, 3)), None, r"\[n, n\]"),
        (np.ones(4), None, r"\[n, n\]"),
        (np.zeros((0, 0)), None, r"\[n, n\]"),
        (np.zeros((3, 3)), None, "at least one"),
        (-np.eye(3), None, "must hold counts"),
        (np.full((3, 3), np.nan), None, "must hold counts"),
        (np.eye(3), ["a", "b"], "2 for 3 classes"),
    ],
)
def test_wrong_input_is_named_in_one_line(matrix, names, said):
    with pytest.raises(InputError, match=said) as error:
        confusion_figure(matrix, names)
    assert "\n" not in str(error.value)
