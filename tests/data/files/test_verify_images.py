"""The search for unreadable images: what is found, remembered, shown and said, and what stays silent."""

import csv
import math
import os
import select
import sys
import time

import pytest
import tensorflow as tf

from simclr_keras.data.files import image_file, verify_images
from simclr_keras.data.files.manifest import Manifest, stamps_of
from simclr_keras.errors import InputError
from simclr_keras.preprocess import decode
from tests.as_windows import link, pipe
from tests.data.pictures import flat, jpeg, load, pixels, png, unreadable_files


def test_unreadable_images_are_skipped_and_listed(tmp_path, cache):
    flat(tmp_path, 3)
    unreadable_files(tmp_path)
    splits = load(tmp_path)
    assert list(splits.train.ids) == ["0.png", "1.png", "2.png"]
    note = next(note for note in splits.notes if "unreadable" in note)
    assert note.startswith("skipped 5 unreadable images")
    assert (
        "empty.png (is empty), folder.jpg (is a folder), jp2.jpg (is a JPEG 2000 image: convert it to JPEG or PNG), ..."
        in note
    )
    (listed,) = cache.glob("*.csv")
    assert str(listed) in note
    expected = [
        ("empty.png", "is empty"),
        ("folder.jpg", "is a folder"),
        ("jp2.jpg", "is a JPEG 2000 image: convert it to JPEG or PNG"),
        ("short.jpg", "is damaged or incomplete (a JPEG)"),
        ("text.jpg", "is not an image of a known format"),
    ]
    assert splits.unreadable == tuple(expected)
    with listed.open(newline="") as file:
        assert list(csv.reader(file)) == [["file", "problem"], *map(list, expected)]
    for name in ("empty.png", "jp2.jpg", "short.jpg", "text.jpg"):
        png(tmp_path / name)
    (tmp_path / "folder.jpg").rmdir()
    assert load(tmp_path).unreadable == ()
    assert not list(cache.glob("*.csv"))


def _known_good(root):
    names = sorted(image.name for image in root.iterdir())
    return Manifest(root).read(names, stamps_of([str(root / name) for name in names]))[0].astype(bool).sum()


def test_interrupted_search_keeps_its_results(tmp_path, load_interrupted):
    flat(tmp_path, 100)
    load_interrupted(tmp_path, 40)
    assert _known_good(tmp_path) == 40
    assert load(tmp_path).train.num_examples == 100


