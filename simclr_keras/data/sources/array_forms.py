"""Arrays in other usual forms: float images, channels first, one-hot labels, labels of shape [n, 1], and text."""

from collections.abc import Mapping

import numpy as np

from simclr_keras.data.files.constant_images import FEWEST_LEVELS
from simclr_keras.errors import InputError, one_line

_CONVERTED_TOGETHER = 256  # images: the floats of all would fill twice the memory
_ROUNDING = 1e-3  # beyond the range of floats; it changes no uint8 value


def usual_images(
    path: str, arrays: dict[str, np.ndarray], forms: dict[str, list[str]]
) -> dict[str, np.ndarray]:
    """Return images of shape [n, h, w, c] or [n, h, w], uint8 instead of floats; other arrays are returned as they are.

    Floats in [0, 1] are multiplied by 255, those in [0, 255] are not; both are rounded.

    Args:
        path: of the archive, for messages.
        arrays: by their names in the archive; emptied, so that floats are freed.
        forms: gets, for each form that was converted, the names of the arrays.

    Raises:
        InputError: the form is ambiguous, or floats have another range.
    """
    floats = {key: array for key, array in arrays.items() if np.issubdtype(array.dtype, np.floating)}
    ranges = {key: _range(path, key, array) for key, array in floats.items() if array.size}
    if len(set(ranges.values())) > 1:
        raise InputError(
            f"{path}: {' and '.join(ranges)} are floats of different ranges, [0, 1] and [0, 255]: give all "
            "the same range"
        )
    floats.clear()
    images = {}
    for key in list(arrays):
        array = arrays.pop(key)
        if array.ndim == 4 and array.shape[1] in (1, 3):
            if array.shape[3] in (1, 3):
                raise InputError(
                    f"{key} of {path} has the shape {list(array.shape)}: it is unknown whether the channels are "
                    "first or last; save images with more than 3 pixels a side, as [n, height, width, channels]"
                )
            array = np.moveaxis(array, 1, 3)
            forms.setdefault("channels first", []).append(key)
        if key in ranges:
            array = _to_uint8(array, ranges[key])
            forms.setdefault(f"floats in [0, {ranges[key]}]", []).append(key)
        images[key] = np.ascontiguousarray(array)
    return images


def _range(path, key, array):
    """Return the white of float images: 1 or 255."""
    lowest, highest = float(array.min()), float(array.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(f"{key} of {path} contains NaN or infinity: give floats in [0, 1] or [0, 255]")
    if lowest < -_ROUNDING or highest > 255 + _ROUNDING:
        raise InputError(
            f"{key} of {path} must be floats in [0, 1] or [0, 255]; undo a normalization by mean and "
            f"standard deviation. Received: {lowest:.4g} to {highest:.4g}"
        )
    if 1 + _ROUNDING < highest < FEWEST_LEVELS:
        raise InputError(
            f"{key} of {path}: it is unknown whether floats from {lowest:.4g} to {highest:.4g} are of the range "
            "[0, 1] or [0, 255]; save uint8 from 0 to 255"
        )
    return 1 if highest <= 1 + _ROUNDING else 255


def _to_uint8(array, white):
    result = np.empty(array.shape, np.uint8)
    for i in range(0, len(array), _CONVERTED_TOGETHER):
        part = array[i : i + _CONVERTED_TOGETHER].astype(np.float64)
        result[i : i + _CONVERTED_TOGETHER] = np.round(part * (255 / white))
    return result


def usual_labels(
    path: str, arrays: Mapping[str, np.ndarray], class_names: np.ndarray | None, forms: dict[str, list[str]]
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return class numbers of shape [n] and the class names; other arrays are returned as they are.

    One-hot rows become the numbers of their columns; those of the first array are all classes. Text becomes the number
    of the class name; without class names, these are the different texts of the first array in sorted order. An empty
    text and "-1" are no label.

    Args:
        path: of the archive, for messages.
        arrays: by their names in the archive, the training labels first.
        class_names: strings [classes], or None.
        forms: gets, for each form that was converted, the names of the arrays.

    Raises:
        InputError: a text is no class name, or one array is text and another is not.
    """
    labels = {}
    for key, array in arrays.items():
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
            forms.setdefault("labels of shape [n, 1]", []).append(key)
        elif _is_one_hot(array):
            if class_names is None and not labels:
                class_names = np.arange(array.shape[1]).astype(str)
            array = array.argmax(axis=1)
            forms.setdefault("one-hot labels", []).append(key)
        labels[key] = array
    texts = [key for key, array in labels.items() if array.ndim == 1 and array.dtype.kind in "US"]
    if not texts:
        return labels, class_names
    if len(texts) < len(labels):
        raise InputError(
            f"{path}: {' and '.join(labels)} must be text or class numbers, all of them the same"
        )
    forms["text labels"] = texts
    for key in texts:
        text = labels[key]
        text = np.char.decode(text, "utf-8", "replace") if text.dtype.kind == "S" else text
        is_labeled = (text != "") & (text != "-1")
        if class_names is None:
            class_names = np.unique(text[is_labeled])
        number = {name: i for i, name in enumerate(class_texts(class_names))}
        unknown = [name for name in np.unique(text[is_labeled]).tolist() if name not in number]
        if unknown:
            raise InputError(
                f"{key} of {path} contains {one_line(unknown[0], 60)!r}, which is none of the {len(number)} classes: "
                "give class_names with all of them"
            )
        labels[key] = np.array([number.get(name, -1) for name in text.tolist()], np.int32)
    return labels, class_names


def _is_one_hot(array):
    if array.ndim != 2 or array.shape[1] < 2 or not len(array) or array.dtype.kind not in "biuf":
        return False
    return bool(np.all((array == 0) | (array == 1)) and np.all(array.sum(axis=1) == 1))


def class_texts(names):
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names]
