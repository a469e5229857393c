"""The images of a run: a resumed run finds the same ones, or is refused."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.sources.source import BytesStore, Source
from simclr_keras.errors import InputError
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.runs.run_images import check_files, check_images, read_images, record_images
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
            {"class_names": arrays["class_names"][::-1]},
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
    assert read_images(run_dir) is None
    record_images(run_dir, splits, splits.train, 40, {})
    assert read_images(run_dir) is None, "rows of an archive do not disappear"
    names = ["cat/a\nb.png", "dog/\u00fc \t.png"]
    store = BytesStore(tf.constant([b"one", b"two"]))
    files = Source("folder:photos", store, names, [0, -1], ("cat", "dog"))
    record_images(run_dir, splits, files, 40, {})
    images = read_images(run_dir)
    assert (images.ids, images.labels.tolist()) == (names, [0, -1])
    assert np.array_equal(images.hashes, files.content_hashes)
    for content in (b"", b"nothing", b"\x1f\x8b\x08\x00" + bytes(20)):
        run_dir.write("training_images.tsv.gz", content)
        with pytest.raises(InputError, match=r"training_images.tsv.gz is damaged \(.*restore it"):
            read_images(run_dir)


def test_changed_files_are_refused(run_dir, tmp_path):
    names, classes = ["a.png", "b.png", "c.png"], ("cat", "dog")

    def source(contents, labels, ids=names):
        return Source("folder:photos", BytesStore(tf.constant(contents)), ids, labels, classes)

    splits = load(tmp_path / "a.npz")
    record_images(run_dir, splits, source([b"a", b"b", b"c"], [0, 1, -1]), 3, {})
    images = read_images(run_dir)
    check_files(run_dir, images, source([b"c", b"b"], [-1, 1], ["c.png", "b.png"]))
    for contents, labels in (([b"a", b"x", b"c"], [0, 1, -1]), ([b"a", b"b", b"c"], [0, 0, -1])):
        with pytest.raises(InputError, match=r"1 images have another content or label .*b.png; restore them"):
            check_files(run_dir, images, source(contents, labels))
