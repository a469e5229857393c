"""examples/image_search.py."""

import os

import pytest

from simclr_keras.config import command_line
from tests.data.pictures import flat
from tests.earlier_runs import DIGITS, finetuning, make_run
from tests.examples.scripts import load

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

image_search = load("image_search")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two runs, and photos/ of 6 images of which two are the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_run(tmp_path / "run", finetuning("digits", 10), DIGITS)
    flat(tmp_path / "photos", 5)
    (tmp_path / "photos" / "same.png").write_bytes((tmp_path / "photos" / "3.png").read_bytes())
    return tmp_path


def search(place, *words, query="photos/3.png"):
    words = [
        "image_search",
        f"--model={place}/run",
        f"--images={place}/photos",
        f"--query={place}/{query}",
        *words,
    ]
    return command_line.run(image_search.main, words, "image_search")


def test_the_most_alike_come_first(place, capsys):
    assert search(place, "--k=4") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line[0] in "01"]
    cosines, names = zip(*(line.split("  ") for line in lines))
    assert {*names[:2]} == {f"{place}/photos/3.png", f"{place}/photos/same.png"}
    assert cosines[:2] == ("1.000", "1.000")
    assert list(cosines) == sorted(cosines, reverse=True)
    assert len(lines) == 4


def test_the_folder_is_embedded_once(place, capsys):
    assert search(place) == 0
    before = os.stat(place / "photos.npz").st_mtime_ns
    said = capsys.readouterr().out
    assert "features 6 x 64" in said
    assert search(place) == 0
    assert os.stat(place / "photos.npz").st_mtime_ns == before
    assert capsys.readouterr().out == "".join(said.splitlines(keepends=True)[-5:])


def test_an_image_from_elsewhere(place, capsys):
    os.rename(place / "photos" / "same.png", place / "query.png")
    assert search(place, "--k=1", query="query.png") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1.000  {place}/photos/3.png"


def test_what_is_wrong_is_one_line(place, capsys):
    assert search(place, query="photos/none.png") == 2
    error = capsys.readouterr().err
    assert "none.png is missing; give an image file" in error
    assert error.count("\n") == 1
    assert search(place) == 0
    os.rename(place / "run", place / "other")
    words = [
        "image_search",
        f"--model={place}/other",
        f"--images={place}/photos",
        f"--query={place}/photos/3.png",
    ]
    assert command_line.run(image_search.main, words, "image_search") == 2
    assert f"photos.npz was made with --model={place}/run; give that, or delete" in capsys.readouterr().err
