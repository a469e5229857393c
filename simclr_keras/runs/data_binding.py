"""A run and its data: written down when it begins, found again when it resumes, whatever became of single files."""

import dataclasses
import gzip
import hashlib
import json
import zlib

import numpy as np

from simclr_keras.data.sources.inherited_split import MOST_MISSING
from simclr_keras.data.sources.source import RowIds
from simclr_keras.errors import InputError, some
from simclr_keras.runs.run_dir import SPLIT

IMAGES = "training_images.tsv.gz"  # of a folder: label number and id, in the order of the run


def bind_data(run_dir, splits, resumed, say=print, contents=None):
    """Binds a run to its data: writes split.json (class names, held-out ids, size and fingerprint) for every later
    stage, or finds the images a resumed run began with.

    Where some of a folder's images have been deleted or damaged since, others of their class stand in for them, so
    that all other images keep their places. Images that were added are not used.

    Args:
        run_dir: RunDir, opened.
        splits: Splits as the data is now.
        resumed: whether the run has a checkpoint already.
        say: prints a line.
        contents: of the data, by `data.contents.contents_of`; None where they are not known.

    Returns:
        Splits of the run.

    Raises:
        InputError: a resumed run finds other data than it began with.
    """
    train, old = splits.train, run_dir.read_json(SPLIT)
    split = {
        **(contents or {}),
        "class_names": None if splits.class_names is None else list(splits.class_names),
        "training_images": train.num_examples,
        "fingerprint": _fingerprint(train),
        "held_out": list(splits.held_out),
        "labeled": _chosen_ids(train),
        "held_out_labels": _labels_of(splits.evaluation) if splits.held_out else None,
        "evaluation_images": 0 if splits.evaluation is None else splits.evaluation.num_examples,
        "evaluation_fingerprint": None if splits.evaluation is None else _fingerprint(splits.evaluation),
    }
    if not resumed:
        if _has_file_ids(train):
            run_dir.write_bytes(IMAGES, _images_list(train))
        run_dir.write_text(SPLIT, json.dumps(split, indent=1) + "\n")
        return splits
    if old is None:
        raise InputError(
            f"{run_dir.path} has checkpoints but no {SPLIT}, so that there is no telling which images it held out; "
            "bring it back, or give another --model_dir."
        )
    # Of a run from before they were written down they are not known.
    known = {name for name in split if name in old or name not in (contents or {})}
    if all(old.get(name) == split[name] for name in known):
        return splits
    found = _find_again(run_dir, old, splits, say) if _has_file_ids(train) else None
    if found is None:
        raise InputError(
            f"{train.name} is not the data that --model_dir={run_dir.path} began with: images, labels or classes "
            f"differ ({_counts(old)} then, {_counts(split)} now); bring back the data, or give another --model_dir."
        )
    return found


def _counts(split):
    return (
        f"{split.get('training_images')} training images and {split.get('evaluation_images')} for evaluation"
    )


def _find_again(run_dir, old, splits, say):
    """The Splits of the run out of those of today; None where too much is missing."""
    data = run_dir.read_bytes(IMAGES)
    names = None if splits.class_names is None else list(splits.class_names)
    if data is None or old.get("class_names") != names:
        return None
    try:
        labels, ids = _read_images_list(data)
    except (OSError, EOFError, ValueError, zlib.error):  # damaged: then there is no telling
        return None
    if len(ids) != old.get("training_images"):
        return None
    train, held_out = splits.train, old.get("held_out") or []
    everything = train.union(splits.evaluation) if splits.held_out else train
    row_of = {name: row for row, name in enumerate(everything.ids)}
    missing = [name for name in [*ids, *held_out] if name not in row_of]
    if len(missing) > MOST_MISSING * (len(ids) + len(held_out)):
        return None
    rows = np.array([row_of.get(name, -1) for name in ids], np.int64)
    if train.labels is not None:
        there = rows >= 0
        now, then = everything.labels[rows[there]], labels[there]
        # Which labels may be seen (-1: not) is the run's; what they are is the data's.
        if np.any((now != then) & (now >= 0) & (then >= 0)):
            return None
    rows = _with_stand_ins(rows, labels)
    if rows is None:
        return None
    if missing:
        say(
            f"data     {len(missing)} images the run began with cannot be had: {some(missing, 3)}; "
            "others stand in for those to train on"
        )
    new = len(row_of) - (len(ids) + len(held_out) - len(missing))
    if new:
        say(f"data     {new} images were added since the run began; they are not used")
    evaluation = splits.evaluation
    if (
        not splits.held_out
        and evaluation is not None
        and evaluation.num_examples != old.get("evaluation_images")
    ):
        say(
            f"data     {evaluation.num_examples} images to evaluate on, {old.get('evaluation_images')} when it began"
        )
    if splits.held_out:
        there = np.array([name in row_of for name in held_out])
        # Their labels too: those of an image that today would be trained on may be hidden.
        known = None if old.get("held_out_labels") is None else np.array(old["held_out_labels"])[there]
        names = [name for name in held_out if name in row_of]
        evaluation = everything.arranged([row_of[name] for name in names], names, known)
    found = everything.arranged(rows, ids, labels if train.labels is not None else None)
    tampered = _fingerprint(found) != old.get("fingerprint")
    if splits.held_out and len(evaluation) == len(held_out):
        tampered |= _fingerprint(evaluation) != old.get("evaluation_fingerprint")
    if tampered:
        return None
    return dataclasses.replace(
        splits, train=found, evaluation=evaluation, held_out=tuple(held_out), missing=tuple(missing)
    )


def _with_stand_ins(rows, labels):
    """Rows with every -1 replaced by the next row, in a circle, of the same label; None where there is none."""
    rows, n = rows.copy(), len(rows)
    for place in np.flatnonzero(rows < 0):
        others = np.roll(np.arange(n), -place)
        others = others[(labels[others] == labels[place]) & (rows[others] >= 0)]
        if not len(others):
            return None
        rows[place] = rows[others[0]]
    return rows


def _chosen_ids(source):
    """Ids of the rows whose labels may be seen; None where that is all of them, or none is known."""
    if source.labels is None or np.all(source.labels >= 0):
        return None
    return list(source.labeled_ids())


def _labels_of(source):
    return None if source.labels is None else source.labels.tolist()


def _has_file_ids(source):
    return source.indexed and not isinstance(source.ids, RowIds)


def _images_list(source):
    labels = np.full(len(source), -1) if source.labels is None else source.labels
    # JSON strings, as a file name may hold a tab or a line break.
    lines = "".join(f"{label}\t{json.dumps(name)}\n" for label, name in zip(labels.tolist(), source.ids))
    return gzip.compress(lines.encode(), mtime=0)


def _read_images_list(data):
    lines = [line.split("\t", 1) for line in gzip.decompress(data).decode().splitlines()]
    return np.array([int(label) for label, _ in lines], np.int32), [json.loads(name) for _, name in lines]


def _fingerprint(source):
    """A digest of which images and labels a source has, in their order; the pixels are not read."""
    digest = hashlib.blake2b(digest_size=16)
    if source.indexed:
        for name in source.ids:
            digest.update(name.encode(errors="surrogateescape") + b"\0")
    else:
        # Ids of a stream are row numbers: a million of them would say no more than their count.
        digest.update(str(source.num_examples).encode())
    if source.labels is not None:
        digest.update(np.ascontiguousarray(source.labels, np.int32).tobytes())
    return digest.hexdigest()