def test_killed_search_keeps_what_it_wrote(tmp_path, monkeypatch):
    flat(tmp_path, 20)
    search = verify_images._search

    def killed(*arguments):
        for count, result in enumerate(search(*arguments)):
            if count == 12:
                # Whoever is killed writes nothing more.
                monkeypatch.setattr(Manifest, "write", lambda *_, **__: None)
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(verify_images, "_SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(verify_images, "_search", killed)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)
    assert _known_good(tmp_path) == 12


def test_libjpeg_is_silent_others_are_not(tmp_path, capfd):
    flat(tmp_path, 2)
    jpeg(tmp_path / "odd.jpg")
    whole = (tmp_path / "odd.jpg").read_bytes()
    (tmp_path / "odd.jpg").write_bytes(whole[:-40] + bytes(100) + whole[-2:])
    decode((tmp_path / "odd.jpg").read_bytes())
    assert "extraneous bytes" in capfd.readouterr().err
    assert load(tmp_path).train.num_examples == 3
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_progress_bar_on_a_terminal_only_if_it_takes_long(tmp_path, monkeypatch):
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        flat(tmp_path, 40)
        monkeypatch.setattr(verify_images, "_SECONDS_BEFORE_PROGRESS", math.inf)
        load(tmp_path)
        monkeypatch.setattr(verify_images, "_SECONDS_BEFORE_PROGRESS", 0.0)
        monkeypatch.setattr(
            verify_images, "check_file", lambda path, copies: time.sleep(0.02) or image_file.FileCheck("", 1)
        )
        for image in tmp_path.iterdir():
            os.utime(image, ns=(0, 0))
        os.write(slave, b"from here on")
        load(tmp_path)
        shown = ""
        while "40/40" not in shown and select.select([master], [], [], 10)[0]:
            shown += os.read(master, 10_000).decode()
    os.close(master)
    assert shown.startswith("from here on")
    assert "checking images" in shown
    assert "40/40" in shown


def test_progress_in_a_log_is_shown_only_if_it_takes_long(tmp_path, monkeypatch, capfd):
    flat(tmp_path, 40)
    load(tmp_path)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(verify_images, "_SECONDS_BEFORE_PROGRESS", 0.0)
    load(tmp_path, recheck=True)
    log = capfd.readouterr().err
    assert "checking images" in log
    assert log.count("checking") <= 2


def test_search_without_standard_error(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_images, "_SECONDS_BEFORE_PROGRESS", 0.0)
    monkeypatch.setattr(sys, "stderr", None)
    flat(tmp_path, 20)
    assert load(tmp_path).train.num_examples == 20


def test_remote_files_are_searched_and_remembered(tried):
    for name, image in {"a.png": 0, "b.png": 1, "c.png": 2}.items():
        tf.io.gfile.makedirs("ram://photos")
        with tf.io.gfile.GFile(f"ram://photos/{name}", "wb") as file:
            file.write(tf.io.encode_png(pixels(image)).numpy() if name != "b.png" else b"text")
    splits = load("ram://photos")
    assert list(splits.train.ids) == ["a.png", "c.png"]
    assert splits.unreadable == (("b.png", "is not an image of a known format"),)
    tried.clear()
    load("ram://photos")
    assert tried == ["b.png"]


def test_on_bad_image_error(tmp_path, cache):
    flat(tmp_path, 3)
    load(tmp_path, on_bad_image="error")
    unreadable_files(tmp_path)
    with pytest.raises(InputError, match=r"5 of the 8 image files.*are unreadable") as raised:
        load(tmp_path, on_bad_image="error")
    message = str(raised.value)
    assert (
        "empty.png (is empty), folder.jpg (is a folder), jp2.jpg (is a JPEG 2000 image: convert it to JPEG or PNG), ..."
        in message
    )
    assert str(next(cache.glob("*.csv"))) in message
    assert "--on_bad_image=skip skips them" in message
    assert "\n" not in message


def test_irregular_files_are_named_and_never_waited_for(tmp_path):
    flat(tmp_path, 2)
    pipe(tmp_path / "pipe.jpg")
    link(tmp_path / "nothing.jpg", tmp_path / "gone.jpg")
    link(tmp_path / "circle.jpg", tmp_path / "circle.jpg")
    link(tmp_path / "loop", tmp_path)
    link(tmp_path / "link.png", tmp_path / "0.png")
    splits = load(tmp_path)
    assert list(splits.train.ids) == ["0.png", "1.png", "link.png"]
    assert splits.unreadable == (
        ("circle.jpg", "is a circular link"),
        ("nothing.jpg", "is a broken link"),
        ("pipe.jpg", "is not a regular file"),
    )


def test_permission_denied_is_named(tmp_path, monkeypatch):
    # Not chmod: root may read everything, and the suite may run as root.
    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    flat(tmp_path, 1)
    monkeypatch.setattr(image_file, "open", lambda path, mode: denied(path), raising=False)
    assert image_file.problem_of(str(tmp_path / "0.png")) == "cannot be read: permission denied"


def test_image_that_becomes_unreadable_is_one_line(tmp_path, monkeypatch):
    flat(tmp_path, 3)
    monkeypatch.setattr(verify_images, "check_file", lambda path, copies: image_file.FileCheck("", 1))
    (tmp_path / "1.png").unlink()
    link(tmp_path / "1.png", "gone")
    with pytest.raises(InputError, match=r"/1\.png; No such file.*rerun") as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)
