"""Compare two run directories bit for bit, except for measured times."""

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.runs.checkpoints import CheckpointReader, newest_readable
from simclr_keras.runs.history import read_metrics
from simclr_keras.runs.run_files import RunFiles

TIMED = ("images_per_second",)


def differing(path, other):
    """Return the differences of two runs, except for the figures in TIMED.

    Compared are the newest checkpoint (weights, slots, averages), the best one, metrics.csv, result.json and the curves
    of TensorBoard.

    Args:
        path, other: run directories.

    Returns:
        list of lines, empty if the runs are the same.

    Raises:
        InputError: if one of them has no checkpoint.
    """
    lines = []
    for title, read in (
        ("checkpoint", weights),
        ("best checkpoint", best_weights),
        ("metrics.csv", metrics),
        ("result.json", result),
        ("TensorBoard", curves),
    ):
        ours, theirs = read(path), read(other)
        for name in sorted((ours.keys() | theirs.keys()) - set(TIMED)):
            if not _same(ours.get(name), theirs.get(name)):
                lines.append(f"{title}: {name}")
    return lines


def weights(path):
    """Return all arrays of the newest checkpoint of a run by name, and its step as `step`."""
    arrays = _arrays(RunFiles(path).checkpoints)
    if not arrays:
        raise InputError(f"{path} has no checkpoint yet; rerun its command until it has saved one.")
    return arrays


def best_weights(path):
    """Return all arrays of the best checkpoint of a run, as `weights` does; empty if there is none."""
    return _arrays(RunFiles(path).best)


def _arrays(directory):
    step, _ = newest_readable(directory)
    if step is None:
        return {}
    reader = CheckpointReader(directory, step)
    return {"step": np.array(step), **{name: reader.read(name) for name in reader.shapes}}


def metrics(path):
    """Return the columns of metrics.csv, a dict of name to list of numbers."""
    rows = read_metrics(RunFiles(path))
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def result(path):
    """Return the contents of result.json; empty if there is none."""
    result = RunFiles(path).read_result()
    return result.to_json() if result else {}


def curves(path):
    """Return the curves that TensorBoard reads: a dict of tag to list of (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(RunFiles(path).tensorboard, size_guidance={"tensors": 0}).Reload()
    return {
        tag: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def _same(value, other):
    if isinstance(value, np.ndarray) and isinstance(other, np.ndarray):
        return (
            value.dtype == other.dtype and value.shape == other.shape and value.tobytes() == other.tobytes()
        )
    return type(value) is type(other) and value == other
