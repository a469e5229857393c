"""npz:PATH: the arrays become sources, and archives that are not of that kind are refused in one line."""

import io
import zipfile

import numpy as np
import pytest

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.sources.npz import load_npz
from simclr_keras.errors import InputError

_RNG = np.random.default_rng(0)


def _images(n, *shape):
    return _RNG.integers(0, 256, (n, *(shape or (6, 5, 3))), np.uint8)


def _good():
    return {
        "x_train": _images(8),
        "y_train": np.arange(8) % 2,
        "x_test": _images(4),
        "y_test": np.arange(4) % 2,
        "class_names": np.array(["cat", "dog"]),
    }


def _save(path, arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_arrays_names_and_splits_arrive_unchanged(tmp_path):
    arrays = _good()
    splits = load_dataset(_save(tmp_path / "a.npz", arrays))
    np.testing.assert_array_equal(splits.train.images, arrays["x_train"])
    np.testing.assert_array_equal(splits.evaluation.images, arrays["x_test"])
    np.testing.assert_array_equal(splits.train.labels, arrays["y_train"])
    np.testing.assert_array_equal(splits.evaluation.labels, arrays["y_test"])
    assert splits.class_names == splits.train.class_names == ("cat", "dog")
    assert (splits.train.ids[3], splits.evaluation.ids[3]) == ("train/3", "test/3")
    assert splits.held_out is None


def test_usual_names_of_arrays(tmp_path):
    good = _good()
    values = [good[name] for name in ("x_train", "y_train", "x_test", "y_test", "class_names")]
    for names in (
        ("train_images", "train_labels", "test_images", "test_labels", "class_names"),
        ("X_train", "Y_train", "X_val", "Y_val", "classes"),
        ("images", "labels", "images_validation", "labels_validation", "label_names"),
    ):
        splits = load_npz(_save(tmp_path / "a.npz", dict(zip(names, values)))[4:])
        np.testing.assert_array_equal(splits.train.images, good["x_train"])
        np.testing.assert_array_equal(splits.train.labels, good["y_train"])
        np.testing.assert_array_equal(splits.evaluation.images, good["x_test"])
        np.testing.assert_array_equal(splits.evaluation.labels, good["y_test"])
        assert (splits.class_names, splits.notes) == (("cat", "dog"), ())


def test_arrays_that_are_not_used_are_noted(tmp_path):
    more = {
        "x_val": _images(3),
        "y_val": np.array([1, 1, 1]),
        "train_images": _images(8),
        "mean": np.zeros(3),
    }
    splits = load_npz(_save(tmp_path / "a.npz", {**_good(), **more})[4:])
    assert splits.evaluation.num_examples == 4
    assert splits.notes[0].endswith("not used: mean, train_images, x_val, y_val")
    arrays = {name: array for name, array in {**_good(), **more}.items() if name != "y_test"}
    splits = load_npz(_save(tmp_path / "a.npz", arrays)[4:])
    assert splits.evaluation.labels.tolist() == [1, 1, 1], "test images without labels"


def test_labels_of_validation_images_alone(tmp_path):
    good = _good()
    arrays = {"x_train": good["x_train"], "x_val": good["x_test"], "y_val": np.array([0, 2, 1, 0])}
    splits = load_npz(_save(tmp_path / "a.npz", arrays)[4:])
    assert (splits.class_names, splits.train.labels) == (("0", "1", "2"), None)
    assert splits.evaluation.labels.tolist() == [0, 2, 1, 0]
    del arrays["y_val"]
    splits = load_npz(_save(tmp_path / "a.npz", arrays)[4:])
    assert (splits.class_names, splits.evaluation.num_examples) == (None, 4)


def test_arrays_that_do_not_fit_are_not_used(tmp_path):
    """Archives with such arrays were read before these names were."""
    good = {name: array for name, array in _good().items() if name in ("x_train", "y_train")}
    offenders = []
    for name, array in (
        ("x_val", _images(3)),
        ("y_val", np.arange(3)),
        ("classes", np.arange(2)),
        ("classes", np.array(["cat", "dog", "cat"])),
        ("label_names", np.array(["cat", "dog"], object)),
        ("target_names", np.array([["cat", "dog"]])),
    ):
        splits = load_npz(_save(tmp_path / "a.npz", {**good, name: array})[4:])
        notes = (f"arrays of {tmp_path / 'a.npz'} that are not used: {name}",)
        if (splits.evaluation, splits.class_names, splits.notes) != (None, ("0", "1"), notes):
            offenders.append((name, splits))
    assert not offenders
    names = {"classes": np.arange(2), "label_names": np.array(["cat", "dog"])}
    assert load_npz(_save(tmp_path / "a.npz", {**good, **names})[4:]).class_names == ("cat", "dog")


def test_minus_one_is_no_label(tmp_path):
    arrays = {**_good(), "y_train": np.arange(8) % 3 - 1, "y_test": np.array([-1, 0, 1, -1])}
    splits = load_npz(_save(tmp_path / "a.npz", arrays)[4:])
    assert splits.train.labels.tolist() == [-1, 0, 1, -1, 0, 1, -1, 0]
    assert list(splits.evaluation.ids) == ["test/1", "test/2"]
    assert splits.evaluation.labels.tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_gray_images_become_three_equal_channels(tmp_path, shape):
    gray = _images(4, *shape)
    images = load_npz(_save(tmp_path / "a.npz", {"x_train": gray})[4:]).train.images
    for channel in range(3):
        np.testing.assert_array_equal(images[..., channel], gray.reshape(4, 6, 5))


def test_other_forms_give_the_same_images_and_labels(tmp_path):
    good = _good()
    y_train, y_test = good["y_train"], good["y_test"]
    names = good["class_names"]
    first = {x: np.moveaxis(good[x], 3, 1) for x in ("x_train", "x_test")}
    # Rounding takes floats a little beyond their range.
    unit = {x: (good[x] * 1.00001 / 255 - 1e-6).astype(np.float32) for x in ("x_train", "x_test")}
    low = {x: array.astype(np.float16) for x, array in first.items()}
    one_hot = {"y_train": np.eye(2, dtype=np.float32)[y_train], "y_test": np.eye(2, dtype=bool)[y_test]}
    text = {"y_train": names[y_train], "y_test": names[y_test].astype("S")[:, None]}
    offenders = []
    for changes, form in (
        (first, "channels first (x_train, x_test)"),
        (unit, "floats in [0, 1] (x_train, x_test)"),
        (low, "channels first (x_train, x_test); floats in [0, 255] (x_train, x_test)"),
        (one_hot, "one-hot labels (y_train, y_test)"),
        ({"y_train": y_train[:, None]}, "labels of shape [n, 1] (y_train)"),
        (text, "labels of shape [n, 1] (y_test); text labels (y_train, y_test)"),
        ({**text, "class_names": None}, "labels of shape [n, 1] (y_test); text labels (y_train, y_test)"),
    ):
        arrays = {name: array for name, array in {**good, **changes}.items() if array is not None}
        splits = load_npz(_save(tmp_path / "a.npz", arrays)[4:])
        same = [
            splits.notes == (f"{tmp_path / 'a.npz'} is read as: {form}",),
            splits.class_names == ("cat", "dog"),
            np.array_equal(splits.train.images, good["x_train"]),
            np.array_equal(splits.evaluation.images, good["x_test"]),
            np.array_equal(splits.train.labels, y_train),
            np.array_equal(splits.evaluation.labels, y_test),
        ]
        if not all(same):
            offenders.append((form, same, splits.notes))
    assert not offenders


def test_columns_of_one_hot_labels_are_all_classes(tmp_path):
    good = _good()
    arrays = {
        **{name: good[name] for name in ("x_train", "x_test", "y_test")},
        "y_train": np.eye(4)[good["y_train"]],
    }
    assert load_npz(_save(tmp_path / "a.npz", arrays)[4:]).class_names == ("0", "1", "2", "3")
    arrays["y_test"] = np.array([0, 1, 4, 0])
    with pytest.raises(InputError, match="label 4, but there are 4 classes of y_train"):
        load_npz(_save(tmp_path / "a.npz", arrays)[4:])


def test_text_labels_may_be_missing(tmp_path):
    arrays = {"x_train": _images(4), "y_train": np.array(["b", "", "a", "-1"])}
    splits = load_npz(_save(tmp_path / "a.npz", arrays)[4:])
    assert (splits.class_names, splits.train.labels.tolist()) == (("a", "b"), [1, -1, 0, -1])


def test_classes_without_names_are_named_by_number(tmp_path):
    splits = load_dataset(
        _save(tmp_path / "a.npz", {"x_train": _images(8), "y_train": np.arange(8)[:, None] % 4})
    )
    assert splits.class_names == ("0", "1", "2", "3")


def test_a_compressed_archive_and_byte_names_are_read(tmp_path):
    arrays = {**_good(), "class_names": np.array([b"cat", b"dog"])}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    splits = load_dataset(f"npz:{tmp_path / 'a.npz'}")
    assert splits.class_names == ("cat", "dog")
    np.testing.assert_array_equal(splits.train.images, arrays["x_train"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, r"no array x_train.*x_test"),
        ({"x_train": _images(8, 6)}, r"shape \[n, height, width\].*Received: shape \[8, 6\]"),
        ({"x_train": _images(8, 6, 5, 4)}, r"Received: shape \[8, 6, 5, 4\]"),
        ({"x_train": _images(8, 0, 5, 3)}, r"Received: shape \[8, 0, 5, 3\]"),
        ({"x_train": _images(0), "y_train": np.zeros(0, int)}, "x_train.*no images"),
        ({"x_test": _images(0), "y_test": np.zeros(0, int)}, "x_test.*no images"),
        ({"x_train": np.full((8, 6, 5, 3), 5.0)}, r"unknown whether floats from 5 to 5 are.*save uint8"),
        ({"x_train": _images(8) / 127.5 - 1}, r"floats in \[0, 1\] or \[0, 255\]; undo.*Received: -1 to 1"),
        ({"x_train": _images(8) * 2.0}, r"floats in \[0, 1\] or \[0, 255\].*Received: \d+ to \d+"),
        ({"x_train": np.full((8, 6, 5, 3), np.nan)}, "contains NaN or infinity"),
        (
            {"x_train": _images(8) / 255, "x_test": _images(4) * 1.0},
            "x_train and x_test are floats of different ranges",
        ),
        ({"x_train": _images(8, 3, 5, 3)}, r"shape \[8, 3, 5, 3\].*channels are first or last"),
        ({"y_train": np.array(["a", "dog"] * 4)}, "must be text or class numbers"),
        (
            {"y_train": np.array(["cat", "dog"] * 4), "y_test": np.array(["cat", "cow"] * 2)},
            "y_test of .* contains 'cow', which is none of the 2 classes",
        ),
        ({"x_train": np.zeros((8, 6, 5, 3), np.int64)}, "uint8.*int64"),
        ({"x_test": np.zeros((4, 6, 5, 3), np.int16)}, "x_test.*uint8.*int16"),
        ({"y_train": np.arange(7) % 2}, "7 labels for 8 images"),
        ({"y_test": np.arange(5) % 2}, "y_test.*5 labels for 4 images"),
        ({"y_train": np.arange(8) % 2 - 2}, "from 0; -1 stands for no label.*label -2"),
        (
            {"y_train": np.arange(8) % 2 * 2 - 1, "y_test": None, "x_test": None},
            "are -1 and 1, but .*use 0 and 1",
        ),
        ({"y_train": np.full(8, -1)}, "y_train.*labels no image: leave it out"),
        (
            {"x_train": None, "y_train": None, "arr_0": _images(8)},
            "train_images, images.*arrays arr_0, class_names",
        ),
        (
            {"test_images": _images(8), "x_test": None, "X_test": _images(8)},
            "two arrays of x_test, test_images and X",
        ),
        ({"y_train": np.arange(8) % 2 * 1.0}, "integers.*float64"),
        ({"y_train": np.eye(8, 2, dtype=int)}, r"integers of shape \[n\].*shape \[8, 2\]"),
        ({"y_train": np.arange(8) % 3}, "y_train.*label 2, but there are 2 class_names.*0..1"),
        ({"y_test": np.arange(4)}, "y_test.*label 3, but there are 2 class_names"),
        ({"y_test": np.arange(4), "class_names": None}, "label 3, but there are 2 classes of y_train"),
        ({"class_names": np.array(["cat"])}, "label 1, but there are 1 class_names"),
        (
            {"class_names": None, "classes": np.array(["cat"])},
            "y_train of .* label 1, but there are 1 classes",
        ),
        ({"class_names": np.array([1, 2])}, "class_names.*strings.*int64"),
        ({"y_test": None}, "no y_test"),
        ({"x_test": None}, "y_test but no x_test"),
        ({"x_train": np.array([{}] * 8, object)}, "x_train.*Python objects.*unpickling"),
        ({"class_names": np.array(["cat", "dog"], object)}, "class_names.*Python objects.*unpickling"),
        ({"y_train": np.array([2**40] * 8)}, f"class numbers.*{2**40}"),
    ],
)
def test_wrong_arrays_are_refused_in_one_line(tmp_path, changes, message):
    arrays = {key: value for key, value in {**_good(), **changes}.items() if value is not None}
    with pytest.raises(InputError, match=message) as raised:
        load_dataset(_save(tmp_path / "a.npz", arrays))
    assert "\n" not in str(raised.value)


