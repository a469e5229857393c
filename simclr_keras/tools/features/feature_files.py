"""Features as files: .npz, .parquet and .csv, written whole or not at all, and read back."""

import csv
import dataclasses
import json
import os
import zipfile
import zlib

import numpy as np

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import write_file
from simclr_keras.tools.csv_lines import CsvLines

ENDINGS = (".npz", ".parquet", ".csv")
FACTS = ("model", "endpoint", "images", "image_size")
_ROWS = 4096  # written at once: a matrix larger than memory goes through


@dataclasses.dataclass(frozen=True)
class Features:
    """Vectors of images.

    Attributes:
        features: float32 [n, d].
        ids: n strings: relative file names, or split and row.
        labels: int32 [n], -1 where there is none; None where no image has one.
        class_names: tuple, one per label value, or None.
        facts: dict of strings: model, endpoint, images (what finds the images again), image_size; may lack any.
    """

    features: np.ndarray
    ids: list
    labels: np.ndarray | None = None
    class_names: tuple | None = None
    facts: dict = dataclasses.field(default_factory=dict)

    def __len__(self):
        return len(self.ids)

    def class_of(self, row):
        """The class of a row by its name, or "" where it has none."""
        if self.labels is None or self.labels[row] < 0:
            return ""
        label = int(self.labels[row])
        return self.class_names[label] if self.class_names is not None else str(label)


def write(path, held):
    """Writes Features as the ending of the path says; a file of that name is replaced once the new one is whole.

    .npz holds the arrays features, ids, labels and class_names and, as strings, the facts; .parquet the columns id,
    label, class and features (a list in each row), facts and class names in its metadata; .csv id, label, class, f0,
    f1, ... alone. Labels and classes are there if any image has one.

    .csv keeps neither facts nor classes without images. Labels come back as the same numbers, and of `class_names` what
    the rows tell: a class without images has its number for a name, or is missing if no later one has images; all are
    None where every name is the class's own number.

    Raises:
        TrainingError: it cannot be written.
        InputError: the package that .parquet takes is missing.
    """
    writer = {".npz": _write_npz, ".parquet": _write_parquet, ".csv": _write_csv}[_ending(path)]
    write_file(path, lambda file: writer(file, held))


