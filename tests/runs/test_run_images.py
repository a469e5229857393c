"""The images of a run: a resumed run finds the same ones, or is refused."""

import contextlib

import numpy as np
import pytest

from simclr_keras.data.sources.load_dataset import load_dataset, open_dataset
from simclr_keras.data.sources.source import ArrayStore, Source
from simclr_keras.errors import InputError
from simclr_keras.runs.records import SplitRecord
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.runs.run_images import (
    ImageList,
    check_files,
    check_images,
    check_reading,
    has_other_evaluation,
    read_images,
    record_images,
)
from tests.data.pictures import classes
from tests.training.tiny import write_npz


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


def load(path, **changes):
    arrays = {**np.load(write_npz(path)), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return load_dataset(f"npz:{path}")


def test_other_data_is_refused(run_dir, tmp_path):
    splits = load(tmp_path / "a.npz")
    record_images(run_dir, splits, splits.train, 40, {})
    written = run_dir.read_text("split.json")
    assert check_images(run_dir, load(tmp_path / "copy.npz")).epoch_images == 40
    arrays = np.load(tmp_path / "a.npz")
    brighter = {name: arrays[name].copy() for name in ("x_train", "x_test")}
    for images in brighter.values():
        images[3] ^= 1
    offenders = []
    for number, changes in enumerate(
        (
            {"x_train": brighter["x_train"]},
            {"x_test": brighter["x_test"]},
            {"y_train": arrays["y_train"][::-1]},
            {"y_test": (arrays["y_test"] + 1) % 3},
            {"x_train": arrays["x_train"][:-1], "y_train": arrays["y_train"][:-1]},
            {"x_test": None, "y_test": None},
        )
    ):
        try:
            check_images(run_dir, load(tmp_path / f"{number}.npz", **changes))
            offenders.append(changes.keys())
        except InputError as error:
            if "differ (40 training images and 12 for evaluation then" not in str(error):
                offenders.append(str(error))
    assert not offenders
    assert run_dir.read_text("split.json") == written


def test_lost_split_is_refused(run_dir, tmp_path):
    with pytest.raises(InputError, match=r"has checkpoints but no split.json.*restore it"):
        check_images(run_dir, load(tmp_path / "a.npz"))


def test_list_of_images_is_read_as_written(run_dir, tmp_path):
    splits = load(tmp_path / "a.npz")
    record_images(run_dir, splits, splits.train, 40, {})
    assert read_images(run_dir) is None, "rows of an archive do not disappear"
    names = ["cat/a\nb.png", "dog/\u00fc \t.png"]
    hashes = np.array([2**64 - 1, 7], np.uint64)
    store = ArrayStore(np.zeros((2, 8, 8, 3), np.uint8), hashes)
    whole = Source("folder:photos", store, names, [-1, 1], ["cat", "dog"])
    record_images(run_dir, splits, whole, 40, {})
    images = read_images(run_dir)
    assert (images.ids, images.labels.tolist(), images.hashes.tolist()) == (names, [-1, 1], hashes.tolist())
    for content in (b"", b"nothing", b"\x1f\x8b\x08\x00" + bytes(20)):
        run_dir.write("training_images.tsv.gz", content)
        with pytest.raises(InputError, match=r"training_images.tsv.gz is damaged \(.*restore it"):
            read_images(run_dir)


def test_changed_files_are_named(run_dir):
    """Lists of old runs have no hashes, and -1 for labels that were hidden."""
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    whole = Source("folder:photos", ArrayStore(pixels, np.arange(1, 4, dtype=np.uint64)), "abc", [0, 1, -1])
    for labels, hashes, changed in (
        ([0, 1, -1], [1, 2, 3], None),
        ([0, 1, -1], [1, 9, 3], "1 images .*: b;"),
        ([1, 1, -1], [1, 2, 3], "1 images .*: a;"),
        ([0, 1, 0], [9, 2, 3], "2 images .*: a, c;"),
        ([-1, 1, 1], None, None),
        ([1, 1, -1], None, "1 images .*: a;"),
    ):
        hashes = None if hashes is None else np.array(hashes, np.uint64)
        images = ImageList(["a", "b", "c"], np.array(labels), hashes)
        with pytest.raises(InputError, match=changed) if changed else contextlib.nullcontext():
            check_files(run_dir, images, whole)


def test_sub_folders_read_differently_are_refused(run_dir, tmp_path, monkeypatch):
    """As by a newer version with more names of splits; images that the run held out are not evaluated on then."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    for top in ("train", "Valid"):
        classes(photos / top, {"cat": 3, "dog": 3})
    splits = open_dataset(f"folder:{photos}")
    ids, evaluation_ids = list(splits.train.ids), list(splits.evaluation.ids)
    hashes = np.array([0, *[2**64 - 1] * 5], np.uint64)  # the first image is held out by its content
    valid, classes_differ = "Valid is the evaluation split now, and was not", "cat, dog now, and were unknown"
    for names, hashes_then, class_names, counts, message in (
        (ids + evaluation_ids, None, ["Valid", "train"], (12, 0), valid),
        (ids, None, None, (6, 6), classes_differ),
        (ids, hashes, ["cat", "dog"], (5, 1), valid),
        (ids, hashes, ["cat", "dog"], (6, 6), None),
    ):
        images = ImageList(names, np.zeros(len(names), int), hashes_then)
        record = SplitRecord(class_names, *counts)
        refused = pytest.raises(
            InputError,
            match=rf"read differently than.*{message}; if the data has not changed, use the version",
        )
        with refused if message else contextlib.nullcontext():
            check_reading(run_dir, record, images, splits, 0.1)


def test_arrays_read_differently_are_refused(run_dir, tmp_path):
    """As by a newer version that reads x_val; classes that are named now, too."""
    then = load(tmp_path / "a.npz", x_test=None, y_test=None)
    record_images(run_dir, then, then.train, 40, {})
    record, arrays = run_dir.read_split(), np.load(tmp_path / "a.npz")
    assert record.training_images < 40
    check_reading(run_dir, record, None, open_dataset(f"npz:{tmp_path / 'a.npz'}"), 0.1)
    for changes, message in (
        ({"x_val": arrays["x_train"][:5], "y_val": arrays["y_train"][:5]}, "val is the evaluation split now"),
        ({"class_names": arrays["class_names"][::-1]}, "the classes are "),
    ):
        load(tmp_path / "b.npz", x_test=None, y_test=None, **changes)
        whole = open_dataset(f"npz:{tmp_path / 'b.npz'}")
        with pytest.raises(InputError, match=rf"read differently than.*{message}.*; if the data has not"):
            check_reading(run_dir, record, None, whole, 0.1)
    splits = load(tmp_path / "c.npz")
    record_images(run_dir, splits, splits.train, 40, {})
    check_reading(run_dir, run_dir.read_split(), None, open_dataset(f"npz:{tmp_path / 'c.npz'}"), 0.1)


def test_other_evaluation_images_are_noticed(tmp_path):
    splits = load(tmp_path / "a.npz")
    now = splits.evaluation.fingerprint()
    for images, fingerprint, expected in ((40, now, False), (40, "other", True), (None, "other", False)):
        record = SplitRecord(epoch_images=images, evaluation_fingerprint=fingerprint)
        assert has_other_evaluation(record, splits) == expected
