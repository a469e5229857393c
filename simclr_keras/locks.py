"""Locks between processes: a file that is free again when its process ends, on Linux, macOS and Windows."""

import contextlib
import errno
import os
import pathlib
import socket
from typing import Any

ATTEMPTS_FOR = 0.2  # seconds; another process may only look
_CANNOT_LOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}  # some file systems of clusters


class ProcessLock:
    """A lock file that one process has at a time. On a file system without locks, every process has it.

    The file itself stays empty, since Windows lets nobody read a locked file. A second one names the process.

    Args:
        path: of the lock file; its folder must exist before `acquire`.
    """

    def __init__(self, path: str) -> None:
        self._path, self._holder = path, pathlib.Path(f"{path}.holder")
        self._lock: Any = None

    @property
    def is_locked(self) -> bool:
        """Whether this object has the lock."""
        return self._lock is not None

    def acquire(self, seconds: float = ATTEMPTS_FOR) -> bool:
        """Take the lock, waiting so many seconds for another process; return whether this object has it now.

        With -1 it waits until the other process ends. An OSError means that the file cannot be opened.
        """
        if not self._take(seconds):
            return False
        with contextlib.suppress(OSError):  # the lock holds without a name
            self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        return True

    def is_free(self) -> bool:
        """Return whether no process has the lock; makes no file. Raises OSError if the file cannot be opened."""
        if not os.path.exists(self._path):
            return True
        is_free = self._take(ATTEMPTS_FOR)
        self._release()
        return is_free

    def holder(self) -> str:
        """Return the process that has the lock, for a message."""
        with contextlib.suppress(OSError):
            return self._holder.read_text(encoding="utf-8", errors="replace").strip() or "another process"
        return "another process"

    def release(self) -> None:
        """Let other processes take the lock."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._holder.unlink()
        self._release()

    def _take(self, seconds: float) -> bool:
        import filelock  # a tenth of a second, which commands that lock nothing save

        lock = filelock.FileLock(self._path, thread_local=False)  # released by any thread
        try:
            lock.acquire(timeout=seconds)
        except filelock.Timeout:
            return False
        except OSError as error:
            if error.errno not in _CANNOT_LOCK:
                raise
        self._lock = lock
        return True

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
