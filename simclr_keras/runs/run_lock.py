"""One process at a time in a run directory: a lock that the system releases when its process ends."""

import fcntl
import os
import socket
import time
from typing import IO

from simclr_keras.errors import InputError
from simclr_keras.files import is_remote
from simclr_keras.runs.run_files import LOCK

ATTEMPTS = 3  # before a lock counts as taken


class RunLock:
    """The lock of a local run directory.

    A remote one (gs://...) has no lock, because object stores cannot lock; neither can some network file systems.

    Args:
        directory: the run directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = None if is_remote(directory) else os.path.join(directory, LOCK)
        self._file: IO[str] | None = None

    def check(self) -> None:
        """Raise InputError if another process holds the lock. Writes nothing."""
        if self._path is not None and self._file is None and os.path.exists(self._path):
            with self._open(self._path, "r") as file:
                self._lock(file, fcntl.LOCK_SH)  # shared: two checks do not exclude each other

    def acquire(self) -> None:
        """Take the lock and write its process into the file. Raise InputError if another process holds it."""
        if self._path is None or self._file is not None:
            return
        file = self._open(self._path, "a+")
        try:
            self._lock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file

    def release(self) -> None:
        """Release the lock, if it was taken."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: str, mode: str) -> IO[str]:
        try:
            return open(path, mode, encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(
                f"{path} cannot be opened ({error.strerror}); delete it, or give another --model_dir."
            ) from error

    def _lock(self, file: IO[str], kind: int) -> None:
        for attempt in range(ATTEMPTS):
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                # Perhaps only by a check, for an instant.
                if attempt + 1 < ATTEMPTS:
                    time.sleep(0.05)
            except OSError:  # a file system that cannot lock, like some of clusters
                return
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise InputError(
            f"--model_dir={self._directory} is in use by {holder}; wait for it, stop it, or give another directory."
        )
