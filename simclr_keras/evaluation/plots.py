"""The pictures of a run: view pairs at its start, curves at its end. Drawn without pyplot's global state."""

import io
import itertools
import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simclr_keras.errors import InputError

_DPI = 100  # pixels per inch of every figure, so that the layouts below can count in pixels
_HAIR = 1e-6  # pixels
_INK, _MUTED, _GRID, _CARD = "#1f2933", "#616e7c", "#e4e7eb", "#eef1f4"
_BLUE, _ORANGE, _GREEN, _PURPLE = "#2266aa", "#d9651d", "#2b8a5b", "#7a4fa3"

# One entry per panel: title, unit, and the columns it may hold as {column: (label, color)}.
# Columns in "%" are shares in [0, 1] in metrics.csv.
_PANELS = (
    ("Contrastive loss", "nats, both directions summed", {"contrastive_loss": ("", _BLUE)}),
    ("Contrastive accuracy", "%", {"contrastive_accuracy": ("", _BLUE)}),
    (
        "Top-1 on the evaluation split",
        "%",
        {"knn_top1": ("kNN", _GREEN), "probe_top1": ("online linear probe", _ORANGE)},
    ),
    ("Learning rate", "", {"learning_rate": ("", _PURPLE)}),
)


def view_pairs_figure(views, titles=None, *, max_pairs=16):
    """A grid of image pairs, view 1 above view 2, each pair on a card of its own.

    Small views are enlarged by a whole number, every pixel a square; views above 256 px are reduced.

    Args:
        views: floats in [0, 1], [n, 2, S, S, 3]; values outside are clipped.
        titles: n strings written above the pairs (class names, ids), or None.
        max_pairs: pairs drawn at most, the first ones.

    Returns:
        A matplotlib Figure; its axes are view 1 and view 2 of pair 0, then of pair 1, and so on.
    """
    views = np.asarray(views)
    if views.ndim != 5 or views.shape[1] != 2 or views.shape[2] != views.shape[3] or views.shape[4] != 3:
        raise InputError(f"views must be [n, 2, S, S, 3]. Received: shape {views.shape}")
    if not len(views):
        raise InputError("there is no view pair to draw")
    if titles is not None and len(titles) != len(views):
        raise InputError(f"titles must be one per pair. Received: {len(titles)} for {len(views)} pairs")
    views = views[:max_pairs]

    size = views.shape[2]
    side = size * max(1, round(128 / size)) if size <= 256 else 224
    pad, seam, gap, left, right = 8, 4, 14, 74, 22
    title_height = 24 if titles is not None else 0
    columns = min(8, len(views))
    rows = math.ceil(len(views) / columns)
    card_width, card_height = side + 2 * pad, 2 * side + seam + 2 * pad + title_height
    top, bottom = 64, 22
    width = max(left + columns * (card_width + gap) - gap + right, 540)
    height = top + rows * (card_height + gap) - gap + bottom

    figure = _figure(width, height)
    box = _PixelBoxes(figure, width, height)
    box.text(left, 26, "View pairs", size=14, weight="bold")
    box.text(left, 48, "two random views of each image, which training pulls together", color=_MUTED)
    for pair, two_views in enumerate(views):
        row, column = divmod(pair, columns)
        x, y = left + column * (card_width + gap), top + row * (card_height + gap)
        figure.add_artist(box.rectangle(x, y, card_width, card_height, color=_CARD))
        if titles is not None:
            _shorten(box.text(x + pad, y + 19, str(titles[pair]), parse_math=False), side)
        for i, view in enumerate(two_views):
            view_y = y + title_height + pad + i * (side + seam)
            # A hair narrower: matplotlib before 3.11 draws 129 pixels where 128 come out as 128.00000000000006.
            axes = figure.add_axes(
                box.bounds(x + pad + _HAIR, view_y + _HAIR, side - 2 * _HAIR, side - 2 * _HAIR)
            )
            axes.set_axis_off()
            # float32 first: bfloat16 and float64 views both end as what the screen shows.
            pixels = np.clip(np.asarray(view, np.float32), 0.0, 1.0)
            axes.imshow(pixels, interpolation="nearest" if side >= size else "auto", aspect="auto")
            if column == 0:
                box.text(left - 12, view_y + side / 2 + 4, f"view {i + 1}", ha="right", color=_MUTED)
    return figure


