"""The dataset "npz:PATH": arrays x_train, y_train, x_test, y_test and class_names in one NumPy archive."""

import functools
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.constant_images import are_nearly_constant, note_of_constant
from simclr_keras.data.sources.array_forms import class_texts, usual_images, usual_labels
from simclr_keras.data.sources.array_names import array_names
from simclr_keras.data.sources.source import ArrayStore, RowIds, Source, Splits
from simclr_keras.errors import InputError, one_line, some


def load_npz(path: str) -> Splits:
    """Return the Splits of an archive; only x_train is required.

    Args:
        path: local or remote path. x_*: uint8 [n, h, w], [n, h, w, 1] or [n, h, w, 3]; y_*: integers [n], from 0, or
            -1 for no label; class_names: strings, one per class. See array_names.py for other names, and
            array_forms.py for other forms.

    Raises:
        InputError: the file is missing or its arrays are not of that kind.
    """
    arrays, names, notes = _read(path)
    splits = [split for split in ("train", "test", "val") if f"x_{split}" in arrays]
    for split in splits[1:]:
        if "y_train" in arrays and f"y_{split}" not in arrays:
            x = names[f"x_{split}"]
            raise InputError(
                f"{path} has {names['y_train']} and {x} but no y_{split}: give these labels, or drop {x}"
            )
    forms = {}
    x_arrays = usual_images(path, {names[f"x_{split}"]: arrays.pop(f"x_{split}") for split in splits}, forms)
    y_arrays = {names[f"y_{split}"]: arrays[f"y_{split}"] for split in splits if f"y_{split}" in arrays}
    y_arrays, class_names = usual_labels(path, y_arrays, arrays.get("class_names"), forms)
    if forms:
        converted = "; ".join(f"{form} ({some(keys)})" for form, keys in forms.items())
        notes.append(f"{path} is read as: {converted}")
    images, labels = {}, {}
    for split in splits:
        x, y = names[f"x_{split}"], names.get(f"y_{split}")
        images[split] = _images(path, x, x_arrays.pop(x))
        constant = np.flatnonzero(are_nearly_constant(images[split]))
        if len(constant):
            rows = [f"{split}/{row}" for row in constant[:4]]
            notes.append(note_of_constant(len(constant), len(images[split]), path, rows))
        if y in y_arrays:
            labels[split] = _labels(path, y, y_arrays[y], len(images[split]))
    if {label for values in labels.values() for label in np.unique(values).tolist()} == {-1, 1}:
        raise InputError(f"{path}: the labels are -1 and 1, but -1 stands for no label: use 0 and 1")
    class_names = _class_names(path, class_names, labels, names)

    def source(split):
        ids = RowIds(split, len(images[split]))
        return Source(f"npz:{path}", ArrayStore(images[split]), ids, labels.get(split), class_names)

    evaluation = source(splits[1]) if len(splits) > 1 else None
    if evaluation is not None and evaluation.has_labels and np.any(evaluation.labels < 0):
        evaluation = evaluation.labeled()
    return Splits(source("train"), evaluation, class_names, notes=tuple(notes))


def _read(path):
    """Return the arrays by their usual names, their own names by these, and notes."""
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            if file.read(4) != b"PK\x03\x04":
                raise InputError(f"{path} is not an .npz archive (make one with numpy.savez)")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                names, notes = array_names(path, archive.files, functools.partial(_lists_names, archive))
                return {name: _array(path, archive, own) for name, own in names.items()}, names, notes
    except tf.errors.NotFoundError:
        raise InputError(f"There is no file {path}: give the path of an .npz archive") from None
    # RuntimeError and NotImplementedError: a member with a password, or compressed in an unknown way.
    except (tf.errors.OpError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"Cannot read {path}: {one_line(error)}; save it again with numpy.savez") from None


def _lists_names(archive, key):
    """Return whether an array contains different strings, as the names of classes are."""
    try:
        array = archive[key]
    except (ValueError, OverflowError, MemoryError):  # of Python objects, for one
        return False
    return array.ndim == 1 and array.dtype.kind in "US" and len(np.unique(array)) == len(array)


def _array(path, archive, key):
    try:
        return archive[key]
    except MemoryError:
        raise InputError(
            f"{key} of {path} does not fit into memory: give fewer or smaller images, or a folder of image files"
        ) from None
    except (ValueError, OverflowError) as error:
        if "object arrays" not in str(error).lower():
            raise InputError(f"Cannot read {key} of {path}: {one_line(error)}") from None
        raise InputError(
            f"{key} of {path} is an array of Python objects, which is not opened because unpickling can run "
            "code: save a plain uint8, integer or string array"
        ) from None


def _images(path, key, array):
    if array.dtype != np.uint8:
        raise InputError(
            f"{key} of {path} must be uint8 from 0 to 255, or float. Received: dtype {array.dtype}"
        )
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape[1:]:
        raise InputError(
            f"{key} of {path} must have the shape [n, height, width], [n, height, width, 1] or "
            f"[n, height, width, 3]. Received: shape {list(array.shape)}"
        )
    if not len(array):
        raise InputError(
            f"{key} of {path} contains no images: at least 2 are needed. Received: shape {list(array.shape)}"
        )
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array


def _labels(path, key, array, num_images):
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"{key} of {path} must be integers of shape [n], or rows with a single 1 among zeros. "
            f"Received: dtype {array.dtype}, shape {list(array.shape)}"
        )
    if len(array) != num_images:
        raise InputError(
            f"{key} of {path} must have one label per image. "
            f"Received: {len(array)} labels for {num_images} images"
        )
    if array.min() < -1:
        raise InputError(
            f"{key} of {path} must count classes from 0; -1 stands for no label. Received: label {array.min()}"
        )
    if array.max() < 0:
        raise InputError(f"{key} of {path} labels no image: leave it out, or give labels. Received: -1 alone")
    if array.max() >= 2**31:
        raise InputError(f"{key} of {path} must be class numbers. Received: label {array.max()}")
    return array.astype(np.int32)


def _class_names(path, array, labels, names):
    """Return class_names or, if there are none, the class numbers of the first split with labels."""
    if not labels:
        return None
    first = next(iter(labels))
    if array is None:
        classes = tuple(str(number) for number in range(int(labels[first].max()) + 1))
    elif array.ndim != 1 or array.dtype.kind not in "US":
        raise InputError(
            f"{names['class_names']} of {path} must be strings of shape [classes]. "
            f"Received: dtype {array.dtype}, shape {list(array.shape)}"
        )
    else:
        classes = tuple(class_texts(array))
    for split, values in labels.items():
        if values.max() >= len(classes):
            kind = names.get("class_names", f"classes of {names[f'y_{first}']}")
            raise InputError(
                f"{names[f'y_{split}']} of {path} contains label {values.max()}, but there are {len(classes)} {kind}: "
                f"labels must be 0..{len(classes) - 1}"
            )
    return classes
