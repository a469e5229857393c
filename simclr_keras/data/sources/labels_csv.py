"""Labels, and splits if there are any, from a CSV file of file names and labels."""

import collections
import functools
import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simclr_keras.data.sources.csv_columns import find_columns
from simclr_keras.data.sources.csv_table import SEPARATORS, read_table
from simclr_keras.data.sources.layout import EVALUATION_FOLDERS, TRAINING_FOLDERS, UNUSED
from simclr_keras.errors import InputError, one_line, some
from simclr_keras.files import absolute

LONGEST_LABEL = 500
_SEVERAL = "several"


class Labels(NamedTuple):
    """The labels of n images.

    Attributes:
        values: int32 [n], -1 for "not labeled".
        class_names: one per label value.
        splits: n names of splits in lower case, "" for none, or None if the file has no such column.
    """

    values: np.ndarray
    class_names: tuple[str, ...]
    splits: list[str] | None


def read_labels(
    path: str, images: Sequence[str], folder: str, notes: list[str], may_be_lost: bool = False
) -> Labels:
    """Read the labels of a folder's images.

    An image without a row, or with an empty label or -1, is not labeled. Labels that are all integers are class
    numbers from 0; any other labels are class names, numbered in sorted order. A file name may lack its extension, be
    in another case, or have the name of the folder in front.

    Args:
        path: local or remote path of the CSV file (UTF-8, separated by commas, semicolons or tabs). See csv_columns.py.
        images: n paths relative to the folder.
        folder: the folder.
        notes: for the user, added to.
        may_be_lost: whether rows may name images that are missing, as those of a run that is resumed.

    Raises:
        InputError: the file cannot be read, or a row names no image or one that has a row already.
    """
    rows, separator = read_table(path)
    names = _Names(images, folder)
    columns = find_columns(path, rows, lambda cell: names.image(_path(cell))[0] is not None)
    form = [] if separator == "," else [f"separated by {SEPARATORS[separator]}"]
    form += columns.form
    labels, splits, lost = {}, {}, []
    for line, cells in rows[columns.has_header :]:
        name = _path(cells[columns.file])
        image, way = names.image(name)
        if image is None and may_be_lost:
            lost.append(one_line(name, 100))
            continue
        if image is None:
            raise InputError(
                f"{path} line {line}: there is no image {one_line(name, 100)} in {folder}; give paths relative to it"
            )
        if way == _SEVERAL:
            raise InputError(
                f"{path} line {line}: {one_line(name, 100)} is the name of several images in {folder}; give the "
                "whole name in its case, with the extension too"
            )
        if image in labels:
            raise InputError(
                f"{path} line {line}: duplicate row of {one_line(name, 100)}; keep one row per image"
            )
        if way and way not in form:
            form.append(way)
        labels[image] = _label(path, line, columns.label_of(path, line, cells))
        if columns.split is not None:
            splits[image] = _split(path, line, cells[columns.split])
    if form:
        notes.append(f"{path} is read as: {'; '.join(form)}")
    if lost:
        notes.append(f"{path} also names images that are missing now, {len(lost):,}: {some(lost, 3)}")
    values, class_names = _numbered(path, [labels.get(image, "") for image in images])
    has_splits = columns.split is not None
    return Labels(values, class_names, [splits.get(image, "") for image in images] if has_splits else None)


def read_groups(path: str, images: Sequence[str], folder: str, column: str) -> np.ndarray:
    """Return the groups of images that have the same text in a column, int64 [n], from 0.

    An image without a row, or with an empty cell, is a group of its own. Arguments as in `read_labels`.

    Raises:
        InputError: the file cannot be read, or has no such column, in any case.
    """
    rows, _ = read_table(path)
    names = _Names(images, folder)
    columns = find_columns(path, rows, lambda cell: names.image(_path(cell))[0] is not None)
    headings = [cell.lower() for cell in rows[0][1]] if columns.has_header else []
    if column.lower() not in headings:
        raise InputError(
            f"{path} has no column {one_line(column, 60)} to group images by: give one of "
            f"{some([one_line(heading, 40) for heading in headings], 8) or 'its headings; it has none'}"
        )
    number = headings.index(column.lower())
    values = {names.image(_path(cells[columns.file]))[0]: cells[number] for _, cells in rows[1:]}
    keys = [(values.get(image) or row, bool(values.get(image))) for row, image in enumerate(images)]
    numbers: dict[tuple, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


class _Names:
    """The images that names in a CSV file stand for."""

    def __init__(self, images, folder):
        self._images, self._exact = images, set(images)
        self._folder = posixpath.basename(absolute(folder).rstrip("/"))

    @functools.cached_property
    def _other(self):
        """Images by their names in another Unicode form, or without an extension."""
        return self._by(lambda image: os.path.splitext(_composed(image))[0]) | self._by(_composed)

    @functools.cached_property
    def _in_lower_case(self):
        return self._by(_folded)

    def _by(self, spell):
        counts = collections.Counter(map(spell, self._images))
        return {spell(image): _SEVERAL if counts[spell(image)] > 1 else image for image in self._images}

    def image(self, name):
        """Return the image, or None, and in which way the name differs from it: words, "", or _SEVERAL."""
        image, way = self._below(name)
        if image is None:
            parts = name.split("/")
            for depth, part in enumerate(parts[:-1], 1):
                if part == self._folder:
                    image, way = self._below("/".join(parts[depth:]))
                    if image is not None:
                        return image, way or f"file names with {one_line(self._folder, 40)}/ in front"
        return image, way

    def _below(self, name):
        if name in self._exact:
            return name, ""
        image = self._other.get(_composed(name)) or self._in_lower_case.get(_folded(name))
        if image is None or image == _SEVERAL:
            return image, image or ""
        if _composed(image) == _composed(name):
            return image, ""
        is_other_case = _folded(image) == _folded(name)
        return image, "file names in another case" if is_other_case else "file names without extension"


def _composed(name):
    # Some systems write an accent as a character of its own.
    return unicodedata.normalize("NFC", name)


def _folded(name):
    return _composed(name).casefold()


def _path(cell):
    return posixpath.normpath(cell.replace("\\", "/"))


def _label(path, line, label):
    if len(label) > LONGEST_LABEL or "\n" in label:
        raise InputError(
            f"{path} line {line}: a label is one line of up to {LONGEST_LABEL} characters; is a quotation mark "
            f"missing? Received: {one_line(label, 60)}"
        )
    return label


def _split(path, line, split):
    split = split.lower()
    if split and split not in (*TRAINING_FOLDERS, *EVALUATION_FOLDERS, UNUSED):
        raise InputError(
            f"{path} line {line}: a split is train, val, test or the like, unused, or empty. "
            f"Received: {one_line(split, 60)}"
        )
    return split


def _numbered(path, labels):
    if {label.lstrip("+") for label in labels if label} == {"-1", "1"}:
        raise InputError(
            f"{path}: the labels are -1 and 1, but -1 stands for no label: use 0 and 1, or leave the label empty"
        )
    spelling = {}  # the first of several Unicode forms of one name
    labels = [
        "" if label in ("-1", "-1.0") else spelling.setdefault(_composed(label), label) for label in labels
    ]
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
