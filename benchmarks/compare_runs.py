"""Whether two run directories hold the same run, bit for bit but for what a clock wrote."""

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.runs.checkpoints import newest_readable, path_of
from simclr_keras.runs.run_dir import RESULT, RunDir

TIMED = ("images_per_second",)


def differing(path, other):
    """Says in what two runs differ: newest checkpoint (weights, slots, averages), best one, metrics.csv, result.json
    and TensorBoard's curves, less the figures in TIMED.

    Args:
        path, other: run directories.

    Returns:
        list of lines, empty where the runs are the same.

    Raises:
        InputError: one of them has no checkpoint.
    """
    lines = []
    for title, read in (
        ("checkpoint", weights),
        ("best checkpoint", best_weights),
        ("metrics.csv", metrics),
        ("result.json", result),
        ("TensorBoard", curves),
    ):
        found, expected = read(path), read(other)
        for name in sorted((found.keys() | expected.keys()) - set(TIMED)):
            if not _same(found.get(name), expected.get(name)):
                lines.append(f"{title}: {name}")
    return lines


def weights(path):
    """Returns every array of a run's newest checkpoint, a dict by name, its step among them."""
    found = _arrays(RunDir(path).checkpoints)
    if not found:
        raise InputError(f"{path} has no checkpoint yet.")
    return found


def best_weights(path):
    """Returns every array of a run's best checkpoint, as `weights` does; empty where there is none."""
    return _arrays(RunDir(path).best)


def _arrays(directory):
    step, _ = newest_readable(directory)
    if step is None:
        return {}
    reader = tf.compat.v1.train.NewCheckpointReader(path_of(directory, step))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {"step": np.array(step), **{name: reader.get_tensor(name) for name in names}}


def metrics(path):
    """Returns the columns of metrics.csv, a dict of name to list of numbers."""
    rows = RunDir(path).read_metrics()
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def result(path):
    """Returns what result.json holds; empty where there is none."""
    return RunDir(path).read_json(RESULT) or {}


def curves(path):
    """Returns TensorBoard's curves, read by TensorBoard itself: dict of tag to list of (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(RunDir(path).tensorboard, size_guidance={"tensors": 0}).Reload()
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
