"""Which images are held out and which labels are kept: decided by the content of each image."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from simclr_keras.data.content_hash import group_hashes, is_held_out, ranks
from simclr_keras.data.sources.source import Source, Splits, rows_of_ids
from simclr_keras.errors import InputError, one_line, some

# Beyond this share of missing images it is not the same data any more.
MOST_MISSING = 0.1


def hold_out(splits: Splits, fraction: float, groups: np.ndarray | None = None) -> Splits:
    """Hold out the training images, or the groups (int [n]) of them, whose content hash is below `fraction`.

    Seed, labels and file names play no part, so every run on these images, or on a copy, holds out the same. The
    labeled images among them become the evaluation set. Fewer than 2 training images left are an InputError.
    """
    source = splits.train.read_contents()
    hashes = source.content_hashes if groups is None else group_hashes(source.content_hashes, groups)
    return _divide(dataclasses.replace(splits, train=source), is_held_out(hashes, fraction))


def hold_out_ids(splits: Splits, ids: Sequence[str]) -> Splits:
    """Hold out these training images: the split of a run from before images were held out by content.

    Raises:
        InputError: more than a tenth of them is missing, or fewer than 2 training images are left.
    """
    rows, missing = rows_of_ids(splits.train.ids, ids)
    splits = _with_missing(splits, missing, len(ids), "held-out")
    mask = np.zeros(splits.train.num_examples, bool)
    mask[rows] = True
    return _divide(splits, mask)


def keep_images(splits: Splits, ids: Sequence[str]) -> Splits:
    """Keep to these images in this order: those that a run began with; images added since are not used.

    Raises:
        InputError: more than a tenth of them is missing.
    """
    rows, missing = rows_of_ids(splits.train.ids, ids)
    new = splits.train.num_examples - len(rows)
    splits = _with_missing(splits, missing, len(ids), "original")
    notes = [f"{new} images were added since the run began; they are not used"] if new else []
    return dataclasses.replace(splits, train=splits.train.subset(rows), notes=(*splits.notes, *notes))


def keep_labels_of_ids(splits: Splits, ids: Sequence[str]) -> Splits:
    """Keep the labels of these training images: the choice of a run from before labels were chosen by content.

    Raises:
        InputError: more than a tenth of the images is missing.
    """
    source = _with_labels(splits.train)
    rows, missing = rows_of_ids(source.ids, ids)
    missing += [source.ids[row] for row in rows[source.labels[rows] < 0]]
    splits = _with_missing(splits, missing, len(ids), "labeled")
    return dataclasses.replace(splits, train=source.with_labels_of(rows))


def _divide(splits, mask):
    source = splits.train
    if source.has_labels and not source.indexed:
        source = source.read_contents()
    labels = source.labels
    train = source.subset(~mask)
    if train.num_examples < 2:
        raise InputError(
            f"{int(mask.sum())} of the {len(mask)} images of {source.name} are held out: at least 2 must be left for "
            "training. Give more images, or a smaller eval_fraction"
        )
    if labels is None:
        return dataclasses.replace(splits, train=train, held_out=int(mask.sum()))
    notes = list(splits.notes)
    lost = np.setdiff1d(labels[mask], labels[~mask])
    if len(lost := lost[lost >= 0]):
        names = some([source.class_names[label] for label in lost])
        notes.append(
            f"{len(lost)} classes have no training image, all their labeled images are held out: {names}"
        )
    evaluation = source.subset(mask & (labels >= 0))
    if not len(evaluation):
        notes.append(
            "no labeled image is held out for evaluation: give more labels, or a larger eval_fraction"
        )
    return dataclasses.replace(
        splits,
        train=train,
        evaluation=evaluation if len(evaluation) else None,
        held_out=int(mask.sum()),
        notes=tuple(notes),
    )


def _with_missing(splits, missing, count, what):
    missing = [name for name in missing if name not in splits.missing]  # those were counted and noted before
    if len(missing) > MOST_MISSING * count:
        raise InputError(
            f"{splits.train.name}: {len(missing)} of the {count} {what} images of the run are missing: "
            f"{_named(missing)}; restore the data of the run"
        )
    if not missing:
        return splits
    note = f"{len(missing)} of the {count} {what} images of the run are missing: {_named(missing)}"
    missing = tuple(dict.fromkeys((*splits.missing, *missing)))
    return dataclasses.replace(splits, notes=(*splits.notes, note), missing=missing)


def _named(names):
    return some([one_line(name, 100) for name in names[:4]], 3)


def keep_labels(
    source: Source, *, fraction: float | None = None, per_class: int | None = None, seed: int = 0
) -> Source:
    """Return the source with a share or number of the labels of every class; all images stay.

    In every class the images with the smallest hash of (seed, content) keep their labels. So a larger share contains
    a smaller one, and every run on these images, or on a copy, sees the same labels.

    Raises:
        InputError: the source has no labels, or a class has too few.
    """
    source = _with_labels(source)
    rows = labeled_rows(source.labels, source.content_hashes, fraction, per_class, seed, source.class_names)
    return source.with_labels_of(rows)


def _with_labels(source):
    source = source.read_contents()
    if source.labels is None:
        raise InputError(f"{source.name} has no labels: label_fraction and labels_per_class do not apply")
    return source


def labeled_rows(
    labels: np.ndarray,
    hashes: np.ndarray,
    fraction: float | None,
    per_class: int | None,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Return the rows whose labels are kept, ascending int64 [m]; see `keep_labels`.

    Args:
        labels: int [n], -1 for "not labeled". hashes: uint64 [n].
    """
    labeled = np.flatnonzero(labels >= 0)
    order = labeled[np.lexsort((ranks(hashes[labeled], seed), labels[labeled]))]
    classes, starts = np.unique(labels[order], return_index=True)
    kept = []
    for label, rows in zip(classes, np.split(order, starts[1:])):
        name = f"{label}" if class_names is None else repr(class_names[label])
        count = per_class if fraction is None else round(fraction * len(rows))
        if count < 1:
            raise InputError(
                f"label_fraction={fraction} leaves class {name} ({len(rows)} training images) without a "
                "label: give a larger fraction, or labels_per_class"
            )
        if count > len(rows):
            raise InputError(
                f"Class {name} has only {len(rows)} labeled training images: give {len(rows)} or less. "
                f"Received: labels_per_class={per_class}"
            )
        kept.append(rows[:count])
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)
