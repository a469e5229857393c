"""Labels from a CSV file of two columns, filename and label, with a header or without."""

import collections
import csv
import functools
import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.image_file import EXTENSIONS
from simclr_keras.errors import InputError, one_line

LONGEST_LABEL = 500
_SEVERAL = object()
_FILE_HEADINGS = {"file", "filename", "file_name", "path", "image", "image_id", "image_path", "id", "name"}
_LABEL_HEADINGS = {"label", "labels", "class", "classes", "class_name", "category", "target"}


def read_labels(
    path: str, images: Sequence[str], folder: str, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the labels of a folder's images.

    An image without a row, or with an empty label or -1, is not labeled. Labels that are all integers are class
    numbers from 0; any other labels are class names, numbered in sorted order. A file name may lack its extension.

    Args:
        path: local or remote path of the CSV file (UTF-8, separated by commas).
        images: n paths relative to the folder.
        folder: the folder, for messages.
        notes: for the user, added to.

    Returns:
        Labels, int32 [n] with -1 for "not labeled", and the tuple of class names.

    Raises:
        InputError: the file cannot be read, or a row names no image or one that has a row already.
    """
    rows, names, labels = list(_rows(path)), _Names(images), {}
    for line, (name, label) in rows[_is_header(path, rows, names, notes) :]:
        image = names.image(name)
        if image is None:
            raise InputError(
                f"{path} line {line}: there is no image {one_line(name, 100)} in {folder}; give paths relative to it"
            )
        if image is _SEVERAL:
            raise InputError(
                f"{path} line {line}: {one_line(name, 100)} is the name of several images in {folder}; give the "
                "extension too"
            )
        if image in labels:
            raise InputError(
                f"{path} line {line}: duplicate row of {one_line(name, 100)}; keep one row per image"
            )
        labels[image] = label
    return _numbered(path, [labels.get(image, "") for image in images])


class _Names:
    """The images that names in a CSV file stand for: exact, in another Unicode form, or without an extension."""

    def __init__(self, images):
        self._images, self.exact = images, set(images)

    @functools.cached_property
    def _other(self):
        other = {}
        for spell in (lambda image: os.path.splitext(_composed(image))[0], _composed):
            counts = collections.Counter(map(spell, self._images))
            other |= {spell(i): _SEVERAL if counts[spell(i)] > 1 else i for i in self._images}
        return other

    def image(self, name):
        """Return the image, None if there is none, or _SEVERAL."""
        return name if name in self.exact else self._other.get(_composed(name))


def _is_header(path, rows, names, notes):
    """Return whether the first row is a header: its label is that of no other row, and it names no image."""
    if not rows:
        return False
    line, (name, label) = rows[0]
    if (
        name in names.exact
        or name.lower().endswith(EXTENSIONS)
        or any(label == row[1] for _, row in rows[1:])
    ):
        return False
    if label.lower() in _LABEL_HEADINGS:
        return True
    if "/" in name or names.image(name) is not None:
        return False
    if name.lower() not in _FILE_HEADINGS:
        notes.append(f"line {line} of {path} is read as the header: {one_line(f'{name},{label}', 100)}")
    return True


def _composed(name):
    # Some systems write an accent as a character of its own.
    return unicodedata.normalize("NFC", name)


def _rows(path):
    """Yield (line number, (file name, label)), the header too."""
    reader = csv.reader(f"{line}\n" for line in _text(path).split("\n"))
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
            # Old programs for the Mac end lines by CR alone.
            return text if "\n" in text else text.replace("\r", "\n")
    line = content.count(b"\n", 0, at) + 1
    raise InputError(
        f"Cannot read the labels file {path}: line {line} is not UTF-8 text; save the file as CSV in UTF-8"
    )


def _numbered(path, labels):
    if {label.lstrip("+") for label in labels if label} == {"-1", "1"}:
        raise InputError(
            f"{path}: the labels are -1 and 1, but -1 stands for no label: use 0 and 1, or leave the label empty"
        )
    spelling = {}  # the first of several Unicode forms of one name
    labels = ["" if label == "-1" else spelling.setdefault(_composed(label), label) for label in labels]
    values = sorted({label for label in labels if label})
    if not values:
        raise InputError(f"{path} labels no image: give filename,label of at least one")
    # int() takes "1_000", "+1" and the digits of every script.
    if all(re.fullmatch("-?[0-9]+", value) for value in values):
        lowest, highest = min(map(int, values)), max(map(int, values))
        if lowest < 0:
            raise InputError(
                f"{path} must count classes from 0; -1 stands for no label. Received: label {lowest}"
            )
        if highest >= max(1000, len(labels)):
            raise InputError(
                f"{path}: integer labels are class numbers from 0, fewer than there are images. "
                f"Received: label {highest}"
            )
        numbers = [int(label) if label else -1 for label in labels]
        return np.array(numbers, np.int32), tuple(str(i) for i in range(highest + 1))
    number = {value: i for i, value in enumerate(values)}
    return np.array([number.get(label, -1) for label in labels], np.int32), tuple(values)
