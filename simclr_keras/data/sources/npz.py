"""The dataset "npz:PATH": arrays x_train, y_train, x_test, y_test and class_names in one NumPy archive."""

import zipfile
import zlib

import numpy as np
import tensorflow as tf

from simclr_keras.data.sources.source import ArrayStore, RowIds, Source, Splits
from simclr_keras.errors import InputError, one_line

_KEYS = ("x_train", "y_train", "x_test", "y_test", "class_names")


def load_npz(path: str) -> Splits:
    """Return the Splits of an archive; only x_train is required.

    Args:
        path: local or remote path. x_*: uint8 [n, h, w], [n, h, w, 1] or [n, h, w, 3]; y_*: integers [n] or
            [n, 1], from 0; class_names: strings, one per class.

    Raises:
        InputError: the file is missing or its arrays are not of that kind.
    """
    arrays = _read(path)
    if "x_train" not in arrays:
        raise InputError(
            f"{path} has no array x_train of training images. Received: arrays {sorted(arrays) or 'none'}"
        )
    if "x_test" in arrays and "y_train" in arrays and "y_test" not in arrays:
        raise InputError(f"{path} has y_train and x_test but no y_test: give the test labels, or drop x_test")
    for split in ("train", "test"):
        if f"y_{split}" in arrays and f"x_{split}" not in arrays:
            raise InputError(f"{path} has y_{split} but no x_{split}: give the images, or drop y_{split}")

    images, labels = {}, {}
    for split in ("train", "test"):
        if f"x_{split}" in arrays:
            images[split] = _images(path, f"x_{split}", arrays.pop(f"x_{split}"))
        if f"y_{split}" in arrays:
            labels[split] = _labels(path, f"y_{split}", arrays[f"y_{split}"], len(images[split]))
    class_names = _class_names(path, arrays.get("class_names"), labels)

    def source(split):
        ids = RowIds(split, len(images[split]))
        return Source(f"npz:{path}", ArrayStore(images[split]), ids, labels.get(split), class_names)

    return Splits(source("train"), source("test") if "test" in images else None, class_names)


def _read(path):
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            if file.read(4) != b"PK\x03\x04":
                raise InputError(f"{path} is not an .npz archive (make one with numpy.savez)")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {key: _array(path, archive, key) for key in _KEYS if key in archive.files}
    except tf.errors.NotFoundError:
        raise InputError(f"There is no file {path}: give the path of an .npz archive") from None
    # RuntimeError and NotImplementedError: a member with a password, or compressed in an unknown way.
    except (tf.errors.OpError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"Cannot read {path}: {one_line(error)}; save it again with numpy.savez") from None


def _array(path, archive, key):
    try:
        return archive[key]
    except MemoryError:
        raise InputError(
            f"{key} of {path} does not fit into memory: give fewer or smaller images, or a folder of image files"
        ) from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        if "object arrays" not in str(error).lower():
            raise InputError(f"Cannot read {key} of {path}: {one_line(error)}") from None
        raise InputError(
            f"{key} of {path} is an array of Python objects, which is not opened because unpickling can run "
            "code: save a plain uint8, integer or string array"
        ) from None


def _images(path, key, array):
    if array.dtype != np.uint8:
        hint = ""
        if np.issubdtype(array.dtype, np.floating):
            hint = "; for floats in [0, 1], save (x * 255).round().astype('uint8')"
        raise InputError(f"{key} of {path} must be uint8 from 0 to 255{hint}. Received: dtype {array.dtype}")
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
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"{key} of {path} must be integers of shape [n]. "
            f"Received: dtype {array.dtype}, shape {list(array.shape)}"
        )
    if len(array) != num_images:
        raise InputError(
            f"{key} of {path} must have one label per image. "
            f"Received: {len(array)} labels for {num_images} images"
        )
    if array.min() < 0:
        raise InputError(f"{key} of {path} must count classes from 0. Received: label {array.min()}")
    if array.max() >= 2**31:
        raise InputError(f"{key} of {path} must be class numbers. Received: label {array.max()}")
    return array.astype(np.int32)


def _class_names(path, array, labels):
    """Return class_names or, if there are none, the numbers of the training labels' classes."""
    if not labels:
        return None
    if array is None:
        counted = labels.get("train", labels.get("test"))
        names = tuple(str(number) for number in range(int(counted.max()) + 1))
    elif array.ndim != 1 or array.dtype.kind not in "US":
        raise InputError(
            f"class_names of {path} must be strings of shape [classes]. "
            f"Received: dtype {array.dtype}, shape {list(array.shape)}"
        )
    else:
        names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in array)
    for split, values in labels.items():
        if values.max() >= len(names):
            kind = "classes of y_train" if array is None else "class_names"
            raise InputError(
                f"y_{split} of {path} contains label {values.max()}, but there are {len(names)} {kind}: "
                f"labels must be 0..{len(names) - 1}"
            )
    return names
