"""What all pictures share: PNG files and text that fits."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.evaluation.drawing import fitted, new_figure, save_figure
from tests.evaluation.pixels import pixels_of


def test_a_path_an_open_file_and_gfile_get_the_same_png(tmp_path):
    figure = new_figure(40, 30)
    figure.text(0, 0, "text")
    save_figure(figure, tmp_path / "path.png")
    with open(tmp_path / "file.png", "wb") as file:
        save_figure(figure, file)
    with tf.io.gfile.GFile(str(tmp_path / "gfile.png"), "wb") as file:
        save_figure(figure, file)
    first, *others = ((tmp_path / f"{name}.png").read_bytes() for name in ("path", "file", "gfile"))
    assert first.startswith(b"\x89PNG")
    assert others == [first, first]


def test_a_figure_has_the_pixels_it_was_asked_for():
    assert pixels_of(new_figure(123, 45)).shape == (45, 123, 3)


@pytest.mark.parametrize("size", [7, 10])
def test_strings_are_cut_to_the_room_and_no_further(size):
    strings = ["short", "W" * 60, "", r"$\frac$ _^", "two  lines\nin one"]
    shown, width = fitted(strings, size, 150)
    assert shown[0] == "short"
    assert shown[1].endswith("…")
    assert shown[2:] == ["", r"$\frac$ _^", "two lines in one"]
    assert 130 < width <= 150
    assert fitted([shown[1][:-1] + "W…"], size, 1000)[1] > 150


def test_the_width_is_what_is_drawn():
    _, width = fitted(["abc"], 20, 200)
    figure = new_figure(200, 60)
    figure.text(0, 0.5, "abc", fontsize=20, parse_math=False)
    inked = np.flatnonzero((pixels_of(figure) < 128).any(axis=(0, 2)))
    assert abs(inked[-1] + 1 - width) <= 3
