"""Feature files: .npz and .parquet are read back whole, other files are refused."""

import csv
import os
import sys
import zipfile

import numpy as np
import pyarrow.parquet
import pytest

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.tools.features import feature_files
from simclr_keras.tools.features.feature_files import Features

FACTS = {"model": "runs/a", "endpoint": "encoder", "images": "folder:/photos", "image_size": "32"}


def make(count=5, width=3, labeled=True):
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(count, width)) * 10.0 ** rng.integers(-30, 30, (count, width))).astype(
        np.float32
    )
    ids = [f'sub,dir/é "{i}" 写真.png' for i in range(count)]
    if not labeled:
        return Features(features, ids, facts=FACTS)
    return Features(
        features, ids, np.array([-1, *range(count - 1)], np.int32) % 3 - 0, ("a", "b,c", "ü"), FACTS
    )


@pytest.fixture
def there_and_back(tmp_path):
    """A function that writes Features in both formats and yields what is read back."""

    def write_and_read(vectors):
        for ending in feature_files.READABLE:
            path = str(tmp_path / f"f{ending}")
            feature_files.write(path, vectors)
            yield feature_files.read(path)

    return write_and_read


def test_everything_is_read_back(there_and_back):
    for labeled in (True, False):
        vectors = make(labeled=labeled)
        for copy in there_and_back(vectors):
            np.testing.assert_array_equal(copy.features, vectors.features)
            assert copy.features.dtype == np.float32
            assert (copy.ids, copy.facts, copy.class_names) == (vectors.ids, FACTS, vectors.class_names)
            if labeled:
                np.testing.assert_array_equal(copy.labels, vectors.labels)
                assert copy.labels.dtype == np.int32
            else:
                assert copy.labels is None
            assert [copy.class_of(row) for row in range(5)] == [vectors.class_of(row) for row in range(5)]


def test_any_file_name_is_read_back(there_and_back, tmp_path):
    ids = ["a\rb.png", "a\nb.png", "a\r\nb.png", 'a"b.png', "a,b.png", "a\tb.png", " a ", "\r", "end\r\n"]
    vectors = Features(np.ones([len(ids), 2], np.float32), ids, np.zeros(len(ids), np.int32), ("c\rd",))
    for copy in there_and_back(vectors):
        assert (copy.ids, copy.class_names) == (ids, ("c\rd",))
    feature_files.write(str(tmp_path / "f.csv"), vectors)
    with open(tmp_path / "f.csv", newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ids


def test_csv_has_line_ends_of_one_character(tmp_path):
    feature_files.write(str(tmp_path / "f.csv"), Features(np.ones([2, 1], np.float32), ["a", "b"]))
    assert (tmp_path / "f.csv").read_bytes() == b"id,f0\na,1.0\nb,1.0\n"


def test_more_rows_than_are_written_at_once(there_and_back, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_files, "_ROWS", 4)
    vectors = make(10)
    for copy in there_and_back(vectors):
        np.testing.assert_array_equal(copy.features, vectors.features)
    feature_files.write(str(tmp_path / "f.csv"), vectors)
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 11


def test_npz_holds_no_python_objects(tmp_path):
    feature_files.write(str(tmp_path / "f.npz"), make())
    with np.load(tmp_path / "f.npz", allow_pickle=False) as arrays:
        assert {name: arrays[name].dtype.kind for name in arrays} == {
            "features": "f",
            "labels": "i",
            **dict.fromkeys(("ids", "class_names", *FACTS), "U"),
        }


def test_other_programs_read_parquet_and_csv(tmp_path):
    vectors = make()
    for ending in (".parquet", ".csv"):
        feature_files.write(str(tmp_path / f"f{ending}"), vectors)
    table = pyarrow.parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == ["id", "label", "class", "features"]
    assert table.column("features").to_pylist()[2] == vectors.features[2].tolist()
    with open(tmp_path / "f.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "class", "f0", "f1", "f2"]
    assert [np.float32(row["f1"]) for row in rows] == vectors.features[:, 1].tolist()


def test_an_unfinished_file_never_stands_there(tmp_path, monkeypatch):
    path = tmp_path / "f.npz"
    feature_files.write(str(path), make(labeled=False))
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(TrainingError, match=r"cannot write .*f\.npz \(.*No space left"):
        feature_files.write(str(path), make())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["f.npz"]


def test_it_has_the_rights_of_any_new_file(tmp_path):
    feature_files.write(str(tmp_path / "f.csv"), make())
    (tmp_path / "other").write_text("x")
    assert (tmp_path / "f.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.npz", None, "not found"),
        ("f.txt", b"x", "must end in .npz or .parquet"),
        ("f.npz", b"not a zip", "is not a feature file"),
        ("f.parquet", b"PAR1", "is not a feature file"),
        ("f.csv", b"id,f0\na,1.0\n", "must end in .npz or .parquet"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        feature_files.read(str(tmp_path / name))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arrays",
    [
        {"features": np.ones([2, 3], np.float32)},
        {"features": np.full([1, 3], np.nan), "ids": np.array(["a"])},
        {"features": np.ones([0, 3]), "ids": np.array([], str)},
        {"features": np.ones([2, 3], np.float32), "ids": np.array(["a"])},
        {"features": np.ones([2], np.float32), "ids": np.array(["a", "b"])},
        {"features": np.ones([2, 3], int), "ids": np.array(["a", "b"])},
        {"features": np.ones([2, 3]), "ids": np.array(["a", "b"]), "labels": np.array([0])},
        {
            "features": np.ones([1, 3]),
            "ids": np.array(["a"]),
            "labels": np.array([4]),
            "class_names": np.array(["x"]),
        },
        {"features": np.ones([1, 3]), "ids": np.array([{"run": "code"}], object)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(InputError, match="is not a feature file"):
        feature_files.read(str(tmp_path / "f.npz"))


def test_a_cut_archive_is_refused(tmp_path):
    path = tmp_path / "f.npz"
    feature_files.write(str(path), make(50, 50))
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("features.npy").header_offset + 200
    content = bytearray(path.read_bytes())
    content[begin : begin + 50] = b"\0" * 50
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a feature file"):
        feature_files.read(str(path))


def test_parquet_without_pyarrow_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    vectors = Features(np.ones([2, 2], np.float32), ["a", "b"])
    with pytest.raises(InputError, match="pyarrow is missing"):
        feature_files.write(str(tmp_path / "f.parquet"), vectors)
    assert os.listdir(tmp_path) == []
