"""The figure of nearest neighbors: some images, and beside each the images with the most similar vectors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from simclr_keras.evaluation.colors import GREEN, INK, MUTED, ORANGE
from simclr_keras.evaluation.drawing import hide_frame, new_figure, own_style, set_heading, short

SIDE = 112  # pixels of a picture


def nearest(features: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of largest cosine similarity to some rows of features, int [q, count], and the cosines.

    The most similar comes first, and never the query itself.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    cosines = unit[queries] @ unit.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)


def choose_queries(count: int, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return rows to look at, int [count], of as many classes as possible; labels are -1 for none."""
    order = np.random.default_rng(seed).permutation(len(labels))
    # The first image of every class precedes the second of any class; unlabeled images are last.
    turns = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        turns[rows] = np.arange(len(rows)) if label >= 0 else len(labels)
    ordered = sorted(order.tolist(), key=lambda row: (turns[row], max(labels[row], 0)))
    return np.array(ordered[:count])


@own_style()
def neighbors_figure(
    pictures: np.ndarray,
    titles: Sequence[Sequence[str]],
    classes: Sequence[Sequence[str]],
    cosines: np.ndarray,
    ids: Sequence[str],
    model: str,
) -> Figure:
    """Return a row of pictures for each query: the query, then its neighbors.

    Args:
        pictures: uint8 [q, 1 + k, SIDE, SIDE, 3], the query first.
        titles: q lists of 1 + k strings to write above the pictures.
        classes: q lists of 1 + k class names, "" for none; they decide the colors.
        cosines: float [q, k], written below the neighbors. ids: q strings, written below the queries.
        model: model and endpoint, for the heading.
    """
    queries, columns = pictures.shape[:2]
    figure = new_figure(max(columns * (SIDE + 28), 780), queries * (SIDE + 62) + 76)
    labeled = any(query for query, *_ in classes)
    colors = "; green: same class, orange: another class" if labeled else ""
    heading = "Nearest neighbors (left: the query)"
    set_heading(figure, heading, f"by the cosine of {short(model, 24, keep_end=True)}{colors}")
    for (row, column), axes in np.ndenumerate(figure.subplots(queries, columns, squeeze=False)):
        color = _color(classes[row][0], classes[row][column]) if column else INK
        hide_frame(axes)
        axes.imshow(pictures[row, column])
        axes.spines[:].set(visible=color != INK, color=color, linewidth=3)
        title = short(titles[row][column], 16, keep_end=not classes[row][column])
        axes.set_title(title, fontsize=9, color=color)
        below = f"{cosines[row][column - 1]:.3f}" if column else short(ids[row], 16, keep_end=True)
        axes.set_xlabel(below, fontsize=9, color=MUTED)
    return figure


def _color(query, neighbor):
    if not query or not neighbor:
        return INK
    return GREEN if query == neighbor else ORANGE
