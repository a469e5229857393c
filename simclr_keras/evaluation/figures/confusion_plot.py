"""The figure of a classifier's mistakes: how often it predicts one class for another."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from simclr_keras.errors import InputError
from simclr_keras.evaluation.colors import BLUE, CARD, INK, MUTED, ORANGE
from simclr_keras.evaluation.drawing import hide_frame, new_figure, own_style, set_heading, short

_MOST_WITH_PERCENTS, _MOST_WITH_COUNTS, _MOST_WITH_NAMES = 12, 25, 50  # classes
_FEWEST_FOR_PERCENTS = 10  # images of the largest class
_LISTED = 12  # mistakes and classes that are listed beside a large matrix


@own_style()
def confusion_figure(matrix: np.ndarray, class_names: Sequence | None = None) -> Figure:
    """Return a matrix of colored cells: for each class (down) the predictions (across).

    Correct cells are blue and wrong ones orange. The color deepens with the square root of the share of the row, so
    that rare mistakes are visible; rows without images are gray. Up to 12 classes, cells contain percents and counts,
    or counts alone if no class has 10 images; up to 25 classes, counts. Up to 50 classes have their names. Above 12
    classes, the most frequent mistakes and the classes of lowest recall are listed beside the matrix.

    Args:
        matrix: counts [n, n], true classes down, predictions across: see `evaluation.classification.confusion`.
        class_names: n strings, or None for the numbers of the classes.

    Returns:
        A Figure; its first axes contain the matrix.

    Raises:
        InputError: the matrix is not such a matrix or is all zero, or there are not n names.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not len(counts):
        raise InputError(f"the matrix must be [n, n]. Received: shape {counts.shape}")
    if not np.all(np.isfinite(counts)) or counts.min() < 0 or not counts.any():
        raise InputError("the matrix must contain counts of images, at least one of them above 0")
    number = len(counts)
    if class_names is not None and len(class_names) != number:
        raise InputError(
            f"class names must be one per class. Received: {len(class_names)} for {number} classes"
        )
    class_names = range(number) if class_names is None else class_names
    names = [short(name) for name in class_names]
    totals = counts.sum(axis=1)

    side = min(max(56 * number, 300), 1000) if number <= _MOST_WITH_NAMES else 800
    room = 60 + 7 * max(map(len, names)) * (number <= _MOST_WITH_NAMES)
    listed = number > _MOST_WITH_PERCENTS
    figure = new_figure(max(side + room + 440 * listed, 480), max(side + room + 110, 600 * listed))
    correct = np.trace(counts) / counts.sum()
    set_heading(figure, "Confusion matrix", f"{100 * correct:.1f} % of {counts.sum():,} images correct")
    axes, *side_axes = np.atleast_1d(figure.subplots(1, 1 + listed, width_ratios=[side, 400][: 1 + listed]))
    axes.imshow(_colors(counts, totals))
    axes.set_xlabel("prediction", color=MUTED)
    axes.set_ylabel("true class", color=MUTED)
    axes.spines[:].set_color(CARD)
    axes.tick_params(length=0, which="both")
    if number <= _MOST_WITH_NAMES:
        axes.set_xticks(range(number), names, rotation=90 if max(map(len, names)) > 6 or number > 12 else 0)
        axes.set_yticks(range(number), names)
        axes.set_xticks(np.arange(number - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(number - 1) + 0.5, minor=True)
        axes.grid(which="minor", color=CARD, linewidth=1.5)
    if number <= _MOST_WITH_COUNTS:
        _write_cells(axes, counts, totals)
    for panel in side_axes:
        hide_frame(panel)
        panel.text(
            0, 1, _mistakes(counts, totals, class_names), va="top", fontsize=10, color=INK, linespacing=1.5
        )
    return figure


def _colors(counts, totals):
    """Return float32 [n, n, 3] in [0, 1]."""
    depth = np.sqrt(counts / np.maximum(totals, 1)[:, None]).astype(np.float32)[..., None]
    diagonal = np.eye(len(counts), dtype=bool)[..., None]
    colors = 1 - depth * (1 - np.where(diagonal, np.float32(to_rgb(BLUE)), np.float32(to_rgb(ORANGE))))
    colors[totals == 0] = to_rgb(CARD)
    return colors


def _write_cells(axes, counts, totals):
    # A percent of a few images says less than their number.
    with_percents = len(counts) <= _MOST_WITH_PERCENTS and totals.max() >= _FEWEST_FOR_PERCENTS
    for row, column in np.argwhere(counts > 0):
        count, total = counts[row, column], totals[row]
        text = f"{_percent(count, total)} %\n{count:,}" if with_percents else f"{count:,}"
        color = "white" if count > 0.35 * total else INK
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8.5)


def _mistakes(counts, totals, names):
    """Return the most frequent mistakes and the classes of lowest recall, as lines of text."""
    wrong = counts - np.diag(np.diag(counts))
    names = [short(name, 14) for name in names]
    lines = ["Most frequent mistakes (true → prediction)"]
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]:
        row, column = np.unravel_index(cell, wrong.shape)
        if wrong[row, column]:
            lines.append(f"  {names[row]} → {names[column]}: {wrong[row, column]:,} of {totals[row]:,}")
    recall = np.where(totals > 0, np.diag(counts) / np.maximum(totals, 1), np.inf)
    lines += ["  none"] * (len(lines) == 1) + ["", "Lowest recall"]
    for k in np.argsort(recall, kind="stable")[:_LISTED]:
        if totals[k]:
            lines.append(f"  {names[k]}: {_percent(counts[k, k], totals[k])} % of {totals[k]:,}")
    return "\n".join(lines)


def _percent(count, total):
    """Return whole percents as text; "<1" and ">99" keep rare cases apart from none and all."""
    percent = round(100 * count / total)
    if percent == 0 and count:
        return "<1"
    return ">99" if percent == 100 and count < total else f"{percent}"