def _missing(path):
    pass


def _text(path):
    path.write_text("x_train")


def _cut_short(path):
    np.savez(path, **_good())
    path.write_bytes(path.read_bytes()[:300])


def _corrupt(path):
    np.savez(path, **_good())
    whole = bytearray(path.read_bytes())
    whole[200:260] = bytes(60)
    path.write_bytes(whole)


def _member(shape, content, kind="|u1", name="x_train.npy"):
    """An archive of one array whose header claims this shape."""

    def make(path):
        array = io.BytesIO()
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(array, header)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, array.getvalue() + content)

    return make


def _changed(place, value):
    """A sound archive with one byte of the headers of its member changed, here and in the directory."""

    def make(path):
        _member((4, 4, 4, 3), bytes(192))(path)
        content = bytearray(path.read_bytes())
        directory = content.rindex(b"PK\x01\x02")
        content[place] = content[directory + place + 2] = value
        path.write_bytes(content)

    return make


def _huge_header(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535)


def _folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "There is no file"),
        (_text, "is not an .npz archive"),
        (_cut_short, "Cannot read"),
        (_corrupt, "Cannot read"),
        (_member((10**9, 1000, 1000, 3), b""), "does not fit into memory"),
        (_member((2**62, 2**62), b"x"), "Cannot read x_train"),
        (_member((-5, 4, 4, 3), bytes(99)), "Cannot read x_train"),
        (_member((4, 4, 4, 3), bytes(191)), "Cannot read x_train"),
        (_huge_header, "Cannot read x_train"),
        (_changed(6, 1), "Cannot read.*password"),
        (_changed(8, 77), "Cannot read.*compression"),
        (_folder, "Cannot read|is a folder"),
    ],
)
def test_files_that_are_no_archives_are_refused_in_one_line(tmp_path, make, message):
    make(tmp_path / "a.npz")
    with pytest.raises(InputError, match=message) as raised:
        load_dataset(f"npz:{tmp_path / 'a.npz'}")
    assert "\n" not in str(raised.value)


def test_a_lack_of_memory_is_one_line(tmp_path, monkeypatch):
    def lacking(*arguments, **settings):
        raise MemoryError

    spec = _save(tmp_path / "a.npz", _good())
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lacking)
    with pytest.raises(InputError, match=r"x_train.*does not fit into memory: give fewer or smaller"):
        load_dataset(spec)


def test_a_single_array_file_is_no_archive(tmp_path):
    np.save(tmp_path / "a.npy", _images(3))
    with pytest.raises(InputError, match=r"is not an \.npz archive"):
        load_dataset(f"npz:{tmp_path / 'a.npy'}")
