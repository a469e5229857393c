"""Labels from a CSV file of two columns, filename and label, with a header or without."""

import csv
import posixpath
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.image_file import EXTENSIONS
from simclr_keras.errors import InputError, one_line

LONGEST_LABEL = 500


def read_labels(path: str, images: Sequence[str], folder: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the labels of a folder's images.

    An image without a row, or with an empty label, is not labeled. Labels that are all integers are class
    numbers from 0; any other labels are class names, numbered in sorted order.

    Args:
        path: local or remote path of the CSV file (UTF-8, separated by commas).
        images: n paths relative to the folder.
        folder: the folder, for messages.

    Returns:
        Labels, int32 [n] with -1 for "not labeled", and the tuple of class names.

    Raises:
        InputError: the file cannot be read, or a row names no image or one that has a row already.
    """
    images_known = set(images)
    labels = {}
    for line, (name, label) in _rows(path):
        if name not in images_known:
            raise InputError(
                f"{path} line {line}: there is no image {one_line(name, 100)} in {folder}; give paths relative to it"
            )
        if name in labels:
            raise InputError(
                f"{path} line {line}: duplicate row of {one_line(name, 100)}; keep one row per image"
            )
        labels[name] = label
    return _numbered(path, [labels.get(image, "") for image in images])


def _rows(path):
    """Yield (line number, (file name, label)), without the header."""
    reader = csv.reader(f"{line}\n" for line in _text(path).split("\n"))
    first = True
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path} line {reader.line_num} cannot be read: {one_line(error)}") from None
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != 2:
            hint = "; separate them by a comma, not a semicolon" if len(row) == 1 and ";" in row[0] else ""
            raise InputError(
                f"{path} line {reader.line_num} must have two columns, filename,label{hint}. "
                f"Received: {len(row)} column{'s' * (len(row) != 1)}"
            )
        name, label = (cell.strip() for cell in row)
        if len(label) > LONGEST_LABEL or "\n" in label:
            raise InputError(
                f"{path} line {reader.line_num}: a label is one line of up to {LONGEST_LABEL} characters; is a "
                f"quotation mark missing? Received: {one_line(label, 60)}"
            )
        header, first = first and not name.lower().endswith(EXTENSIONS), False
        if not header:
            yield reader.line_num, (posixpath.normpath(name.replace("\\", "/")), label)


def _text(path):
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
    except tf.errors.NotFoundError:
        raise InputError(f"There is no labels file {path}: give a CSV file of filename,label") from None
    except tf.errors.OpError as error:
        raise InputError(f"Cannot read the labels file {path}: {one_line(error)}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start
    else:
        at = content.find(b"\0")  # UTF-16 has many of these
        if at < 0:
            return text
    line = content.count(b"\n", 0, at) + 1
    raise InputError(
        f"Cannot read the labels file {path}: line {line} is not UTF-8 text; save the file as CSV in UTF-8"
    )


def _numbered(path, labels):
    values = sorted({label for label in labels if label})
    if not values:
        raise InputError(f"{path} labels no image: give filename,label of at least one")
    # int() takes "1_000", "+1" and the digits of every script.
    if all(re.fullmatch("-?[0-9]+", value) for value in values):
        lowest, highest = min(map(int, values)), max(map(int, values))
        if lowest < 0:
            raise InputError(f"{path} must count classes from 0. Received: label {lowest}")
        if highest >= max(1000, len(labels)):
            raise InputError(
                f"{path}: integer labels are class numbers from 0, fewer than there are images. "
                f"Received: label {highest}"
            )
        numbers = [int(label) if label else -1 for label in labels]
        return np.array(numbers, np.int32), tuple(str(i) for i in range(highest + 1))
    number = {value: i for i, value in enumerate(values)}
    return np.array([number.get(label, -1) for label in labels], np.int32), tuple(values)
