"""What all figures share: PNG files and short names."""

import io

import tensorflow as tf
from PIL import Image

from simclr_keras.evaluation.drawing import new_figure, png_bytes, save_figure, short


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
