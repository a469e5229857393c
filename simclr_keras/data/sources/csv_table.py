"""The rows of a CSV file, in UTF-8, separated by commas, semicolons or tabs."""

import csv
import itertools
import re

import tensorflow as tf

from simclr_keras.errors import InputError, one_line

# A tab is hardly ever part of a name, a semicolon sometimes.
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
_ROWS_OF_A_LOOK = 20


def read_table(path: str) -> tuple[list[tuple[int, list[str]]], str]:
    """Return the rows of a CSV file that are not empty, (line number, cells), and its separator.

    All rows have as many cells as the first one, at least 2, without spaces around them. A first line such as `sep=;`,
    which spreadsheets write, names the separator and is no row. Columns at the end that are empty in all rows are left
    out.

    Raises:
        InputError: the file is missing or unreadable, its separator is another one, or a row has another number of
            cells.
    """
    lines = [f"{line}\n" for line in _text(path).split("\n")]
    separator = _named_separator(path, lines) or _separator(lines)
    reader, rows = csv.reader(lines, delimiter=separator), []
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return _checked(path, rows), separator
        except csv.Error as error:
            raise InputError(f"{path} line {reader.line_num} cannot be read: {one_line(error)}") from None
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < 2:
            raise InputError(
                f"{path} line {reader.line_num} must have two columns or more, such as filename,label. "
                "Received: 1 column"
            )
        rows.append((reader.line_num, cells))


def _checked(path, rows):
    """Return the rows without columns at the end that are empty in all of them."""
    used = [max(i for i, cell in enumerate(cells, 1) if cell) for _, cells in rows]
    width = max(2, *used) if used else 2
    rows = [(line, cells[:width]) for line, cells in rows]
    for line, cells in rows:
        if len(cells) != len(rows[0][1]):
            raise InputError(
                f"{path} line {line} must have as many columns as the first row, {len(rows[0][1])}; put quotation "
                f"marks around cells that contain a separator. Received: {len(cells)} columns"
            )
    return rows


def _named_separator(path, lines):
    """Return the separator that the first line names, and make this line empty; None if it names none."""
    named = re.fullmatch(r'"?sep=(.)"?\s*', lines[0], re.IGNORECASE)
    if named is None:
        return None
    if named[1] not in SEPARATORS:
        raise InputError(
            f"{path} line 1 names the separator {named[1]!r}; save the file with commas, semicolons or tabs"
        )
    lines[0] = "\n"
    return named[1]


def _separator(lines):
    """Return the separator that gives the first rows one number of columns, or that occurs in the first row."""
    first = next((line for line in lines if line.strip()), "")
    for separator in SEPARATORS:
        try:
            rows = itertools.islice(filter(None, csv.reader(lines, delimiter=separator)), _ROWS_OF_A_LOOK)
            counts = set(map(len, rows))
        except csv.Error:
            continue
        if len(counts) == 1 and counts != {1}:
            return separator
    return next((separator for separator in SEPARATORS if separator in first), ",")


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
