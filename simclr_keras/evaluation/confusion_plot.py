"""The picture of a classifier's mistakes: which classes it takes for which."""

import math
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_rgb

from simclr_keras.errors import InputError
from simclr_keras.evaluation.drawing import (
    BLUE,
    CARD,
    HAIR,
    INK,
    MUTED,
    ORANGE,
    PixelBoxes,
    fitted,
    new_figure,
)

_MOST_CELLS, _LARGEST = 250, 1000  # in a row; pixels of a matrix that has so many
_MOST_NAMES, _NAME_ROOM = 120, 150  # at a side; pixels of one
_SPACIOUS = 34  # pixels of a cell, from which on it holds text
_LISTED = 12  # mistakes and classes that are named beside a large matrix
_LEFT, _TOP, _GAP, _PANEL, _LIST_ROOM = 34, 76, 28, 420, 310  # pixels


def confusion_figure(matrix, class_names=None):
    """A matrix of colored cells: row by row, what the images of a class are taken for.

    Blue is right and orange wrong, the deeper the larger the share of its row (by its square root, so that rare
    mistakes can be seen); rows without images are gray. Up to 12 classes shares and counts are written in, up to
    25 the percents. Above 12 classes the most frequent mistakes and the classes known least are listed beside it,
    above 120 names at the matrix give way to numbers. Above 250 several classes share a cell, which shows the
    largest of their shares.

    Args:
        matrix: counts [n, n], what the images show down, what they are taken for across: see
            `evaluation.classification.confusion`.
        class_names: n strings; None writes the classes' numbers.

    Returns:
        A matplotlib Figure; its first axes hold the matrix.

    Raises:
        InputError: where the matrix is no such matrix, is all zero, or the names are not n.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not len(counts):
        raise InputError(f"the matrix must be [n, n]. Received: shape {counts.shape}")
    if not np.all(np.isfinite(counts)) or counts.min() < 0 or not counts.any():
        raise InputError("the matrix must hold counts of images, at least one of them above 0")
    names = (
        [str(k) for k in range(len(counts))] if class_names is None else [str(name) for name in class_names]
    )
    if len(names) != len(counts):
        raise InputError(
            f"class names must be one per class. Received: {len(names)} for {len(counts)} classes"
        )
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]

    layout = _layout(names)
    side, cell = layout.side, layout.cell
    x, panel = _LEFT + layout.left, len(names) > 12
    width = max(x + side + (_GAP + _PANEL if panel else 22), 480)
    height = max(_TOP + side + layout.below + 34, _TOP + 610 if panel else 0)
    figure = new_figure(width, height)
    box = PixelBoxes(figure, width, height)
    share = np.trace(counts) / counts.sum()
    box.text(_LEFT, 30, "Confusions", size=14, weight="bold")
    said = f"{100 * share:.1f} % of {counts.sum():,} images right; shares of each row"
    box.text(_LEFT, 52, said + ("; classes by number" if len(names) > _MOST_NAMES else ""), color=MUTED)

    frame = side + 1 + (len(_seams(cell)) != 1)
    figure.add_artist(box.rectangle(x - 1, _TOP - 1, frame, frame, color=CARD))
    # A hair narrower, see view_pairs_plot.
    axes = figure.add_axes(box.bounds(x + HAIR, _TOP + HAIR, side - 2 * HAIR, side - 2 * HAIR))
    axes.set_axis_off()
    axes.imshow(_pixels(shares, totals, cell, layout.block), interpolation="nearest", aspect="auto")
    middle = _TOP + side / 2
    box.text(_LEFT - 14, middle, "what the image shows", color=MUTED, rotation=90, ha="center", va="center")
    box.text(x + side / 2, _TOP + side + layout.below + 18, "what it is taken for", color=MUTED, ha="center")
    _write_names(box, x, layout)
    if cell >= _SPACIOUS:
        _write_cells(box, x, cell, counts, totals)
    if panel:
        _write_panel(box, x + side + _GAP, names, counts, totals, key=cell < _SPACIOUS)
    return figure


class _Layout(NamedTuple):
    cell: int  # pixels of a cell
    block: int  # classes that share it
    side: int  # pixels of the whole matrix
    shown: dict  # name or number by cell
    size: float  # of their font, in points
    upright: bool  # names below the matrix stand on end
    left: int  # pixels they take
    below: int


def _layout(names):
    number = len(names)
    block = math.ceil(number / _MOST_CELLS)
    cells = math.ceil(number / block)
    steps = ((5, 110), (12, max(56, 620 // number)), (25, _SPACIOUS), (60, 17), (_MOST_NAMES, 12))
    cell = next((cell for most, cell in steps if number <= most), _LARGEST // cells)
    if number <= _MOST_NAMES:
        size = 10 if cell >= 17 else 7
        strings, widest = fitted(names, size, _NAME_ROOM)
        places = range(number)
    else:
        size = 9
        every = 10 ** math.floor(math.log10(number / 2))
        places = range(0, number, every)
        strings, widest = fitted(places, size, _NAME_ROOM)
    upright = widest > cell - 8 and number <= _MOST_NAMES
    shown = {place // block: string for place, string in zip(places, strings)}
    below = (widest if upright else 14) + 10
    return _Layout(cell, block, cells * cell, shown, size, upright, widest + 10, below)


def _pixels(shares, totals, cell, block):
    """float32 [side, side, 3] in [0, 1]."""
    number = len(shares)
    depth = np.sqrt(shares).astype(np.float32)[..., None]
    right = np.eye(number, dtype=bool)[..., None]
    empty = np.broadcast_to(totals == 0, (number, number)).T[..., None]
    if block > 1:
        # A mistake within a block shows as one unless being right there is more frequent.
        starts = np.arange(0, number, block)
        wrong = _largest(np.where(right, 0, depth), starts)
        depth, right = _largest(depth, starts), _largest(np.where(right, depth, 0), starts)
        right = right > wrong
        empty = np.minimum.reduceat(np.minimum.reduceat(empty, starts, axis=0), starts, axis=1)
    blue, orange = np.float32(to_rgb(BLUE)), np.float32(to_rgb(ORANGE))
    pixels = 1 - depth * (1 - np.where(right, blue, orange))
    pixels = np.where(empty, np.float32(to_rgb(CARD)), pixels).repeat(cell, axis=0).repeat(cell, axis=1)
    for seam in _seams(cell):
        pixels[seam::cell] = pixels[:, seam::cell] = np.float32(to_rgb(CARD))
    return pixels


def _seams(cell):
    """Which pixels of a cell part it from its neighbors."""
    return (0, cell - 1) if cell >= _SPACIOUS else (cell - 1,) if cell >= 12 else ()


def _largest(values, starts):
    return np.maximum.reduceat(np.maximum.reduceat(values, starts, axis=0), starts, axis=1)


def _write_names(box, x, layout):
    style = {"size": layout.size, "color": INK, "parse_math": False}
    for place, name in layout.shown.items():
        at = (place + 0.5) * layout.cell
        box.text(x - 8, _TOP + at, name, ha="right", va="center_baseline", **style)
        turned = {"rotation": 90, "va": "top"} if layout.upright else {"va": "top"}
        box.text(x + at, _TOP + layout.side + 8, name, ha="center", **turned, **style)


def _write_cells(box, x, cell, counts, totals):
    room = cell >= 52
    for row, column in np.argwhere(counts > 0):
        count, total = counts[row, column], totals[row]
        place = {"ha": "center", "va": "center_baseline", "color": "white" if count > 0.35 * total else INK}
        at = x + (column + 0.5) * cell + 1, _TOP + (row + 0.5) * cell + 1
        percent = _percent(count, total)
        box.text(at[0], at[1] - 7 * room, percent + " %" * room, size=10.5 if room else 8.5, **place)
        if room and len(f"{count:,}") <= 7:
            box.text(at[0], at[1] + 10, f"{count:,}", size=8, **place)


def _write_panel(box, x, names, counts, totals, key):
    y = _TOP + 10
    if key:
        _write_key(box, x, y)
        y += 84
    wrong = counts - np.diag(np.diag(counts))
    rows, columns = np.unravel_index(np.argsort(-wrong, axis=None, kind="stable")[:_LISTED], wrong.shape)
    pairs = [(i, j) for i, j in zip(rows, columns) if wrong[i, j]]
    short, _ = fitted([names[k] for pair in pairs for k in pair], 9.5, (_LIST_ROOM - 20) / 2)
    mistakes = [
        (f"{name} → {other}", f"{wrong[pair]:,} of {totals[pair[0]]:,}")
        for pair, name, other in zip(pairs, short[::2], short[1::2])
    ]
    y = _write_list(box, x, y, "Most frequent mistakes", mistakes or [("none", "")])
    known = np.where(totals > 0, np.diag(counts) / np.maximum(totals, 1), np.inf)
    least = [k for k in np.argsort(known, kind="stable")[:_LISTED] if totals[k]]
    entries = [(names[k], f"{_percent(counts[k, k], totals[k])} % of {totals[k]:,}") for k in least]
    _write_list(box, x, y + 40, "Known least", entries)


def _write_list(box, x, y, heading, entries):
    """Returns where the list ends."""
    box.text(x, y, heading, size=11, weight="bold")
    y += 4
    shown, _ = fitted([name for name, _ in entries], 9.5, _LIST_ROOM)
    for (_, figure), name in zip(entries, shown):
        y += 18
        box.text(x, y, name, size=9.5, parse_math=False)
        box.text(x + _PANEL - 22, y, figure, size=9.5, color=MUTED, ha="right")
    return y


def _write_key(box, x, y):
    """What the colors say."""
    length, high = 240, 10
    ramp = np.linspace(0, 1, length, dtype=np.float32)[None, :, None]
    for place, (color, meaning) in enumerate(((BLUE, "right"), (ORANGE, "wrong"))):
        top = y + place * (high + 6)
        axes = box.figure.add_axes(box.bounds(x, top, length, high))
        axes.set_axis_off()
        axes.imshow(1 - ramp * (1 - np.float32(to_rgb(color))), interpolation="nearest", aspect="auto")
        box.text(x + length + 10, top + high - 1, meaning, size=9.5, color=MUTED)
    for share in (0, 0.01, 0.05, 0.2, 0.5, 1):
        place = x + length * math.sqrt(share)
        box.text(place, y + 48, f"{100 * share:g}" + " %" * (share == 1), size=8, color=MUTED, ha="center")


def _percent(count, total):
    """Whole percents, of which neither 0 nor 100 is said unless it is meant."""
    percent = round(100 * count / total)
    if percent == 0 and count:
        return "<1"
    return ">99" if percent == 100 and count < total else f"{percent}"
