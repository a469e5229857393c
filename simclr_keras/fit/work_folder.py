"""The folder from which fit continues: one file per finished piece, and the folders of its trainings."""

import io
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import read_file, write_file


class WorkFolder:
    """Finished pieces by name. A piece is written as a whole, so that a kill loses the running piece alone.

    Args:
        path: local folder; made if it does not exist.

    Raises:
        InputError: it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            for folder in ("pieces", "labels", "trainings", "logs"):
                os.makedirs(f"{path}/{folder}", exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the folder {path} cannot be made ({one_line(error)}); give another --runs."
            ) from error

    def _file(self, name):
        return f"{self.path}/pieces/{name}.npy"

    def record(self, name: str, make: Callable[[], dict]) -> dict:
        """Return the record of a piece, made by make() unless the piece is finished."""
        record = self.read(name)
        if record is None:
            record = make()
            self.write(name, record)
        return record

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of a piece, made by make() unless the piece is finished."""
        path = self._file(name)
        if read_file(path, 1) is None:
            buffer = io.BytesIO()
            np.save(buffer, make(), allow_pickle=False)
            write_file(path, buffer.getvalue())
        return self.stored_array(name)

    def stored_array(self, name: str) -> np.ndarray:
        """Return the array of a finished piece. Raises InputError if it is missing or damaged."""
        path = self._file(name)
        content = read_file(path) or b""
        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path} is damaged; delete it, then rerun the command.") from error

    def read(self, name: str) -> dict | None:
        """Return the record of a finished piece, or None."""
        content = read_file(f"{self.path}/pieces/{name}.json")
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError as error:
            raise InputError(
                f"{self.path}/pieces/{name}.json is damaged; delete it, then rerun the command."
            ) from error

    def write(self, name: str, record: dict[str, Any]) -> None:
        write_file(f"{self.path}/pieces/{name}.json", json.dumps(record, indent=1))

    def training(self, name: str) -> str:
        """Return the path of the run directory of a training."""
        return f"{self.path}/trainings/{name}"

    def log(self, name: str) -> str:
        """Return the path of the log file of a training."""
        return f"{self.path}/logs/{name}.txt"
