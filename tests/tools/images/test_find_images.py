"""Files and folders that are named one by one."""

import os

from simclr_keras.data.files import image_file
from simclr_keras.tools.images.find_images import find_images
from tests.data.pictures import flat, png


def test_files_and_folders_in_their_order_each_image_once(tmp_path):
    flat(tmp_path / "b", 2)
    flat(tmp_path / "b" / "deep", 1)
    flat(tmp_path / "a", 1)
    words = [f"{tmp_path}/{name}" for name in ("b", "a/0.png", "b/1.png", "a")]
    good, bad = find_images(words)
    assert list(good) == [f"{tmp_path}/{name}" for name in ("b/0.png", "b/1.png", "b/deep/0.png", "a/0.png")]
    assert bad == []


def test_a_file_needs_no_ending(tmp_path):
    png(tmp_path / "picture")
    assert find_images([f"{tmp_path}/picture"]) == ({f"{tmp_path}/picture": f"{tmp_path}/picture"}, [])


def test_everything_else_is_told_with_a_reason(tmp_path):
    png(tmp_path / "a" / "good.png")
    (tmp_path / "a" / "text.jpg").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loose.png").write_bytes(b"")
    good, bad = find_images([f"{tmp_path}/{name}" for name in ("a", "empty", "loose.png", "none.png")])
    assert list(good) == [f"{tmp_path}/a/good.png"]
    assert dict(bad) == {
        f"{tmp_path}/a/text.jpg": "is not an image of a known format",
        f"{tmp_path}/empty": "contains no image files",
        f"{tmp_path}/loose.png": "is empty",
        f"{tmp_path}/none.png": "is missing",
    }


def test_what_may_not_be_read(tmp_path, monkeypatch):
    png(tmp_path / "a" / "closed.png")

    def refuse(*_):  # as root, who may read everything, would not be
        raise PermissionError

    monkeypatch.setattr(image_file, "open", refuse, raising=False)
    assert find_images([f"{tmp_path}/a"])[1] == [
        (f"{tmp_path}/a/closed.png", "cannot be read: permission denied")
    ]


def test_a_name_that_is_not_utf8_is_one_of_those(tmp_path):
    png(tmp_path / "a.png")
    good, bad = find_images([f"{tmp_path}/\udcff.png", f"{tmp_path}/a.png"])
    assert list(good) == [f"{tmp_path}/a.png"]
    assert bad == [(f"{tmp_path}/\\udcff.png", "has a name that is not UTF-8")]
    os.mkdir(os.fsencode(tmp_path) + b"/folder\xff")
    assert find_images([str(tmp_path)])[1][0] == (
        f"{tmp_path}/folder\\udcff/",
        "has a name that is not UTF-8",
    )
