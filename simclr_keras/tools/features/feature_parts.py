"""Features on their way: rows that are done, kept beside the output, so that a stopped command goes on from there."""

import contextlib
import fcntl
import json
import os
import time

import numpy as np

from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.runs.durable import to_disk

FEATURES, LABELS, STATE, BINDING = "features.f32", "labels.i32", "rows.json", "binding.json"
LOCK = "lock"
SECONDS_BETWEEN_SAVES = 5.0
_TRIES = 100  # at a folder that others take away meanwhile


class FeatureParts:
    """A folder OUT.unfinished with the first rows of features and labels, bound to what makes them.

    What `rows` counts is on the disk: after a kill or a power cut at any instant the rows from there on are made anew.

    Args:
        out: path of the output.
        binding: dict of what the rows depend on; rows of another one are never gone on with.
        width: numbers in a row.
        overwrite: whether rows of another binding may be thrown away.

    Raises:
        InputError: it holds rows of another command, or is in use by another process.
        TrainingError: here and in `add` and `save`: it cannot be written.
    """

    def __init__(self, out, binding, width, overwrite=False):
        self.folder = f"{out}.unfinished"
        self._out, self._width = out, width
        binding = json.loads(json.dumps(binding))
        self.rows, self._files = 0, []
        self._lock = self._take_lock()
        try:
            held = self._read_json(BINDING)
            if held is not None and held != binding and self._rows_stored() and not overwrite:
                changed = ", ".join(
                    sorted(name for name in {*held, *binding} if held.get(name) != binding.get(name))
                )
                raise InputError(
                    f"{self.folder} holds {self._rows_stored():,} rows of another command (differing: {changed}); "
                    "repeat that one to finish it, or give --overwrite to throw them away."
                )
            with self._written():
                self._open(binding, held)
        except BaseException:
            self._lock.close()
            raise

    def _open(self, binding, held):
        self.rows = self._rows_stored() if held == binding else 0
        if not self.rows:
            for name in (STATE, BINDING):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self._path(name))
            self._write_json(BINDING, binding)
        for name, size in ((FEATURES, self.rows * self._width * 4), (LABELS, self.rows * 4)):
            file = open(self._path(name), "ab")  # noqa: SIM115  held until `close`
            file.truncate(size)
            self._files.append(file)
        self._pending, self._saved_at = self.rows, time.monotonic()

    def add(self, features, labels):
        """Adds rows: float32 [m, width] and int32 [m]. They count from the next `save` on, a few seconds later."""
        with self._written():
            for file, values, kind in zip(self._files, (features, labels), ("<f4", "<i4")):
                file.write(np.ascontiguousarray(values, kind).data)
        self._pending += len(features)
        if time.monotonic() - self._saved_at > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self):
        """Brings all rows to the disk."""
        with self._written():
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
            self._write_json(STATE, {"rows": self._pending})
        self.rows, self._saved_at = self._pending, time.monotonic()

    def read(self):
        """Returns (features float32 [rows, width], labels int32 [rows]), as they lie on the disk."""
        features = np.memmap(self._path(FEATURES), "<f4", "r", shape=(self.rows, self._width))
        return features, np.fromfile(self._path(LABELS), "<i4")

    def close(self):
        """Lets go of the folder; it stays for another time if there are rows in it."""
        if not self.rows:
            self.remove()
            return
        self._close_files()
        self._lock.close()

    def remove(self):
        """Takes the folder away, once the output is there."""
        self._close_files()
        # While the lock is held, and its own file last: a process that comes meanwhile is refused, or finds the file
        # gone and makes a new one, and nothing of that is taken from it.
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self.folder), key=lambda name: name == LOCK):
                os.remove(self._path(name))
        self._lock.close()
        with contextlib.suppress(OSError):  # not empty where another process has it now
            os.rmdir(self.folder)

    def _close_files(self):
        for file in self._files:
            with contextlib.suppress(OSError):  # a full disk, for rows that do not count
                file.close()

    def _take_lock(self):
        """Returns the open lock file, which is locked and lies in the folder."""
        for _ in range(_TRIES):
            with self._written():
                os.makedirs(self.folder, exist_ok=True)
                try:
                    lock = open(self._path(LOCK), "a")  # noqa: SIM115  held until `close`
                except FileNotFoundError:  # the folder went again
                    continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                break
            except OSError:  # a file system that cannot lock
                pass
            # Not that of a process that has finished since and taken its folder away.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), os.stat(self._path(LOCK))):
                    return lock
            lock.close()
        raise InputError(
            f"--out={self._out} is being made by another process; wait for it, or give another name."
        )

    def _rows_stored(self):
        """Rows that are all there; 0 where there is no telling."""
        rows = (self._read_json(STATE) or {}).get("rows", 0)
        sizes = [
            os.path.getsize(self._path(n)) if os.path.exists(self._path(n)) else 0 for n in (FEATURES, LABELS)
        ]
        whole = (
            type(rows) is int and rows >= 0 and sizes[0] >= rows * self._width * 4 and sizes[1] >= rows * 4
        )
        return rows if whole else 0

    def _read_json(self, name):
        try:
            with open(self._path(name), encoding="utf-8") as file:
                held = json.load(file)
            return held if isinstance(held, dict) else None
        except (OSError, ValueError):
            return None

    def _write_json(self, name, held):
        temporary = self._path(f"{name}.tmp")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(held, file)
        to_disk(temporary)
        os.replace(temporary, self._path(name))
        to_disk(self.folder)

    def _path(self, name):
        return os.path.join(self.folder, name)

    @contextlib.contextmanager
    def _written(self):
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self.folder} cannot be written ({one_line(error)}); free space or mend its rights, then repeat the "
                "command: it goes on from what is saved there."
            ) from error
