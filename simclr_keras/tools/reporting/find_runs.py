"""Run directories as they lie on a disk: found at any depth, read as plain values, without starting TensorFlow."""

import json
import math
import os
from typing import NamedTuple

from simclr_keras.errors import InputError, one_line

CONFIG, RESULT, METRICS = "config.json", "result.json", "metrics.csv"
_INSIDE = {"checkpoints", "best", "tensorboard"}  # of a run directory: no runs are looked for there
_LARGEST = 64_000_000  # bytes of a file that is read: far more than 20,000 classes take

_SHARES = ("top1", "top5", "best_top1")
_COUNTS = ("parameters", "labels_used", "evaluation_images", "epochs", "step", "head_layer")
_TEXTS = ("mode", "model", "dataset", "protocol", "classifier", "distill_on", "checkpoint")


class Run(NamedTuple):
    """A run directory.

    `config` is what config.json holds, `result` what result.json holds, empty before the run's end; `epochs_done` the
    rows of metrics.csv of a run that has not ended.
    """

    path: str
    config: dict
    result: dict
    epochs_done: int = 0

    @property
    def finished(self):
        # A run that is being continued to more epochs still has the result of the shorter one.
        wanted = self.config.get("epochs")
        return self.result.get("finished") is True and self.result.get("epochs", wanted) == wanted

    def value(self, field):
        """A field of the result, else of the config, where a stage leaves open what it inherits."""
        return self.result.get(field, self.config.get(field))


def find_runs(paths):
    """Reads the runs in and below some directories, each run once.

    Args:
        paths: directories, local or any that tf.io.gfile knows (those need TensorFlow).

    Returns:
        A list of Run, in the order of the paths and of the names below them.

    Raises:
        InputError: one line: a path is no directory or holds no run, a file is damaged.
    """
    found, seen = [], set()
    for path in map(str, paths):
        before = len(found)
        known = False
        for folder, names in _folders(path):
            if CONFIG not in names:
                continue
            place = place_of(folder)
            known = known or place in seen
            run = None if place in seen else _read_run(folder, names)
            seen.add(place)
            if run is not None:
                found.append(run)
        if len(found) == before and not known:
            raise InputError(
                f"{path} holds no run: give a run directory, which has a {CONFIG}, or a directory above some."
            )
    return found


def place_of(path):
    """What is the same for every path of one directory."""
    try:
        return path if _remote(path) else os.path.realpath(path)
    except (OSError, ValueError):  # no path at all, such as a hostile file may hold
        return path


def _read_run(folder, names):
    """A Run, or None where the config.json is another program's."""
    config = _read_json(folder, CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("mode"), str):
        if RESULT not in names:
            return None
        raise _damaged(folder, CONFIG, "it names no mode")
    _check(config, folder, CONFIG)
    result = _read_json(folder, RESULT) if RESULT in names else {}
    if not isinstance(result, dict):
        raise _damaged(folder, RESULT, f"it holds a {type(result).__name__}")
    _check(result, folder, RESULT)
    run = Run(folder, config, result)
    if run.finished or METRICS not in names:
        return run
    return run._replace(epochs_done=max(_read(folder, METRICS).count(b"\n") - 1, 0))


def _check(held, folder, name):
    """Raises InputError unless the fields we use are of their kind; those that are missing or null may be."""
    for field, value in held.items():
        if value is None:
            continue
        if field in _SHARES or field.endswith(("_top1", "_top5")):
            good = _is_share(value)
        elif field in _COUNTS and not (
            field == "head_layer" and isinstance(value, str)
        ):  # "auto" in a config
            good = isinstance(value, int) and value >= 0
        elif field in _TEXTS:
            good = isinstance(value, str)
        elif field == "seed":
            good = isinstance(value, int)
        elif field in ("temperature", "alpha"):
            good = isinstance(value, int | float) and math.isfinite(value)
        elif field == "top1_interval":
            good = isinstance(value, list) and len(value) == 2 and all(map(_is_share, value))
        elif field == "ancestors":
            good = isinstance(value, list) and all(isinstance(ancestor, dict) for ancestor in value)
            for ancestor in value if good else ():
                _check(ancestor, folder, name)
        else:
            continue
        if not good:
            raise _damaged(folder, name, f"{field} is {value!r}")


def _is_share(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _read_json(folder, name):
    data = _read(folder, name)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, name, error) from error


def _read(folder, name):
    path = f"{folder}/{name}"
    try:
        with _gfile().GFile(path, "rb") if _remote(path) else open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except _errors(path) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from error
    if len(data) > _LARGEST:
        raise _damaged(folder, name, f"it is larger than {_LARGEST:,} bytes")
    return data


def _folders(path):
    """Yields (folder, names of its files) for a directory and everything below it but the insides of runs."""
    path = path.rstrip("/") or "/"
    try:
        if _remote(path):
            is_there, is_folder = _gfile().exists(path), _gfile().isdir(path)
        else:
            is_there, is_folder = os.path.exists(path), os.path.isdir(path)
            if is_folder:
                os.listdir(path)  # or the walk would pass over it in silence
    except _errors(path) as error:
        raise InputError(f"{path} cannot be looked at: {one_line(error)}") from error
    if not is_folder:
        what = "is a file; give a run directory." if is_there else "does not exist."
        raise InputError(f"{path} {what}")
    seen = set()
    for folder, below, names in _gfile().walk(path) if _remote(path) else os.walk(path, followlinks=True):
        place = place_of(folder)
        if place in seen:  # a link that leads upwards
            below.clear()
            continue
        seen.add(place)
        # A pipe of that name would be waited for.
        names = [name for name in names if _remote(path) or os.path.isfile(f"{folder}/{name}")]
        below[:] = sorted(name for name in below if CONFIG not in names or name.rstrip("/") not in _INSIDE)
        yield folder.rstrip("/") or "/", names


def _damaged(folder, name, why):
    return InputError(
        f"{folder}/{name} is damaged ({one_line(why, 100)}); bring it back, or leave its run out."
    )


def _remote(path):
    return "://" in path


def _gfile():
    # Only where it is needed: a report of local runs answers at once.
    from simclr_keras.backend import start_tensorflow_quietly

    start_tensorflow_quietly()
    import tensorflow as tf

    return tf.io.gfile


def _errors(path):
    if not _remote(path):
        return OSError
    import tensorflow as tf

    return OSError, tf.errors.OpError
