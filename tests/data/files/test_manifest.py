"""What is remembered of the image files found good: what makes it stale, and what becomes of a damaged memory."""

import os

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.files import manifest
from simclr_keras.data.files.manifest import Manifest, stamps_of
from simclr_keras.data.files.verify_images import find_unreadable
from tests.data.pictures import classes, flat, load, pixels, png, unreadable_files


def _not_an_archive(manifest):
    manifest.write_bytes(b"PK\x03\x04 and no more")


def _of_another_kind(manifest):
    np.savez(manifest, version=np.array("0"), names=np.zeros(3, np.uint8), stamps=np.zeros(3))


def _pickled(manifest):
    with np.load(manifest) as stored:
        arrays = dict(stored)
    np.savez(manifest, **{**arrays, "stamps": np.array([{}] * 3, object)})


def _of_another_tensorflow(manifest):
    with np.load(manifest) as stored:
        arrays = dict(stored)
    version = str(arrays["version"])
    assert tf.__version__ in version
    np.savez(manifest, **{**arrays, "version": np.array(version.replace(tf.__version__, "2.0.0"))})


def _one_name_too_few(manifest):
    with np.load(manifest) as stored:
        arrays = dict(stored)
    np.savez(manifest, **{**arrays, "names": arrays["names"][:-6]})


@pytest.mark.parametrize(
    "damage", [_not_an_archive, _of_another_kind, _of_another_tensorflow, _pickled, _one_name_too_few]
)
def test_a_damaged_manifest_is_made_anew(tmp_path, cache, tried, damage):
    flat(tmp_path, 3)
    load(tmp_path)
    (manifest,) = cache.iterdir()
    damage(manifest)
    tried.clear()
    assert load(tmp_path).train.num_examples == 3
    assert len(tried) == 3
    tried.clear()
    assert load(tmp_path).train.num_examples == 3
    assert tried == []
    assert list(cache.iterdir()) == [manifest]


def test_only_new_changed_and_bad_files_are_decoded_again(tmp_path, tried):
    flat(tmp_path, 4)
    (tmp_path / "2.png").write_bytes(b"broken")
    assert load(tmp_path).train.num_examples == 3
    assert sorted(tried) == ["0.png", "1.png", "2.png", "3.png"]
    tried.clear()
    assert list(load(tmp_path).train.ids) == ["0.png", "1.png", "3.png"]
    assert tried == ["2.png"]
    tried.clear()
    png(tmp_path / "2.png")
    png(tmp_path / "4.png")
    (tmp_path / "0.png").write_bytes(b"broken")
    os.utime(tmp_path / "3.png", ns=(0, 0))
    (tmp_path / "1.png").unlink()
    assert list(load(tmp_path).train.ids) == ["2.png", "3.png", "4.png"]
    assert sorted(tried) == ["0.png", "2.png", "3.png", "4.png"]


def test_of_too_many_remote_files_a_good_one_counts_as_good_until_a_recheck(tried, monkeypatch):
    def write(name, content):
        tf.io.gfile.makedirs("ram://many")
        with tf.io.gfile.GFile(f"ram://many/{name}", "wb") as file:
            file.write(content)

    monkeypatch.setattr(manifest, "_MOST_REMOTE_STAMPS", 3)
    for name in "abcde":
        write(f"{name}.png", tf.io.encode_png(pixels(0)).numpy())
    load("ram://many")
    tf.io.gfile.remove("ram://many/b.png")
    write("b.png", b"no image")
    found = (("b.png", "is not an image of a known format"),)
    tried.clear()
    assert load("ram://many").unreadable == ()
    assert tried == []
    assert load("ram://many", recheck=True).unreadable == found
    assert len(tried) == 5
    assert load("ram://many").unreadable == found


def test_a_file_without_a_stamp_never_counts_as_good(tmp_path):
    unknown = stamps_of([str(tmp_path / "gone.png")])
    Manifest(tmp_path).write(["gone.png"], unknown, np.array([7], np.uint64), *np.zeros((2, 1), bool))
    assert not Manifest(tmp_path).read(["gone.png"], unknown)[0].any()


def test_a_recheck_trusts_nothing_that_is_remembered(tmp_path, tried):
    flat(tmp_path, 3)
    load(tmp_path)
    tried.clear()
    load(tmp_path, recheck=True)
    assert sorted(tried) == ["0.png", "1.png", "2.png"]
    tried.clear()
    load(tmp_path)
    assert tried == []


def test_a_file_that_broke_without_changing_size_or_time_is_found(tmp_path):
    flat(tmp_path, 4)
    load(tmp_path)
    image = tmp_path / "2.png"
    before = image.stat()
    image.write_bytes(bytes(before.st_size))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert list(load(tmp_path).train.ids) == ["0.png", "1.png", "3.png"]


def test_files_that_are_gone_are_forgotten(tmp_path, cache):
    classes(tmp_path, {"a": 3, "b": 3})
    png(tmp_path / "loose.png")
    load(tmp_path)
    (tmp_path / "a" / "0.png").unlink()
    png(tmp_path / "b" / "new.png")  # or nothing is written
    load(tmp_path)
    (stored,) = cache.glob("*.npz")
    assert b"a/0.png" not in np.load(stored)["names"].tobytes()


def test_folders_of_one_name_in_two_places_do_not_share_a_search(tmp_path, monkeypatch):
    for place in ("here", "there"):
        flat(tmp_path / place / "photos", 3)
    damaged = tmp_path / "there" / "photos" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    found = []
    for place in ("here", "there"):
        monkeypatch.chdir(tmp_path / place)
        found.append(load("photos").train.num_examples)
    assert found == [3, 2]


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    flat(tmp_path / "photos", 3)
    (tmp_path / "photos" / "1.png").write_bytes(b"broken")
    splits = load(tmp_path / "photos")
    assert splits.train.num_examples == 2
    assert "listed in" not in "".join(splits.notes)


def test_without_a_home_there_is_no_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    flat(tmp_path / "photos", 3)
    assert load("photos").unreadable == ()
    unreadable_files(tmp_path / "photos")
    notes = load("photos").notes
    assert "listed in" not in "".join(notes)
    assert os.listdir(tmp_path) == ["photos"]


def test_other_files_of_the_folder_stay_known(tmp_path, tried):
    """Those that --labels leaves out today, for one; deleted ones are forgotten."""
    flat(tmp_path, 3)
    load(tmp_path)
    (tmp_path / "2.png").unlink()
    paths = [str(tmp_path / "0.png")]
    (tmp_path / "0.png").write_bytes(tf.io.encode_png(pixels(9)).numpy())
    find_unreadable(str(tmp_path), ["0.png"], paths)
    with np.load(Manifest(tmp_path).path) as stored:
        assert manifest._split(stored["names"].tobytes()) == ["0.png", "1.png"]
    tried.clear()
    load(tmp_path)
    assert tried == []
