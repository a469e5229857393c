"""What every picture here is made of: colors, a canvas counted in pixels, text that fits, PNG. Without pyplot."""

import io
import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

DPI = 100  # pixels per inch of every figure, so that the layouts below can count in pixels
HAIR = 1e-6  # pixels
INK, MUTED, GRID, CARD = "#1f2933", "#616e7c", "#e4e7eb", "#eef1f4"
BLUE, ORANGE, GREEN, PURPLE = "#2266aa", "#d9651d", "#2b8a5b", "#7a4fa3"


def new_figure(width, height, **kwargs):
    """An empty white matplotlib Figure of so many pixels, on a canvas of its own."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", **kwargs)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, file):
    """Writes `figure` as PNG to a path or to an open binary file (a tf.io.gfile.GFile will do)."""
    png = png_bytes(figure)
    if hasattr(file, "write"):
        file.write(png)
    else:
        with open(file, "wb") as opened:
            opened.write(png)


def png_bytes(figure):
    """A figure as the content of a PNG file."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


class PixelBoxes:
    """Places things on a figure in pixels from its upper left corner."""

    def __init__(self, figure, width, height):
        self.figure, self.width, self.height = figure, width, height

    def bounds(self, x, y, width, height):
        """What `Figure.add_axes` wants of a box whose upper left corner is (x, y)."""
        return (
            x / self.width,
            1 - (y + height) / self.height,
            width / self.width,
            height / self.height,
        )

    def rectangle(self, x, y, width, height, color):
        x, y, width, height = self.bounds(x, y, width, height)
        # zorder: behind the axes.
        place = {"transform": self.figure.transFigure, "zorder": -1}
        return Rectangle((x, y), width, height, color=color, linewidth=0, **place)

    def text(self, x, y, text, size=10, color=INK, **kwargs):
        x, y = x / self.width, 1 - y / self.height
        return self.figure.text(x, y, text, fontsize=size, color=color, **kwargs)


def fitted(strings, size, room):
    """Cuts strings to at most `room` pixels at a font size in points.

    Returns:
        (list of strings, the width of the widest in whole pixels)
    """
    text = new_figure(DPI, DPI).text(0, 0, "", fontsize=size, parse_math=False)
    shown, width = [], 0
    for string in strings:
        text.set_text(" ".join(str(string).split()))
        shorten(text, room)
        shown.append(text.get_text())
        width = max(width, math.ceil(text.get_window_extent().width))
    return shown, width


def shorten(text, room):
    """Cuts a Text artist to at most `room` pixels, but to no less than a character."""
    _cut(text, room, lambda whole, length: whole[:length].rstrip() + "…")


def keep_end(text, room):
    """As `shorten`, at its beginning: of file names the end tells them apart."""
    _cut(text, room, lambda whole, length: "…" + whole[-length:].lstrip())


def _cut(text, room, part):
    """Shows the longest part(whole, length) of a text that takes at most `room` pixels."""
    whole = text.get_text()
    if text.get_window_extent().width <= room:
        return
    low, high = 1, max(len(whole) - 1, 1)
    while low <= high:
        length = (low + high) // 2
        text.set_text(part(whole, length))
        if text.get_window_extent().width <= room:
            low = length + 1
        else:
            high = length - 1
    text.set_text(part(whole, max(high, 1)))
