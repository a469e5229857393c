"""Empty figures, short names and PNG files for all figures. No pyplot, so no global state."""

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import BinaryIO

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simclr_keras.evaluation.colors import INK, MUTED

DPI = 100
_FONT = "DejaVu Sans"  # comes with matplotlib
# Fonts of Chinese, Japanese and Korean on the usual systems. The fonts of the user's own matplotlibrc precede them.
_OTHER_FONTS = ("Noto Sans CJK SC", "WenQuanYi Zen Hei", "IPAexGothic", "NanumGothic")  # Linux
_OTHER_FONTS += ("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS")  # Windows and macOS


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Draw with matplotlib's defaults, whatever style the user has set, but with more fonts for class names."""
    with matplotlib.rc_context():
        fonts = _fonts()
        matplotlib.rcdefaults()
        matplotlib.rcParams["font.family"] = fonts
        yield


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

    A character that no installed font has becomes its escape, such as \\u732b, as in config.json and card.json.

    Args:
        keep_end: keep the end instead of the beginning, for file names.
    """
    fonts, pieces = _fonts(), []
    for character in " ".join(str(name).split()):
        has_glyph = any(ord(character) in _glyphs(font) for font in fonts)
        pieces.append(character if has_glyph else character.encode("unicode_escape").decode())
    if sum(map(len, pieces)) > length:
        while sum(map(len, pieces)) >= length:  # by whole escapes
            del pieces[0 if keep_end else -1]
        pieces.insert(0 if keep_end else len(pieces), "…")
    return "".join(pieces).replace("$", r"\$")


def _fonts():
    """Return the installed fonts to draw with; matplotlib takes each character from the first that has it."""
    style = matplotlib.rcParams
    fonts = [_FONT, *style["font.family"], *style["font.sans-serif"], *_OTHER_FONTS]
    installed = {_FONT, *font_manager.get_font_names()}
    return [font for font in dict.fromkeys(fonts) if font in installed]


@functools.cache
def _glyphs(font):
    return frozenset(font_manager.get_font(font_manager.findfont(font)).get_charmap())


@own_style()
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
