"""The picture of nearest neighbors: some images, and beside each the images whose vectors are most like its own."""

import numpy as np

from simclr_keras.evaluation.drawing import (
    CARD,
    GREEN,
    HAIR,
    INK,
    MUTED,
    ORANGE,
    PixelBoxes,
    keep_end,
    new_figure,
    shorten,
)

SIDE = 112  # pixels of a picture
_PAD, _GAP, _SPLIT, _LEFT, _TOP, _BOTTOM = 8, 10, 26, 28, 86, 24
_LINE = 18  # pixels of a line of text


def nearest(features, queries, count):
    """The rows whose vectors point most nearly the same way.

    Args:
        features: float [n, d]. queries: int [q], rows of these. count: neighbors of each, less than n.

    Returns:
        (rows int [q, count], the most alike first and never the query itself, cosines float [q, count])
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    cosines = unit[queries] @ unit.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)


def choose_queries(count, labels, seed):
    """Rows to look at, of as many classes as there are: int [count].

    Args:
        count: how many. labels: int [n], -1 for none. seed: int.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    # The first of every class come before the second of any, and classes before what has none.
    turns = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        turns[mine] = np.arange(len(mine)) if label >= 0 else len(labels)
    chosen = sorted(order.tolist(), key=lambda row: (turns[row], labels[row] if labels[row] >= 0 else 0))
    return np.array(chosen[:count])


def neighbors_figure(pictures, titles, classes, cosines, ids, name):
    """A row for each query: the query, then its neighbors, the most alike first.

    Args:
        pictures: uint8 [q, 1 + k, SIDE, SIDE, 3], the query first.
        titles: q lists of 1 + k strings, written above the pictures.
        classes: q lists of 1 + k class names, "" for none: neighbors of the query's class are marked.
        cosines: float [q, k], written below the neighbors. ids: q strings, written below the queries.
        name: of model and endpoint, for the title.

    Returns:
        A matplotlib Figure.
    """
    queries, columns = pictures.shape[:2]
    card_width, card_height = SIDE + 2 * _PAD, SIDE + 2 * _LINE + 2 * _PAD
    width = _LEFT + columns * (card_width + _GAP) - _GAP + _SPLIT + _LEFT
    width = max(width, 620)
    height = _TOP + queries * (card_height + _GAP) - _GAP + _BOTTOM
    figure = new_figure(width, height)
    box = PixelBoxes(figure, width, height)
    box.text(_LEFT, 32, "Nearest neighbors", size=14, weight="bold")
    known = any(own for own, *_ in classes)
    told = "; green: of the query's class, orange: of another" if known else ""
    shorten(
        box.text(_LEFT, 54, f"by the cosine of {name}{told}", color=MUTED, parse_math=False),
        width - 2 * _LEFT,
    )
    box.text(_LEFT, 76, "query", color=MUTED, size=9)
    box.text(_LEFT + card_width + _GAP + _SPLIT, 76, "neighbors, the most alike first", color=MUTED, size=9)
    for query in range(queries):
        y = _TOP + query * (card_height + _GAP)
        for column in range(columns):
            x = _LEFT + column * (card_width + _GAP) + (_SPLIT if column else 0)
            color = _color(classes[query][0], classes[query][column]) if column else INK
            figure.add_artist(box.rectangle(x, y, card_width, card_height, color=CARD))
            if column and color in (GREEN, ORANGE):
                figure.add_artist(box.rectangle(x, y + card_height - 3, card_width, 3, color=color))
            text = box.text(x + _PAD, y + 17, titles[query][column], size=9, color=color, parse_math=False)
            (shorten if classes[query][column] else keep_end)(text, SIDE)
            _draw(figure, box, x + _PAD, y + _PAD + _LINE - 2, pictures[query, column])
            below = f"{cosines[query][column - 1]:.3f}" if column else ids[query]
            keep_end(
                box.text(x + _PAD, y + card_height - 9, below, size=9, color=MUTED, parse_math=False), SIDE
            )
    return figure


def _color(own, other):
    if not own or not other:
        return INK
    return GREEN if own == other else ORANGE


def _draw(figure, box, x, y, picture):
    # A hair narrower, or rounding might draw a pixel more.
    axes = figure.add_axes(box.bounds(x + HAIR, y + HAIR, SIDE - 2 * HAIR, SIDE - 2 * HAIR))
    axes.set_axis_off()
    axes.imshow(picture, interpolation="nearest", aspect="auto")
