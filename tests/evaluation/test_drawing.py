"""What all figures share: PNG files and short names."""

import io
import warnings

import matplotlib
import numpy as np
import tensorflow as tf
from PIL import Image

from simclr_keras.evaluation import drawing
from simclr_keras.evaluation.drawing import new_figure, png_bytes, save_figure, short
from simclr_keras.evaluation.figures.confusion_plot import confusion_figure


def test_path_open_file_and_gfile_get_the_same_png(tmp_path):
    figure = new_figure(40, 30)
    save_figure(figure, tmp_path / "path.png")
    with open(tmp_path / "file.png", "wb") as file:
        save_figure(figure, file)
    with tf.io.gfile.GFile(str(tmp_path / "gfile.png"), "wb") as file:
        save_figure(figure, file)
    contents = {(tmp_path / f"{name}.png").read_bytes() for name in ("path", "file", "gfile")}
    assert contents == {png_bytes(figure)}
    assert Image.open(io.BytesIO(png_bytes(figure))).size == (40, 30)


def test_short_names():
    assert short("two  lines\nin one") == "two lines in one"
    assert short("x" * 20) == "x" * 20
    assert short("abcdef", 4) == "abc…"
    assert short("abcdef", 4, keep_end=True) == "…def"
    assert short(r"$\frac$") == r"\$\frac\$"  # else matplotlib would typeset a formula
    assert short(7) == "7"


def test_characters_of_no_font_become_escapes(monkeypatch):
    monkeypatch.setattr(drawing, "_OTHER_FONTS", ())
    assert short("caf\u00e9 \u732b") == r"caf\u00e9 \u732b".replace(r"\u00e9", "\u00e9")
    assert short("a\x07 \udcff") == r"a\x07 \udcff"
    assert short("\u732b" * 4) == r"\u732b\u732b\u732b…"  # not cut inside an escape
    assert short("\u732b" * 4, 10, keep_end=True) == r"…\u732b"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each missing glyph
        png_bytes(confusion_figure(np.eye(2), ["\u732b", "\u72ac$"]))


def test_other_fonts_draw_what_the_first_lacks(monkeypatch):
    combining = "e\u0359"  # in STIXGeneral, which comes with matplotlib, and not in DejaVu Sans
    assert short(combining) == r"e\u0359"
    monkeypatch.setattr(drawing, "_OTHER_FONTS", ("A missing font", "STIXGeneral"))
    assert short(combining) == combining
    with drawing.own_style():
        assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "STIXGeneral"]


def test_the_style_of_the_user_changes_nothing():
    def picture():
        return png_bytes(confusion_figure(np.array([[3, 1], [0, 2]])))

    before = picture()
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.grid": True}):
        assert picture() == before
        assert matplotlib.rcParams["font.size"] == 30
