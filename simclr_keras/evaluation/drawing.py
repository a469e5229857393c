"""What all figures share: colors, an empty figure, short names, PNG files. No pyplot, so no global state."""

import io
from typing import BinaryIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 100
INK, MUTED, GRID, CARD = "#1f2933", "#616e7c", "#e4e7eb", "#eef1f4"
BLUE, ORANGE, GREEN, PURPLE, TEAL = "#2266aa", "#d9651d", "#2b8a5b", "#7a4fa3", "#3a8fa8"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white Figure of `width` x `height` pixels with constrained layout."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    FigureCanvasAgg(figure)
    return figure


def set_heading(figure: Figure, heading: str, subtitle: str) -> None:
    """Write a bold heading at the upper left, and a subtitle below it."""
    # The line break makes the layout keep a line free for the subtitle.
    figure.suptitle(f"{heading}\n", x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK)
    figure.text(0.012, 1 - 48 / (figure.get_figheight() * DPI), subtitle, color=MUTED)


def hide_frame(axes: Axes) -> None:
    """Remove ticks and the frame, but keep title and labels."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def short(name: object, length: int = 20, keep_end: bool = False) -> str:
    """Return a name on one line of at most `length` characters, with "$" escaped for matplotlib.

    Args:
        keep_end: keep the end instead of the beginning, for file names.
    """
    text = " ".join(str(name).split())
    if len(text) > length:
        text = "…" + text[1 - length :] if keep_end else text[: length - 1] + "…"
    return text.replace("$", r"\$")


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as the content of a PNG file."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def save_figure(figure: Figure, file: str | BinaryIO) -> None:
    """Write a figure as PNG to a path or to an open binary file, such as a tf.io.gfile.GFile."""
    png = png_bytes(figure)
    if hasattr(file, "write"):
        file.write(png)
    else:
        with open(file, "wb") as opened:
            opened.write(png)
