"""One process at a time in a run directory: a lock that the system drops when its process ends, however it ends."""

import fcntl
import os
import socket
import time

from simclr_keras.errors import InputError

NAME = "run.lock"
LOOKS = 3  # before a lock counts as held


class RunLock:
    """The lock of a local run directory.

    A remote one (gs://...) has none, as object stores cannot lock; neither can some network file systems.

    Args:
        directory: the run directory.
    """

    def __init__(self, directory):
        self._directory = directory
        self._path = None if "://" in directory else os.path.join(directory, NAME)
        self._file = None

    def check(self):
        """Raises InputError if another process holds the lock. Writes nothing."""
        if self._path is not None and self._file is None and os.path.exists(self._path):
            with self._opened("r") as file:
                self._lock(file, fcntl.LOCK_SH)  # two lookers are no conflict

    def acquire(self):
        """Takes the lock and writes down who has it. Raises InputError if another process holds it."""
        if self._path is None or self._file is not None:
            return
        file = self._opened("a+")
        try:
            self._lock(file, fcntl.LOCK_EX)
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

    def _opened(self, mode):
        try:
            return open(self._path, mode, encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(
                f"{self._path} cannot be opened ({error.strerror}); remove it, or give another --model_dir."
            ) from error

    def _lock(self, file, kind):
        for attempt in range(LOOKS):
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                # Perhaps only by one that looks, for an instant.
                if attempt + 1 < LOOKS:
                    time.sleep(0.05)
            except OSError:  # a file system that cannot lock, as some of clusters
                return
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise InputError(
            f"--model_dir={self._directory} is in use by {holder}; wait for it, stop it, or give another directory."
        )
