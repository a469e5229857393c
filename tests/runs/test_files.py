"""Files of a directory: replaced as a whole, read with one line for what is wrong."""

import json
import os

import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.runs.files import WholeFiles


@pytest.fixture(params=["local", "remote"])
def path(request, tmp_path):
    """A path on the disk, and one of a file system that Python's open knows nothing of."""
    return str(tmp_path / "run") if request.param == "local" else f"ram://{tmp_path.name}/run"


def opened(path, **settings):
    tf.io.gfile.makedirs(path)
    return WholeFiles(path, **settings)


def test_a_file_is_replaced_as_a_whole(path, monkeypatch):
    folder = opened(path)
    folder.write_text("a.txt", "old")

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.io.gfile, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.write_text("a.txt", "new")
    assert folder.read_text("a.txt") == "old"
    monkeypatch.undo()
    folder.write_text("a.txt", "new")
    assert tf.io.gfile.listdir(path) == ["a.txt"]


def test_a_full_disk_is_one_clear_line(path, monkeypatch):
    folder = opened(path)

    def full(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.gfile, "rename", full)
    with pytest.raises(TrainingError, match=r"cannot write .*a.txt \(No space left on device\); free space"):
        folder.write_text("a.txt", "new")
    assert tf.io.gfile.listdir(path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full, of Linux alone")
def test_a_disk_that_is_really_full_spares_what_is_there(tmp_path):
    folder = WholeFiles(tmp_path)
    folder.write_text("a.txt", "old")
    os.symlink("/dev/full", tmp_path / "a.txt.tmp")
    with pytest.raises(TrainingError, match=r"cannot write .*a.txt \(.*No space left on device\)"):
        folder.write_text("a.txt", "x" * 100_000)
    assert folder.read_text("a.txt") == "old"


@pytest.mark.parametrize("value", ["a", {"a": 1}, [1], ["a", None], 7, False])
def test_what_should_be_a_list_is_named_with_its_key_where_it_is_none(path, value):
    folder = opened(path, flag="init", lists={"split.json": {"class_names": str}})
    for held in ({}, {"class_names": None}, {"class_names": []}, {"class_names": ["a", "b"]}):
        folder.write_text("split.json", json.dumps(held))
        assert folder.read_json("split.json") == held
    text = json.dumps({"class_names": value})
    for name in ("split.json", "other.json"):
        folder.write_text(name, text)
    with pytest.raises(InputError, match=r"split.json is damaged \(class_names is .*give another --init"):
        folder.read_json("split.json")
    assert folder.read_json("other.json") == {"class_names": value}
