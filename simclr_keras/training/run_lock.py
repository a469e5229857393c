"""One process at a time in a run directory: a lock that the system drops when its process ends, however it ends."""

import fcntl
import os
import socket

from simclr_keras.errors import InputError

NAME = "run.lock"


class RunLock:
    """The lock of a local run directory; a remote one (gs://...) has none, as object stores cannot lock.

    Args:
        directory: the run directory.
    """

    def __init__(self, directory):
        self._directory = directory
        self._path = None if "://" in directory else os.path.join(directory, NAME)
        self._file = None

    def check(self):
        """Raises InputError if another process holds the lock. Writes nothing."""
        if self._path is None or self._file is not None or not os.path.exists(self._path):
            return
        with open(self._path, encoding="utf-8") as file:
            self._lock(file)

    def acquire(self):
        """Takes the lock and writes down who has it. Raises InputError if another process holds it."""
        if self._path is None or self._file is not None:
            return
        file = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115 - closing it would drop the lock
        try:
            self._lock(file)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file

    def release(self):
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lock(self, file):
        try:
            # Shared while only looking: two lookers are no conflict.
            fcntl.flock(file, (fcntl.LOCK_EX if file.writable() else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise InputError(
                f"--model_dir={self._directory} is in use by {holder}; wait for it, stop it, or give another directory."
            ) from None