def curves_figure(rows, references=None):
    """The history of a run: a panel each for what its rows hold of loss, accuracies and learning rate.

    Args:
        rows: dicts as read from metrics.csv, numbers or their text, in order. `epoch` is the x axis
            (`step` where there is none). A value that is missing, empty or not finite is left out, so
            rows without evaluation draw no point. Known columns: contrastive_loss (nats),
            contrastive_accuracy, knn_top1 and probe_top1 (shares in [0, 1]), learning_rate.
        references: {label: top-1 share in [0, 1]} drawn as dashed lines beside kNN and probe, such as
            the kNN accuracy of raw pixels; None for none.

    Returns:
        A matplotlib Figure with one axes per panel; panels without any value are left out.

    Raises:
        InputError: where no known column holds a value.
    """
    x_name = "epoch" if any(_number(row.get("epoch")) is not None for row in rows) else "step"
    panels = []
    for title, unit, columns in _PANELS:
        curves = {name: _curve(rows, x_name, name) for name in columns}
        if any(len(x) for x, _ in curves.values()):
            panels.append((title, unit, columns, curves))
    if not panels:
        known = ", ".join(name for _, _, columns in _PANELS for name in columns)
        raise InputError(f"there is no curve to draw: rows need epoch or step and some of {known}")

    across = {1: 1, 2: 2, 3: 3, 4: 2}[len(panels)]
    down = len(panels) // across
    figure = _figure(560 * across if across < 3 else 1380, 400 * down, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.2, h_pad=0.16, wspace=0.03, hspace=0.03)
    span = _span([x for *_, curves in panels for xs, _ in curves.values() for x in xs])
    for number, (title, unit, columns, curves) in enumerate(panels):
        axes = figure.add_subplot(down, across, number + 1, xlim=span)
        _style(axes, title, unit, x_name)
        for name, (x, y) in curves.items():
            if len(x):
                label, color = columns[name]
                marker = "o" if len(x) <= 40 else None
                label = f"{label}  {_shown(y[-1], unit)}".strip()
                axes.plot(x, y, color=color, label=label, marker=marker, markersize=4, linewidth=1.8)
        ends = {x[-1] for x, _ in curves.values() if x}
        note = f"at {x_name} {ends.pop():g}" if len(ends) == 1 else ""
        if len(columns) == 1:
            note = f"{axes.lines[0].get_label()} {note}"
        else:
            styles = itertools.cycle([(4, 3), (1, 2), (6, 2, 1, 2)])
            for (label, share), dashes in zip((references or {}).items(), styles):
                label = f"{label}  {_shown(share, unit)}"
                axes.axhline(share, color=_MUTED, label=label, dashes=dashes, linewidth=1.4)
            axes.legend(frameon=True, framealpha=0.85, edgecolor="none", labelcolor=_INK, fontsize=9.5)
        axes.set_title(note, loc="right", fontsize=9.5, color=_MUTED, pad=10)
        _limits(axes, unit, floor_at_zero=title == "Learning rate")
    return figure


def save_figure(figure, file):
    """Writes `figure` as PNG to a path or to an open binary file (a tf.io.gfile.GFile will do)."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    if hasattr(file, "write"):
        file.write(png.getvalue())
    else:
        with open(file, "wb") as opened:
            opened.write(png.getvalue())


class _PixelBoxes:
    """Places things on a figure in pixels from its upper left corner."""

    def __init__(self, figure, width, height):
        self.figure, self.width, self.height = figure, width, height

    def bounds(self, x, y, width, height):
        return (
            x / self.width,
            1 - (y + height) / self.height,
            width / self.width,
            height / self.height,
        )

    def rectangle(self, x, y, width, height, color):
        x, y, width, height = self.bounds(x, y, width, height)
        # zorder: behind the axes that show the views.
        place = {"transform": self.figure.transFigure, "zorder": -1}
        return Rectangle((x, y), width, height, color=color, linewidth=0, **place)

    def text(self, x, y, text, size=10, color=_INK, **kwargs):
        x, y = x / self.width, 1 - y / self.height
        return self.figure.text(x, y, text, fontsize=size, color=color, **kwargs)


def _shorten(text, room):
    """Cuts a Text artist to at most `room` pixels."""
    whole = text.get_text()
    for length in range(len(whole) - 1, 0, -1):
        if text.get_window_extent().width <= room:
            return
        text.set_text(whole[:length].rstrip() + "…")


def _figure(width, height, **kwargs):
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white", **kwargs)
    FigureCanvasAgg(figure)
    return figure


def _number(value):
    """A finite float, or None where a cell of a CSV row holds no such number."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _curve(rows, x_name, y_name):
    points = [(_number(row.get(x_name)), _number(row.get(y_name))) for row in rows]
    points = [(x, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def _span(values):
    """The x limits all panels share: a little more than their values, a whole step around a single one."""
    low, high = min(values), max(values)
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def _shown(value, unit):
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.4g}"


def _style(axes, title, unit, x_name):
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=_INK, pad=10)
    axes.set_xlabel(x_name, color=_MUTED)
    if unit == "%":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0, symbol=" %"))
        # Whole percents only: a tick at 2.5 would be shown as 2.
        axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    elif unit:
        axes.set_ylabel(unit, color=_MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0, labelsize=9.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_MUTED)


def _limits(axes, unit, floor_at_zero):
    low, high = axes.get_ylim()
    if unit == "%":
        # At least ten points are shown, so that noise does not look like progress.
        middle, half = (low + high) / 2, max(high - low, 0.1) / 2
        low, high = max(middle - half, 0.0), min(middle + half, 1.0)
        axes.set_ylim(low - 0.004 * (low == 0), high + 0.004 * (high == 1))
    elif floor_at_zero:
        axes.set_ylim(bottom=0.0)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
