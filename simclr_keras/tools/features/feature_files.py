"""Feature files: .npz, .parquet and .csv written atomically, the first two read back."""

import csv
import dataclasses
import json
import os
import zipfile
import zlib

import numpy as np

from simclr_keras import packages
from simclr_keras.errors import InputError, one_line
from simclr_keras.files import write_file
from simclr_keras.tools.csv_lines import CsvLines

READABLE = (".npz", ".parquet")
FACTS = ("model", "use_ema", "endpoint", "images", "data_dir", "labels_file", "image_size")
_ROWS = 4096  # written at once, so that the matrix may be larger than memory


@dataclasses.dataclass(frozen=True)
class Features:
    """Vectors of images.

    Attributes:
        features: float32 [n, d].
        ids: n strings: relative file names, or split and row.
        labels: int32 [n], -1 for none; None if no image has a label.
        class_names: tuple, one per label value, or None.
        facts: dict of strings, each optional: model, use_ema, endpoint, images, data_dir and labels_file (where the
            images are), image_size.
    """

    features: np.ndarray
    ids: list
    labels: np.ndarray | None = None
    class_names: tuple | None = None
    facts: dict = dataclasses.field(default_factory=dict)

    def __len__(self):
        return len(self.ids)

    def class_of(self, row: int) -> str:
        """Return the name of a row's class, or "" if it has none."""
        if self.labels is None or self.labels[row] < 0:
            return ""
        label = int(self.labels[row])
        return self.class_names[label] if self.class_names is not None else str(label)


def write(path: str, vectors: Features) -> None:
    """Write Features in the format of the path's ending; an old file is replaced at the end.

    .npz contains the arrays features, ids, labels and class_names and, as strings, the facts. .parquet contains the
    columns id, label, class and features (a list in each row), and facts and class names in its metadata. .csv
    contains id, label, class, f0, f1, ..., for other programs. Labels and classes are left out if no image has one.

    Raises:
        TrainingError: it cannot be written.
        InputError: the package for .parquet is missing.
    """
    writer = {".npz": _write_npz, ".parquet": _write_parquet, ".csv": _write_csv}[_ending(path)]
    write_file(path, lambda file: writer(file, vectors))


def read(path: str, flag: str = "features") -> Features:
    """Return the Features of an .npz or .parquet file written by `write`.

    Raises:
        InputError: the file is missing or is not such a file.
    """
    if not os.path.isfile(path):
        raise InputError(f"--{flag}={path}: not found; give a file written by simclr embed.")
    if _ending(path) not in READABLE:
        raise InputError(f"--{flag}={path} must end in {' or '.join(READABLE)}; write it with simclr embed.")
    reader = _read_npz if _ending(path) == ".npz" else _read_parquet
    try:
        vectors = reader(path)
        _check(vectors)
        return vectors
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"--{flag}={path} is not a feature file ({one_line(error)}); write it with simclr embed."
        ) from error


def _ending(path):
    return os.path.splitext(path)[1].lower()


def _check(vectors):
    if vectors.features.ndim != 2 or not len(vectors.features) or vectors.features.dtype.kind != "f":
        raise ValueError(
            f"features must be floats [n, d] but are {vectors.features.dtype} {vectors.features.shape}"
        )
    if len(vectors.ids) != len(vectors.features):
        raise ValueError(f"{len(vectors.ids)} ids for {len(vectors.features)} features")
    if vectors.labels is not None:
        if vectors.labels.shape != (len(vectors.ids),) or vectors.labels.dtype.kind != "i":
            raise ValueError(
                f"labels must be integers [n] but are {vectors.labels.dtype} {vectors.labels.shape}"
            )
        if vectors.class_names is not None and vectors.labels.max() >= len(vectors.class_names):
            raise ValueError(f"label {vectors.labels.max()} of {len(vectors.class_names)} classes")
    if not np.isfinite(vectors.features).all():
        raise ValueError("not all features are finite")


def _write_npz(file, vectors):
    arrays = {"features": vectors.features, "ids": np.array(vectors.ids)}
    if vectors.labels is not None:
        arrays["labels"] = vectors.labels
    if vectors.class_names is not None:
        arrays["class_names"] = np.array(vectors.class_names)
    arrays |= {name: np.array(vectors.facts[name]) for name in FACTS if name in vectors.facts}
    np.savez(file, **arrays)


def _read_npz(path):
    with np.load(path, allow_pickle=False) as arrays:
        names = tuple(arrays["class_names"].tolist()) if "class_names" in arrays else None
        facts = {name: str(arrays[name]) for name in FACTS if name in arrays}
        labels = arrays.get("labels")
        return Features(arrays["features"], arrays["ids"].tolist(), labels, names, facts)


def _write_parquet(file, vectors):
    pa, parquet = packages.require("pyarrow"), packages.require("pyarrow.parquet")
    fields = [pa.field("id", pa.string())]
    if vectors.labels is not None:
        fields += [pa.field("label", pa.int32()), pa.field("class", pa.string())]
    fields.append(pa.field("features", pa.list_(pa.float32(), vectors.features.shape[1])))
    metadata = vectors.facts | (
        {} if vectors.class_names is None else {"class_names": json.dumps(vectors.class_names)}
    )
    with parquet.ParquetWriter(file, pa.schema(fields, metadata=metadata)) as writer:
        for begin in range(0, len(vectors), _ROWS):
            rows = range(begin, min(begin + _ROWS, len(vectors)))
            columns = [pa.array([vectors.ids[row] for row in rows], pa.string())]
            if vectors.labels is not None:
                labels = [int(vectors.labels[row]) for row in rows]
                columns.append(pa.array([None if label < 0 else label for label in labels], pa.int32()))
                columns.append(pa.array([vectors.class_of(row) or None for row in rows], pa.string()))
            values = np.ascontiguousarray(vectors.features[begin : begin + _ROWS]).reshape(-1)
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values), vectors.features.shape[1]))
            writer.write_table(pa.table(columns, schema=writer.schema))


def _read_parquet(path):
    table = packages.require("pyarrow.parquet").read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    column = table.column("features").combine_chunks()
    features = np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
    labels = None
    if "label" in table.column_names:
        labels = table.column("label").fill_null(-1).to_numpy().astype(np.int32)
    names = tuple(json.loads(metadata["class_names"])) if "class_names" in metadata else None
    facts = {name: metadata[name] for name in FACTS if name in metadata}
    return Features(features, table.column("id").to_pylist(), labels, names, facts)


def _write_csv(file, vectors):
    labeled = ["label", "class"] if vectors.labels is not None else []
    writer = csv.writer(CsvLines(file))
    writer.writerow(["id", *labeled, *(f"f{i}" for i in range(vectors.features.shape[1]))])
    for begin in range(0, len(vectors), _ROWS):
        # The fewest digits that read back as the same float32.
        values = np.asarray(vectors.features[begin : begin + _ROWS], np.float32).astype(str)
        for row, numbers in enumerate(values.tolist(), begin):
            has_label = vectors.labels is not None and vectors.labels[row] >= 0
            label = [int(vectors.labels[row]) if has_label else "", vectors.class_of(row)] if labeled else []
            writer.writerow([vectors.ids[row], *label, *numbers])
