"""One process at a time in a run directory."""

import os
from collections.abc import Callable

from simclr_keras.errors import InputError
from simclr_keras.files import is_remote
from simclr_keras.locks import ProcessLock
from simclr_keras.runs.run_files import LOCK


class RunLock:
    """The lock of a local run directory.

    A remote one (gs://...) has no lock, because object stores cannot lock; neither can some network file systems.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, LOCK)
        self._lock = None if is_remote(directory) else ProcessLock(self._path)

    def check(self) -> None:
        """Raise InputError if another process has the lock. Writes nothing."""
        if self._lock is not None and not self._lock.is_locked:
            self._require(self._lock, self._lock.is_free)

    def acquire(self) -> None:
        """Take the lock. Raise InputError if another process has it."""
        if self._lock is not None and not self._lock.is_locked:
            self._require(self._lock, self._lock.acquire)

    def release(self) -> None:
        """Release the lock, if it was taken."""
        if self._lock is not None:
            self._lock.release()

    def _require(self, lock: ProcessLock, succeeds: Callable[[], bool]) -> None:
        try:
            if succeeds():
                return
        except OSError as error:
            raise InputError(
                f"{self._path} cannot be opened ({error.strerror}); delete it, or give another --model_dir."
            ) from error
        raise InputError(
            f"--model_dir={self._directory} is in use by {lock.holder()}; wait for it, stop it, or give another "
            "directory."
        )
