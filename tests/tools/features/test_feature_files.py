"""Files of features: what was written comes back, and nothing else is taken for it."""

import csv
import os
import subprocess
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


@pytest.mark.parametrize("ending", feature_files.ENDINGS)
@pytest.mark.parametrize("labeled", [True, False])
def test_all_of_it_comes_back(tmp_path, ending, labeled):
    held = make(labeled=labeled)
    if labeled:
        held.labels[0] = -1
    path = str(tmp_path / f"f{ending}")
    feature_files.write(path, held)
    found = feature_files.read(path)
    np.testing.assert_array_equal(found.features, held.features)
    assert found.features.dtype == np.float32
    assert found.ids == held.ids
    assert found.facts == ({} if ending == ".csv" else FACTS)
    assert found.class_names == held.class_names
    if labeled:
        np.testing.assert_array_equal(found.labels, held.labels)
        assert found.labels.dtype == np.int32
        assert [found.class_of(row) for row in range(5)] == [held.class_of(row) for row in range(5)]
    else:
        assert found.labels is None
        assert found.class_of(0) == ""


@pytest.mark.parametrize("ending", feature_files.ENDINGS)
def test_any_file_name_comes_back(tmp_path, ending):
    ids = ["a\rb.png", "a\nb.png", "a\r\nb.png", 'a"b.png', "a,b.png", "a\tb.png", " a ", "\r", "end\r\n"]
    held = Features(np.ones([len(ids), 2], np.float32), ids, np.zeros(len(ids), np.int32), ("c\rd",))
    path = tmp_path / f"f{ending}"
    feature_files.write(str(path), held)
    found = feature_files.read(str(path))
    assert (found.ids, found.class_names) == (ids, ("c\rd",))


def test_csv_has_line_ends_of_one_character(tmp_path):
    feature_files.write(str(tmp_path / "f.csv"), Features(np.ones([2, 1], np.float32), ["a", "b"]))
    assert (tmp_path / "f.csv").read_bytes() == b"id,f0\na,1.0\nb,1.0\n"


@pytest.mark.parametrize("ending", feature_files.ENDINGS)
@pytest.mark.parametrize(
    ("labels", "names", "of_csv"),
    [
        ([0, -1], ("x", "y", "z"), ("x",)),
        ([2, 0], ("x", "y", "z"), ("x", "1", "z")),
        ([0, 1], None, None),
        ([5, -1], None, None),
        ([-1, -1], None, None),
        ([3, 0], tuple("0123456789"), None),
        ([1, 0], ("1", "0"), ("1", "0")),
    ],
)
def test_labels_are_the_same_numbers_and_of_csv_classes_what_the_rows_tell(
    tmp_path, ending, labels, names, of_csv
):
    held = Features(np.ones([2, 1], np.float32), ["a", "b"], np.array(labels, np.int32), names)
    feature_files.write(str(tmp_path / f"f{ending}"), held)
    found = feature_files.read(str(tmp_path / f"f{ending}"))
    assert found.labels.tolist() == labels
    assert found.class_names == (of_csv if ending == ".csv" else names)
    assert [found.class_of(row) for row in range(2)] == [held.class_of(row) for row in range(2)]


def test_more_rows_than_are_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_files, "_ROWS", 4)
    held = make(10)
    for ending in feature_files.ENDINGS:
        feature_files.write(str(tmp_path / f"f{ending}"), held)
        np.testing.assert_array_equal(
            feature_files.read(str(tmp_path / f"f{ending}")).features, held.features
        )


def test_npz_holds_no_python_objects(tmp_path):
    feature_files.write(str(tmp_path / "f.npz"), make())
    with np.load(tmp_path / "f.npz", allow_pickle=False) as held:
        assert {name: held[name].dtype.kind for name in held} == {
            "features": "f",
            "labels": "i",
            **dict.fromkeys(("ids", "class_names", *FACTS), "U"),
        }


def test_other_programs_read_parquet_and_csv(tmp_path):
    held = make()
    for ending in (".parquet", ".csv"):
        feature_files.write(str(tmp_path / f"f{ending}"), held)
    table = pyarrow.parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == ["id", "label", "class", "features"]
    assert table.column("features").to_pylist()[2] == held.features[2].tolist()
    with open(tmp_path / "f.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "class", "f0", "f1", "f2"]
    assert [np.float32(row["f1"]) for row in rows] == held.features[:, 1].tolist()


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
        ("none.npz", None, "there is no such file"),
        ("f.txt", b"x", "must end in .npz, .parquet, .csv"),
        ("f.npz", b"not a zip", "is no file of features"),
        ("f.parquet", b"PAR1", "is no file of features"),
        ("f.csv", b"name,x\na,1\n", "its columns are not id, label, class, f0, f1"),
        ("f.csv", b"id,f0,f1\na,1\n", "a row has more or fewer columns"),
        ("f.csv", b"id,f0\na,one\n", "is no file of features"),
        ("f.csv", b"id,f0\na,nan\n", "not all features are finite"),
        ("f.csv", b"id,f0\n", "features must be floats [n, d]"),
        ("f.csv", b"\xff\xfe", "is no file of features"),
        ("f.csv", b"id,f0\na\rb,1\n", "is no file of features"),
        ("f.csv", b'id,f0\n"a,1\n', "is no file of features"),
        ("f.csv", b"id,label,class,f0\na,99999999999,x,1\n", "is no file of features"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as found:
        feature_files.read(str(tmp_path / name))
    assert said in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "arrays",
    [
        {"features": np.ones([2, 3], np.float32)},
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
    with pytest.raises(InputError, match="is no file of features"):
        feature_files.read(str(tmp_path / "f.npz"))


def test_a_cut_archive_is_refused(tmp_path):
    path = tmp_path / "f.npz"
    feature_files.write(str(path), make(50, 50))
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("features.npy").header_offset + 200
    content = bytearray(path.read_bytes())
    content[begin : begin + 50] = b"\0" * 50
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no file of features"):
        feature_files.read(str(path))


def test_without_pyarrow_parquet_is_refused_and_nothing_else(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import numpy as np\n"
        "from simclr_keras.tools import feature_files as f\n"
        "held = f.Features(np.ones([2, 2], np.float32), ['a', 'b'])\n"
        f"f.write({str(tmp_path / 'f.csv')!r}, held)\n"
        f"try: f.write({str(tmp_path / 'f.parquet')!r}, held)\n"
        "except f.InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "Parquet needs the package pyarrow: pip install pyarrow, or give a file that ends in .npz or .csv.\n"
    )
    assert os.listdir(tmp_path) == ["f.csv"]
