"""The search for unreadable images: what is found, remembered, shown and said, and what stays silent."""

import csv
import os
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import image_file, readable
from simclr_keras.data.image_file import problem_of
from simclr_keras.data.manifest import Manifest
from simclr_keras.data.sources import load
from simclr_keras.errors import InputError
from simclr_keras.preprocess import decode


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    return path / "simclr_keras"


def _pixels(seed, channels=3, size=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


def _png(path, seed=0, channels=3, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(_pixels(seed, channels, size)).numpy())


def _jpeg(path, seed=0, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_jpeg(_pixels(seed, channels, (32, 40))).numpy())


def _flat(root, count):
    for i in range(count):
        _png(root / f"{i}.png", i)


def _unreadable_files(root):
    _jpeg(root / "short.jpg")
    whole = (root / "short.jpg").read_bytes()
    (root / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.png").write_bytes(b"")
    (root / "text.jpg").write_text("not an image at all")
    (root / "gif.jpg").write_bytes(b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff;")
    (root / "folder.jpg").mkdir()


def test_unreadable_images_are_left_out_named_and_remembered(tmp_path, cache):
    _flat(tmp_path, 3)
    _unreadable_files(tmp_path)
    splits = load(f"folder:{tmp_path}")
    assert list(splits.train.ids) == ["0.png", "1.png", "2.png"]
    note = next(note for note in splits.notes if "unreadable" in note)
    assert note.startswith("5 unreadable images")
    assert "empty.png (is empty), folder.jpg (is a folder), gif.jpg (is a damaged GIF), ..." in note
    (listed,) = cache.glob("*.csv")
    assert str(listed) in note
    expected = [
        ("empty.png", "is empty"),
        ("folder.jpg", "is a folder"),
        ("gif.jpg", "is a damaged GIF"),
        ("short.jpg", "ends early"),
        ("text.jpg", "is no JPEG, PNG, GIF or BMP image"),
    ]
    assert splits.unreadable == tuple(expected)
    with listed.open(newline="") as file:
        assert list(csv.reader(file)) == [["file", "problem"], *map(list, expected)]
    for name in ("empty.png", "gif.jpg", "short.jpg", "text.jpg"):
        _png(tmp_path / name)
    (tmp_path / "folder.jpg").rmdir()
    assert load(f"folder:{tmp_path}").unreadable == ()
    assert not list(cache.glob("*.csv"))


@pytest.fixture
def tried(monkeypatch):
    """Names of the files that are decoded from now on."""
    names = []

    def count(path):
        names.append(os.path.basename(path))
        return problem_of(path)

    monkeypatch.setattr(readable, "problem_of", count)
    return names


def test_only_new_changed_and_bad_files_are_decoded_again(tmp_path, tried):
    _flat(tmp_path, 4)
    (tmp_path / "2.png").write_bytes(b"broken")
    assert load(f"folder:{tmp_path}").train.num_examples == 3
    assert sorted(tried) == ["0.png", "1.png", "2.png", "3.png"]
    tried.clear()
    assert list(load(f"folder:{tmp_path}").train.ids) == ["0.png", "1.png", "3.png"]
    assert tried == ["2.png"]
    tried.clear()
    _png(tmp_path / "2.png")
    _png(tmp_path / "4.png")
    (tmp_path / "0.png").write_bytes(b"broken")
    os.utime(tmp_path / "3.png", ns=(0, 0))
    (tmp_path / "1.png").unlink()
    assert list(load(f"folder:{tmp_path}").train.ids) == ["2.png", "3.png", "4.png"]
    assert sorted(tried) == ["0.png", "2.png", "3.png", "4.png"]


def _not_an_archive(manifest):
    manifest.write_bytes(b"PK\x03\x04 and no more")


def _of_another_kind(manifest):
    np.savez(manifest, version=np.array("0"), names=np.zeros(3, np.uint8), stamps=np.zeros(3))


def _pickled(manifest):
    with np.load(manifest) as stored:
        arrays = dict(stored)
    np.savez(manifest, **{**arrays, "stamps": np.array([{}] * 3, object)})


def _one_name_too_few(manifest):
    with np.load(manifest) as stored:
        arrays = dict(stored)
    np.savez(manifest, **{**arrays, "names": arrays["names"][:-6]})


@pytest.mark.parametrize("damage", [_not_an_archive, _of_another_kind, _pickled, _one_name_too_few])
def test_a_damaged_manifest_is_made_anew(tmp_path, cache, tried, damage):
    _flat(tmp_path, 3)
    load(f"folder:{tmp_path}")
    (manifest,) = cache.iterdir()
    damage(manifest)
    tried.clear()
    assert load(f"folder:{tmp_path}").train.num_examples == 3
    assert len(tried) == 3
    tried.clear()
    assert load(f"folder:{tmp_path}").train.num_examples == 3
    assert tried == []
    assert list(cache.iterdir()) == [manifest]


def test_an_interrupted_search_keeps_what_it_has_found(tmp_path, monkeypatch):
    _flat(tmp_path, 100)
    search = readable._search

    def interrupted(paths, rows):
        for count, result in enumerate(search(paths, rows)):
            if count == 40:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(readable, "_search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(f"folder:{tmp_path}")
    names = sorted(image.name for image in tmp_path.iterdir())
    stamps = readable._stamps([str(tmp_path / name) for name in names])
    assert Manifest(tmp_path).known_good(names, stamps).sum() == 40
    monkeypatch.setattr(readable, "_search", search)
    assert load(f"folder:{tmp_path}").train.num_examples == 100


def test_a_killed_search_keeps_what_it_wrote_on_the_way(tmp_path, monkeypatch):
    _flat(tmp_path, 20)
    monkeypatch.setattr(readable, "_SECONDS_BETWEEN_WRITINGS", 0.0)
    written = []
    monkeypatch.setattr(Manifest, "write", lambda self, names, stamps, good: written.append(int(good.sum())))
    load(f"folder:{tmp_path}")
    assert written[:20] == list(range(1, 21))


def test_libjpeg_stays_silent_and_what_others_print_is_not_lost(tmp_path, capfd):
    _flat(tmp_path, 2)
    _jpeg(tmp_path / "odd.jpg")
    whole = (tmp_path / "odd.jpg").read_bytes()
    (tmp_path / "odd.jpg").write_bytes(whole[:-40] + bytes(100) + whole[-2:])
    decode((tmp_path / "odd.jpg").read_bytes())
    assert "extraneous bytes" in capfd.readouterr().err
    assert load(f"folder:{tmp_path}").train.num_examples == 3
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_a_bar_is_shown_on_a_terminal_and_only_when_it_takes_time(tmp_path, monkeypatch):
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        _flat(tmp_path, 40)
        load(f"folder:{tmp_path}")
        monkeypatch.setattr(readable, "_SECONDS_BEFORE_THE_BAR", 0.0)
        monkeypatch.setattr(readable, "problem_of", lambda path: time.sleep(0.02) or "")
        for image in tmp_path.iterdir():
            os.utime(image, ns=(0, 0))
        os.write(slave, b"from here on")
        load(f"folder:{tmp_path}")
        shown = os.read(master, 10_000).decode()
    os.close(master)
    assert shown.startswith("from here on")
    assert "checking images" in shown
    assert "40/40" in shown


def test_remote_files_are_searched_and_remembered_too(tried):
    for name, image in {"a.png": 0, "b.png": 1, "c.png": 2}.items():
        tf.io.gfile.makedirs("ram://photos")
        with tf.io.gfile.GFile(f"ram://photos/{name}", "wb") as file:
            file.write(tf.io.encode_png(_pixels(image)).numpy() if name != "b.png" else b"text")
    splits = load("folder:ram://photos")
    assert list(splits.train.ids) == ["a.png", "c.png"]
    assert splits.unreadable == (("b.png", "is no JPEG, PNG, GIF or BMP image"),)
    tried.clear()
    load("folder:ram://photos")
    assert tried == ["b.png"]


def test_bad_images_can_be_refused_in_one_line(tmp_path, cache):
    _flat(tmp_path, 3)
    load(f"folder:{tmp_path}", on_bad_image="error")
    _unreadable_files(tmp_path)
    with pytest.raises(InputError, match=r"5 of the 8 image files.*cannot be used") as raised:
        load(f"folder:{tmp_path}", on_bad_image="error")
    message = str(raised.value)
    assert "empty.png (is empty), folder.jpg (is a folder), gif.jpg (is a damaged GIF), ..." in message
    assert str(next(cache.glob("*.csv"))) in message
    assert "--on_bad_image=skip leaves them out" in message
    assert "\n" not in message
    with pytest.raises(InputError, match="on_bad_image must be skip or error"):
        load(f"folder:{tmp_path}", on_bad_image="ignore")


def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path):
    _flat(tmp_path, 2)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "nothing.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to(tmp_path / "0.png")
    splits = load(f"folder:{tmp_path}")
    assert list(splits.train.ids) == ["0.png", "1.png", "link.png"]
    assert splits.unreadable == (
        ("circle.jpg", "is a link in a circle"),
        ("nothing.jpg", "is a link to nothing"),
        ("pipe.jpg", "is no regular file"),
    )


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    # Not chmod: root may read everything, and the suite may run as root.
    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    _flat(tmp_path, 1)
    monkeypatch.setattr(image_file, "open", lambda path, mode: denied(path), raising=False)
    assert image_file.problem_of(str(tmp_path / "0.png")) == "may not be read"


def test_an_image_that_goes_while_being_read_is_one_line(tmp_path, monkeypatch):
    _flat(tmp_path, 3)
    monkeypatch.setattr(readable, "problem_of", lambda path: "")
    (tmp_path / "1.png").unlink()
    (tmp_path / "1.png").symlink_to("gone")
    with pytest.raises(InputError, match=r"changed while it was being read.*again") as raised:
        load(f"folder:{tmp_path}")
    assert "\n" not in str(raised.value)


def test_a_file_damaged_after_the_search_is_found(tmp_path):
    _flat(tmp_path, 4)
    assert load(f"folder:{tmp_path}").train.num_examples == 4
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    assert list(load(f"folder:{tmp_path}").train.ids) == ["0.png", "1.png", "3.png"]


def test_folders_of_one_name_in_two_places_do_not_share_a_search(tmp_path, monkeypatch):
    for place in ("here", "there"):
        _flat(tmp_path / place / "photos", 3)
    damaged = tmp_path / "there" / "photos" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    found = []
    for place in ("here", "there"):
        monkeypatch.chdir(tmp_path / place)
        found.append(load("folder:photos").train.num_examples)
    assert found == [3, 2]


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    _flat(tmp_path / "photos", 3)
    (tmp_path / "photos" / "1.png").write_bytes(b"broken")
    splits = load(f"folder:{tmp_path / 'photos'}")
    assert splits.train.num_examples == 2
    assert "listed in" not in "".join(splits.notes)
