"""The map of all images: their vectors brought to a plane by PCA or t-SNE, with small pictures among the dots."""

import colorsys

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation.drawing import GRID, INK, MUTED, PixelBoxes, fitted, new_figure, shorten

SIDE = 44  # pixels of a picture
MOST_TSNE = 5000  # images that t-SNE takes: some minutes
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1120, 900, 28, 72, 28
_BORDER, _APART, _INSET = 2, 6, 34
_MOST_NAMED, _LEGEND_ROOM = 24, 150
_COLORS = (
    "#2266aa", "#d9651d", "#2b8a5b", "#7a4fa3", "#c0392b", "#17a2b8", "#b8860b", "#d6589f", "#6b7a1f", "#5c6b7a",
)  # fmt: skip


def places(features, method, seed):
    """Brings vectors to a plane.

    Args:
        features: float [n, d], scaled to length 1 first, as only directions are compared. method: "pca" or "tsne".
        seed: int.

    Returns:
        (float [n, 2], a line that says what was done)

    Raises:
        InputError: fewer than 3 images.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(features) < 3:
        raise InputError(f"a map takes at least 3 images. Received: {len(features)}")
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    kept = min(50 if method == "tsne" else 2, *unit.shape)
    pca = PCA(kept, random_state=seed)
    reduced = pca.fit_transform(unit.astype(np.float64))
    reduced = np.pad(reduced, [(0, 0), (0, max(2 - kept, 0))])
    if method == "pca":
        # Of vectors that are all alike there is no variance to share.
        shares = np.nan_to_num(np.pad(pca.explained_variance_ratio_, (0, max(2 - kept, 0))))
        return reduced, f"PCA: {shares[0]:.0%} of the variance across, {shares[1]:.0%} upwards"
    perplexity = min(30.0, (len(unit) - 1) / 3)
    # "random" where PCA has nothing to begin with.
    init = "pca" if reduced.shape[1] >= 2 and np.ptp(reduced) > 0 else "random"
    found = TSNE(2, perplexity=perplexity, init=init, random_state=seed).fit_transform(
        reduced.astype(np.float32)
    )
    return found, f"t-SNE with perplexity {perplexity:.3g}: near means alike, far says little"


def in_pixels(points, legend):
    """Where points lie on the figure: float [n, 2], x and y in pixels from the upper left corner of the map."""
    width, height = _size(legend)
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1)
    inside = np.array([width, height]) - 2 * _INSET
    shares = np.where(high > low, (points - low) / span, 0.5)
    return _INSET + np.stack([shares[:, 0], 1 - shares[:, 1]], 1) * inside


def choose_pictures(pixels, seed):
    """Rows of points whose pictures do not touch each other, chosen in a random order: int [m]."""
    reach = SIDE + 2 * _BORDER + _APART
    taken, chosen = {}, []
    for row in np.random.default_rng(seed).permutation(len(pixels)):
        x, y = pixels[row]
        cell = (int(x // reach), int(y // reach))
        near = [taken.get((cell[0] + i, cell[1] + j)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        if all(other is None or np.abs(pixels[other] - pixels[row]).max() >= reach for other in near):
            taken[cell] = row
            chosen.append(row)
    return np.array(chosen, np.int64)


def legend_of(labels, class_names):
    """Dict of label to name for the legend; empty where there are no labels or too many classes."""
    present = [] if labels is None else [int(label) for label in np.unique(labels[labels >= 0])]
    names = {label: str(label) if class_names is None else class_names[label] for label in present}
    return names if len(names) <= _MOST_NAMED else {}


def map_figure(pixels, rows, pictures, labels, legend, title, told):
    """Draws the map.

    Args:
        pixels: float [n, 2] of `in_pixels`. rows: int [m] of those with a picture.
        pictures: uint8 [m, SIDE, SIDE, 3]. labels: int [n] with -1 for none, or None. legend: of `legend_of`.
        title: of model and endpoint. told: how the places were found.

    Returns:
        A matplotlib Figure; its one axes count pixels.
    """
    width, height = _size(legend)
    figure = new_figure(_WIDTH, _HEIGHT)
    box = PixelBoxes(figure, _WIDTH, _HEIGHT)
    head = box.text(
        _LEFT, 32, f"Map of {len(pixels):,} images by {title}", size=14, weight="bold", parse_math=False
    )
    shorten(head, _WIDTH - 2 * _LEFT)
    box.text(_LEFT, 54, told, color=MUTED)
    axes = figure.add_axes(box.bounds(_LEFT, _TOP, width, height))
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(GRID)
    colors = _colors(labels, len(pixels))
    size = float(np.clip(4000 / len(pixels), 6, 30))
    axes.scatter(pixels[:, 0], pixels[:, 1], s=size, c=colors, linewidths=0, alpha=0.8)
    for row, picture in zip(rows, pictures):
        left, top = (round(float(value) - SIDE / 2) for value in pixels[row])
        _paint(axes, left - _BORDER, top - _BORDER, np.full([SIDE + 2 * _BORDER] * 2 + [3], colors[row]))
        _paint(axes, left, top, picture)
    axes.set(xlim=(0, width), ylim=(height, 0))
    _draw_legend(box, figure, labels, legend)
    return figure


def _paint(axes, left, top, picture):
    height, width = picture.shape[:2]
    extent = (left, left + width, top + height, top)
    axes.imshow(picture, extent=extent, interpolation="nearest", aspect="auto", zorder=3)


def _draw_legend(box, figure, labels, legend):
    x = _WIDTH - _LEFT - _LEGEND_ROOM
    names, _ = fitted(legend.values(), 10, _LEGEND_ROOM - 22)
    for place, (label, name) in enumerate(zip(legend, names)):
        y = _TOP + 4 + 26 * place
        figure.add_artist(box.rectangle(x, y, 14, 14, color=_color(label)))
        box.text(x + 22, y + 11, name, color=INK, parse_math=False)
    if legend and (labels < 0).any():
        y = _TOP + 4 + 26 * len(legend)
        figure.add_artist(box.rectangle(x, y, 14, 14, color=_UNKNOWN))
        box.text(x + 22, y + 11, "not labeled", color=MUTED)


def _size(legend):
    return _WIDTH - 2 * _LEFT - (_LEGEND_ROOM + 18 if legend else 0), _HEIGHT - _TOP - _BOTTOM


_UNKNOWN = (0.72, 0.75, 0.79)


def _colors(labels, count):
    if labels is None:
        return np.tile(_color(0), (count, 1))
    return np.array([_color(int(label)) if label >= 0 else _UNKNOWN for label in labels])


def _color(label):
    """Of a class, as three numbers; beyond the first ten, hues that neighbors do not share."""
    if label < len(_COLORS):
        return tuple(int(_COLORS[label][i : i + 2], 16) / 255 for i in (1, 3, 5))
    turn = label - len(_COLORS)
    return colorsys.hls_to_rgb(turn * 0.618 % 1, (0.36, 0.52, 0.66)[turn % 3], 0.6)
