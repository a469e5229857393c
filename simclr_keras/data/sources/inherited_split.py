"""What an earlier run held out and whose labels it saw, found again by its ids."""

import dataclasses
import re

import numpy as np

from simclr_keras.data.sources.source import RowIds
from simclr_keras.errors import InputError, one_line, some

# Beyond this share of missing images it is not the same data any more.
MOST_MISSING = 0.1


def hold_out_again(splits, held_out):
    """Splits that evaluate on exactly these of the training images; with no ids as they are.

    Args:
        splits: Splits of the whole data.
        held_out: ids, strings [m]. Where the data has got an evaluation split of its own since, that is not used.

    Raises:
        InputError: more than a tenth of the images is gone, or none would be left to train on.
    """
    if not len(held_out):
        return splits
    train = splits.train
    rows, missing = _rows(train, held_out, "held out")
    if train.num_examples - len(rows) < 2:
        raise InputError(
            f"An earlier run held out {len(rows)} of the {train.num_examples} training images of {train.name}: "
            "at least 2 must be left to train on"
        )
    notes = list(splits.notes)
    if splits.evaluation is not None:
        notes.append(
            f"{train.name}: evaluating on the images that an earlier run held out, not on its own split"
        )
    kept = np.ones(train.num_examples, bool)
    kept[rows] = False
    evaluation = train.subset(rows)
    found = dataclasses.replace(
        splits,
        train=train.subset(kept),
        evaluation=evaluation,
        held_out=tuple(evaluation.ids),
        notes=tuple(notes),
    )
    return _with_missing(found, missing, "held out")


def show_labels_again(splits, labeled):
    """Splits in which exactly these training images show their labels; all images stay.

    Args:
        splits: Splits, what is held out taken away.
        labeled: ids, strings [m].

    Raises:
        InputError: the data has no labels, more than a tenth of these images is gone or has lost its label, or so
            many that a class has none.
    """
    train = splits.train
    if not train.has_labels:
        raise InputError(f"{train.name} has no labels, but an earlier run saw {len(labeled)} of them")
    if not train.indexed and len(labeled) == train.num_examples:
        rows, missing = _rows(train, labeled, "saw labeled")
        if not missing:
            return splits  # a pass over all files would find nothing to hide
    labels = train.labels if train.indexed else train.read_labels().labels
    rows, missing = _rows(train, labeled, "saw labeled", labels)
    if missing:
        _check_classes(train, labels, rows)
    train = train.with_labels_of(rows)
    return _with_missing(dataclasses.replace(splits, train=train), missing, "saw labeled")


def _rows(source, ids, what, labels=None):
    """Rows of these ids, ascending int64 [m], and the ids that are not there or, given labels, have none (-1)."""
    wanted = dict.fromkeys(ids)
    rows = _rows_with(source.ids, wanted)
    if labels is not None:
        rows = rows[labels[rows] >= 0]
    there = {source.ids[row] for row in rows}
    missing = [name for name in wanted if name not in there]
    if len(missing) > MOST_MISSING * len(wanted):
        lost = "gone" if labels is None else "gone, have no label or are held out"
        raise InputError(
            f"{source.name}: of {len(wanted)} images that an earlier run {what}, {len(missing)} are {lost}: "
            f"{_named(missing)}; bring back the data of that run"
        )
    return rows, missing


def _rows_with(ids, wanted):
    """Rows of a sequence of ids that hold one of the wanted ones (dict or set), ascending int64 [m]."""
    if not isinstance(ids, RowIds):
        return np.array([row for row, name in enumerate(ids) if name in wanted], np.int64)
    # Compared as numbers: a million rows would cost a million strings.
    numbers = [number for number in (_number(name, ids.prefix) for name in wanted) if number is not None]
    return np.flatnonzero(np.isin(np.asarray(ids.rows, np.int64), np.array(numbers, np.int64)))


def _number(name, prefix):
    start, _, number = name.rpartition("/")
    # No other spelling of a number, such as 007, is an id.
    known = start == prefix and re.fullmatch("0|[1-9][0-9]{0,17}", number)
    return int(number) if known else None


def _check_classes(source, labels, rows):
    """A class whose few labels are all gone would never be learned, unnoticed."""
    empty = np.setdiff1d(labels[labels >= 0], labels[rows])
    if len(empty):
        names = some(
            [str(label) if source.class_names is None else source.class_names[label] for label in empty]
        )
        raise InputError(
            f"{source.name}: no image of class {names} that an earlier run saw labeled is there with its label; "
            "bring them back"
        )


def _with_missing(splits, missing, what):
    if not missing:
        return splits
    note = f"{len(missing)} images that an earlier run {what} are missing: {_named(missing)}"
    return dataclasses.replace(
        splits, notes=(*splits.notes, note), missing=tuple(dict.fromkeys((*splits.missing, *missing)))
    )


def _named(names):
    return some([one_line(name, 100) for name in names[:4]], 3)
