"""The confusion matrix: colors are the shares of each row, text appears if there is room."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from simclr_keras.errors import InputError
from simclr_keras.evaluation.colors import BLUE, CARD, ORANGE
from simclr_keras.evaluation.plots import confusion_figure


def counts_of(num_classes, seed=0):
    """Counts in which each class is mostly right, some predictions are wrong and some cells are empty."""
    rng = np.random.default_rng(seed)
    return rng.poisson(0.4, (num_classes, num_classes)) + np.diag(rng.integers(20, 60, num_classes))


def texts(figure):
    """All texts in and beside the matrix, line by line."""
    written = [text.get_text() for axes in figure.axes for text in axes.texts] + [
        t.get_text() for t in figure.texts
    ]
    return [line.strip() for text in written for line in text.splitlines()]


def expected_colors(counts):
    """Twin: cell by cell, white for nothing to full color for a whole row."""
    colors = np.empty((*counts.shape, 3))
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            depth = np.sqrt(count / row.sum()) if row.sum() else 0
            color = np.array(to_rgb(BLUE if i == j else ORANGE))
            colors[i, j] = to_rgb(CARD) if not row.sum() else 1 - depth * (1 - color)
    return colors


def test_color_of_every_cell():
    for num_classes in (1, 2, 12, 40, 120):
        counts = counts_of(num_classes)
        counts[num_classes // 2] = 0 if num_classes > 1 else counts[0]
        (image,) = confusion_figure(counts).axes[0].images
        np.testing.assert_allclose(image.get_array(), expected_colors(counts), atol=1e-6)


def test_percents_and_counts_of_few_classes():
    figure = confusion_figure(np.array([[150, 50, 0], [1, 999, 0], [0, 1, 2]]), ["ant", "bee", "cat"])
    shown = texts(figure)
    assert {"75 %", "150", "25 %", "50", "<1 %", "1", ">99 %", "999", "33 %", "67 %"} <= set(shown)
    assert "0 %" not in shown
    assert "95.7 % of 1,203 images correct" in shown


def test_what_is_written_by_number_of_classes():
    for number, percents, counts, names in (
        (12, 1, 1, 1),
        (13, 0, 1, 1),
        (25, 0, 1, 1),
        (26, 0, 0, 1),
        (51, 0, 0, 0),
    ):
        matrix = np.diag(np.full(number, 30))
        matrix[0, 1] = 10
        figure = confusion_figure(matrix, [f"class {k}" for k in range(number)])
        axes, *lists = figure.axes
        assert len(lists) == (number > 12)
        cells = {text.get_text() for text in axes.texts}
        assert ("75 %\n30" in cells) == percents
        assert ("30" in cells) == (counts and not percents)
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            assert ([text.get_text() for text in labels] == [f"class {k}" for k in range(number)]) == names


def test_a_few_images_of_each_class_are_counts():
    shown = texts(confusion_figure(np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]])))
    assert shown.count("1") == 3
    assert not [line for line in shown if line.startswith("100")]


def test_lists_of_mistakes_and_lowest_recall():
    counts = np.diag(np.full(30, 50))
    counts[np.arange(20), np.arange(20) + 5] = np.arange(1, 21)
    shown = texts(confusion_figure(counts, [f"c{k}" for k in range(30)]))
    mistakes = [line for line in shown if "→" in line][1:]
    assert mistakes == [f"c{k} → c{k + 5}: {k + 1} of {51 + k}" for k in range(19, 7, -1)]
    recall = [line for line in shown if "% of" in line and line.startswith("c")]
    assert recall[0] == "c19: 71 % of 70"
    assert len(recall) == 12
    assert "none" in texts(confusion_figure(np.diag(np.full(30, 50))))


@pytest.mark.slow
def test_every_size_is_drawn_with_its_text_inside(recwarn):
    for number, name in (
        (1, "$a$"),
        (2, "W" * 40),
        (10, "$a$"),
        (20, "W" * 40),
        (50, "W" * 40),
        (1001, "cat"),
    ):
        figure = confusion_figure(counts_of(number) * 1000, [f"{name} {k}" for k in range(number)])
        figure.canvas.draw()
        assert max(figure.bbox.width, figure.bbox.height) < 2000
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, (number, name)
            assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, (number, name)
    assert not recwarn


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        (np.ones((2, 3)), None, r"\[n, n\]"),
        (np.ones(4), None, r"\[n, n\]"),
        (np.zeros((0, 0)), None, r"\[n, n\]"),
        (np.zeros((3, 3)), None, "at least one"),
        (-np.eye(3), None, "must contain counts"),
        (np.full((3, 3), np.nan), None, "must contain counts"),
        (np.eye(3), ["a", "b"], "2 for 3 classes"),
    ],
)
def test_wrong_input(matrix, names, message):
    with pytest.raises(InputError, match=message) as error:
        confusion_figure(matrix, names)
    assert "\n" not in str(error.value)
