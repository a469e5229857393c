"""Numbered files of a feature file that is being computed, so that an interrupted command continues."""

import json
import os
import shutil
import zipfile

import numpy as np

from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.files import write_file

ROWS = 2048  # in a part: the most that a killed process computes again


class FeatureParts:
    """A folder OUT.parts of files 000000.npz, 000001.npz, ..., each with the vectors of consecutive images.

    Args:
        out: path of the feature file. settings: dict of strings, all that the vectors depend on.
        overwrite: whether to delete parts with other settings.

    Raises:
        InputError: the folder contains parts with other settings.
    """

    def __init__(self, out: str, settings: dict, overwrite: bool = False):
        self.folder, self._settings, self._overwrite = f"{out}.parts", settings, overwrite
        self.rows, self._count, self._buffer = 0, 0, []
        while (part := self._read(self._count, self.rows)) is not None:
            self.rows, self._count = self.rows + len(part["labels"]), self._count + 1

    def add(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Add float32 [m, d] vectors and int32 [m] labels; write a part if there are enough."""
        self._buffer.append((features, labels))
        if sum(len(labels) for _, labels in self._buffer) >= ROWS:
            self.save()

    def save(self) -> None:
        """Write the rows added since the last part; raise TrainingError if the disk is full."""
        if not self._buffer:
            return
        features, labels = map(np.concatenate, zip(*self._buffer))
        arrays = {
            "features": features,
            "labels": labels,
            "begin": self.rows,
            "settings": json.dumps(self._settings),
        }
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"cannot create {self.folder} ({one_line(error)}); change its rights."
            ) from error
        write_file(self._path(self._count), lambda file: np.savez(file, **arrays))
        self.rows, self._count, self._buffer = self.rows + len(labels), self._count + 1, []

    def join(self) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 [rows, d] vectors, mapped from disk, and int32 [rows] labels of all parts."""
        labels = []
        joined = os.path.join(self.folder, "joined.f32")

        def write(file):
            for number in range(self._count):
                part = self._read(number, sum(map(len, labels)))
                if part is None:
                    raise TrainingError(f"{self._path(number)} is missing or damaged; rerun the command.")
                labels.append(part["labels"])
                file.write(np.ascontiguousarray(part["features"], "<f4").data)

        write_file(joined, write)
        return np.memmap(joined, "<f4", "r").reshape(self.rows, -1), np.concatenate(labels)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number):
        return os.path.join(self.folder, f"{number:06}.npz")

    def _read(self, number, begin):
        """Return the arrays of a part, or None if it is missing, damaged or begins at another row."""
        try:
            with np.load(self._path(number), allow_pickle=False) as arrays:
                part = {name: arrays[name] for name in ("features", "labels", "begin", "settings")}
            stored = json.loads(str(part["settings"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if stored == self._settings:
            return part if part["begin"] == begin else None
        if self._overwrite:
            return None
        different = ", ".join(name for name in self._settings if stored.get(name) != self._settings[name])
        raise InputError(
            f"{self.folder} contains parts of another command (different: {different}); rerun that command to finish "
            "it, or give --overwrite to replace them."
        )