def read(path, flag="features"):
    """Returns the Features that `write` wrote.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    if not os.path.isfile(path):
        raise InputError(f"--{flag}={path}: there is no such file; give one that tools.embed wrote.")
    if _ending(path) not in ENDINGS:
        raise InputError(
            f"--{flag}={path} must end in {', '.join(ENDINGS)}; give a file that tools.embed wrote."
        )
    reader = {".npz": _read_npz, ".parquet": _read_parquet, ".csv": _read_csv}[_ending(path)]
    try:
        found = reader(path)
        _check(found)
        return found
    except InputError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        OverflowError,
        csv.Error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(
            f"--{flag}={path} is no file of features ({one_line(error)}); make it with tools.embed."
        ) from error


def _ending(path):
    return os.path.splitext(path)[1].lower()


def _check(found):
    if found.features.ndim != 2 or not len(found.features) or found.features.dtype.kind != "f":
        raise ValueError(
            f"features must be floats [n, d] but are {found.features.dtype} {found.features.shape}"
        )
    if len(found.ids) != len(found.features):
        raise ValueError(f"{len(found.ids)} ids for {len(found.features)} features")
    if found.labels is not None:
        if found.labels.shape != (len(found.ids),) or found.labels.dtype.kind != "i":
            raise ValueError(f"labels must be integers [n] but are {found.labels.dtype} {found.labels.shape}")
        if found.class_names is not None and found.labels.max() >= len(found.class_names):
            raise ValueError(f"label {found.labels.max()} of {len(found.class_names)} classes")
    if not np.isfinite(found.features).all():
        raise ValueError("not all features are finite")


def _write_npz(file, held):
    arrays = {"features": held.features, "ids": np.array(held.ids)}
    if held.labels is not None:
        arrays["labels"] = held.labels
    if held.class_names is not None:
        arrays["class_names"] = np.array(held.class_names)
    arrays |= {name: np.array(held.facts[name]) for name in FACTS if name in held.facts}
    np.savez(file, **arrays)


def _read_npz(path):
    with np.load(path, allow_pickle=False) as held:
        names = tuple(held["class_names"].tolist()) if "class_names" in held else None
        facts = {name: str(held[name]) for name in FACTS if name in held}
        labels = held.get("labels")
        return Features(held["features"], held["ids"].tolist(), labels, names, facts)


def _pyarrow():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "Parquet needs the package pyarrow: pip install pyarrow, or give a file that ends in .npz or .csv."
        ) from error
    return pyarrow


def _write_parquet(file, held):
    pa = _pyarrow()
    fields = [pa.field("id", pa.string())]
    if held.labels is not None:
        fields += [pa.field("label", pa.int32()), pa.field("class", pa.string())]
    fields.append(pa.field("features", pa.list_(pa.float32(), held.features.shape[1])))
    told = held.facts | ({} if held.class_names is None else {"class_names": json.dumps(held.class_names)})
    with pa.parquet.ParquetWriter(file, pa.schema(fields, metadata=told)) as writer:
        for begin in range(0, len(held), _ROWS):
            rows = range(begin, min(begin + _ROWS, len(held)))
            columns = [pa.array([held.ids[row] for row in rows], pa.string())]
            if held.labels is not None:
                labels = [int(held.labels[row]) for row in rows]
                columns.append(pa.array([None if label < 0 else label for label in labels], pa.int32()))
                columns.append(pa.array([held.class_of(row) or None for row in rows], pa.string()))
            values = np.ascontiguousarray(held.features[begin : begin + _ROWS]).reshape(-1)
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values), held.features.shape[1]))
            writer.write_table(pa.table(columns, schema=writer.schema))


def _read_parquet(path):
    pa = _pyarrow()
    table = pa.parquet.read_table(path)
    told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    column = table.column("features").combine_chunks()
    features = np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
    labels = None
    if "label" in table.column_names:
        labels = table.column("label").fill_null(-1).to_numpy().astype(np.int32)
    names = tuple(json.loads(told["class_names"])) if "class_names" in told else None
    facts = {name: told[name] for name in FACTS if name in told}
    return Features(features, table.column("id").to_pylist(), labels, names, facts)


def _write_csv(file, held):
    labeled = ["label", "class"] if held.labels is not None else []
    writer = csv.writer(CsvLines(file))
    writer.writerow(["id", *labeled, *(f"f{i}" for i in range(held.features.shape[1]))])
    for begin in range(0, len(held), _ROWS):
        # As few digits as bring back the same float32.
        values = np.asarray(held.features[begin : begin + _ROWS], np.float32).astype(str)
        for row, numbers in enumerate(values.tolist(), begin):
            known = held.labels is not None and held.labels[row] >= 0
            told = [int(held.labels[row]) if known else "", held.class_of(row)] if labeled else []
            writer.writerow([held.ids[row], *told, *numbers])


def _read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        labeled = header[1:3] == ["label", "class"]
        first = 3 if labeled else 1
        if header[:1] != ["id"] or header[first:] != [f"f{i}" for i in range(len(header) - first)]:
            raise ValueError("its columns are not id, label, class, f0, f1, ...")
        rows = list(reader)
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row has more or fewer columns than the first line")
    features = np.array([row[first:] for row in rows], np.float32).reshape(len(rows), len(header) - first)
    ids = [row[0] for row in rows]
    if not labeled:
        return Features(features, ids)
    labels = np.array([int(row[1] or -1) for row in rows], np.int32)
    names = {int(row[1]): row[2] for row in rows if row[1]}
    if all(name == str(label) for label, name in names.items()):
        return Features(features, ids, labels)
    return Features(features, ids, labels, tuple(names.get(i, str(i)) for i in range(max(names) + 1)))
