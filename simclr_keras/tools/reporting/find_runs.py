"""Run directories below some paths, at any depth, read without starting TensorFlow if they are local."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import errors_of, expand_home, file_system, is_remote
from simclr_keras.runs.records import ConfigRecord, ResultRecord
from simclr_keras.runs.run_files import CONFIG, FOLDERS, METRICS, RESULT, RunFiles


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory.

    Attributes:
        path: of the directory.
        config: content of config.json. result: content of result.json, an empty record before the end of the run.
        epochs_done: rows of metrics.csv of a run that has not ended.
    """

    path: str
    config: ConfigRecord
    result: ResultRecord
    epochs_done: int = 0

    @property
    def finished(self) -> bool:
        """Whether it has ended; a run that is being continued still has the result of the shorter one."""
        return self.result.finished and self.result.epochs in (None, self.config.settings.get("epochs"))

    def value(self, name: str) -> Any:
        """Return a value of the result or, if it has none, of the settings."""
        value = self.result.get(name)
        # The settings of an imported run are not those it was trained with.
        is_open = value is None and not self.result.imported
        return self.config.settings.get(name) if is_open else value


def find_runs(paths: list[str], empty: list[str] | None = None) -> list[Run]:
    """Return the runs in and below some directories, each once, in the order of the paths and of the names below.

    Args:
        paths: directories, local or any that tf.io.gfile knows (those need TensorFlow).
        empty: a list to which paths without a run are added, if another path has one; None refuses them.

    Raises:
        InputError: one line: a path is not a directory or contains no run, or a file is damaged.
    """
    runs, places, without = [], set(), []
    for path in map(expand_home, paths):
        before = len(runs)
        repeated = False
        for folder, names in _folders(path):
            if CONFIG not in names:
                continue
            place = place_of(folder)
            repeated = repeated or place in places
            run = None if place in places else _read_run(folder, names)
            places.add(place)
            if run is not None:
                runs.append(run)
        if len(runs) == before and not repeated:
            without.append(path)
    if without and (empty is None or not runs):
        raise InputError(
            f"{without[0]} contains no run: give a run directory, which has a {CONFIG}, or a directory above some."
        )
    if empty is not None:
        empty += without
    return runs


def place_of(path: str) -> str:
    """Return the same text for every path of one directory."""
    try:
        return path if is_remote(path) else os.path.realpath(path)
    except (OSError, ValueError):  # not a path, such as a hostile file may contain
        return path


def _read_run(folder: str, names: list[str]) -> Run | None:
    """Return a run, or None if the config.json is another program's."""
    files = RunFiles(folder, flag=None)
    if RESULT not in names and not files.is_config():
        return None
    config = files.read_config()
    run = Run(folder, config, (files.read_result() if RESULT in names else None) or ResultRecord())
    if run.finished or METRICS not in names:
        return run
    return dataclasses.replace(run, epochs_done=max(files.read_bytes(METRICS).count(b"\n") - 1, 0))


def _folders(path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (folder, names of its files) for a directory and everything below it but the insides of runs."""
    path = path.rstrip("/") or "/"
    system = file_system(path)
    try:
        exists, is_folder = system.exists(path), system.isdir(path)
        if is_folder:
            system.listdir(path)  # or the walk would skip an unreadable one silently
    except errors_of(path) as error:
        raise InputError(f"{path} is unreadable: {one_line(error)}") from error
    if not is_folder:
        what = "is a file; give a run directory." if exists else "does not exist."
        raise InputError(f"{path} {what}")
    places = set()
    for folder, below, names in system.walk(path):
        place = place_of(folder)
        if place in places:  # a link that leads upwards
            below.clear()
            continue
        places.add(place)
        # A pipe with such a name would block the reader.
        names = [name for name in names if is_remote(path) or os.path.isfile(f"{folder}/{name}")]
        below[:] = sorted(name for name in below if CONFIG not in names or name.rstrip("/") not in FOLDERS)
        yield folder.rstrip("/") or "/", names
