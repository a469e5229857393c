"""The one writer of whole files and whole folders, on local paths and on those of tf.io.gfile.

Local paths need no TensorFlow. A reader sees the old content or the new one, never half of it.
"""

import contextlib
import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from simclr_keras.errors import InputError, TrainingError, one_line

ABANDONED = 24 * 3600  # seconds; nothing is written for so long
_TEMPORARY = ".tmp-"  # in the name of a file that is being written
_NO_FOLDER_SYNC = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EBADF, errno.ENOTSUP)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


class _LocalFiles:
    """The functions of tf.io.gfile that are used here, for local paths."""

    exists, isdir, listdir, rename_folder = os.path.exists, os.path.isdir, os.listdir, os.rename
    remove, rmtree, open = os.remove, shutil.rmtree, open

    @staticmethod
    def makedirs(path: str) -> None:
        os.makedirs(path, exist_ok=True)

    @staticmethod
    def walk(path: str) -> Any:
        return os.walk(path, followlinks=True)

    @staticmethod
    def modified(path: str) -> float:
        return os.stat(path).st_mtime


class _RemoteFiles:
    """The same functions for all other paths."""

    def __init__(self) -> None:
        from simclr_keras.backend import start_tensorflow_quietly

        start_tensorflow_quietly(devices=False)
        import tensorflow as tf

        gfile = tf.io.gfile
        self.exists, self.isdir, self.makedirs, self.walk = (
            gfile.exists,
            gfile.isdir,
            gfile.makedirs,
            gfile.walk,
        )
        self.rename, self.remove, self.rmtree, self.open = (
            gfile.rename,
            gfile.remove,
            gfile.rmtree,
            gfile.GFile,
        )
        self._gfile = gfile

    def listdir(self, path: str) -> list[str]:
        return [name.rstrip("/") for name in self._gfile.listdir(path)]

    def rename_folder(self, path: str, target: str) -> None:
        # File by file: not every file system takes along what is in a folder.
        for folder, _, names in self._gfile.walk(path):
            inside = target + folder.removeprefix(path).rstrip("/")
            self._gfile.makedirs(inside)
            for name in names:
                self._gfile.rename(f"{folder.rstrip('/')}/{name}", f"{inside}/{name}")
        self._gfile.rmtree(path)

    def modified(self, path: str) -> float:
        return float(self._gfile.stat(path).mtime_nsec) / 1e9


def expand_home(path: str | os.PathLike) -> str:
    """Return a path with the home folder for "~" or "~user", also after a kind of dataset (folder:~/photos).

    A path that exists only literally, in a folder named "~", stays as it is: earlier versions made such folders.
    """
    text = os.fspath(path)
    kind, colon, rest = text.partition(":")
    head, tail = (kind + colon, rest) if rest.startswith("~") else ("", text)
    if not tail.startswith("~"):
        return text
    expanded = os.path.expanduser(tail)
    is_literal = os.path.lexists(tail) and not os.path.lexists(expanded)
    return text if is_literal else head + expanded


def is_remote(path: str) -> bool:
    """Return whether a path needs tf.io.gfile."""
    return "://" in path


def absolute(path: str) -> str:
    """Return the absolute path of a local path; a remote one stays as it is."""
    return path if is_remote(path) else os.path.abspath(path)


def existing_folder(path: str) -> str:
    """Return the nearest folder above or at a local absolute path that exists; its root if there is none."""
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def file_system(path: str) -> Any:
    """Return the functions that open, list and rename files, for this kind of path."""
    return _RemoteFiles() if is_remote(path) else _LocalFiles


def errors_of(path: str) -> tuple[type[Exception], ...]:
    """Return the exceptions that `file_system(path)` raises."""
    if not is_remote(path):
        return (OSError,)
    import tensorflow as tf

    return OSError, tf.errors.OpError


def read_file(path: str, most: int = -1) -> bytes | None:
    """Return the content of a file, or at most so many bytes; None if it does not exist.

    Raises:
        OSError, tf.errors.OpError: the file is unreadable.
    """
    system = file_system(path)
    if not system.exists(path):
        return None
    with system.open(path, "rb") as file:
        content: bytes = file.read(most)
        return content


def write_file(path: str, content: bytes | str | Callable[[Any], object]) -> None:
    """Replace a file as a whole; its folder must exist.

    Args:
        content: bytes, text, or a function that writes to the open binary file.

    Raises:
        TrainingError: the file cannot be written; the old one stays.
    """
    path = expand_home(path)
    folder, name = os.path.split(absolute(path))
    # A name of its own: another process may be writing the same file.
    temporary = f"{folder}/.{name}{_TEMPORARY}{uuid.uuid4().hex[:12]}"
    system = file_system(path)
    try:
        try:
            with system.open(temporary, "wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode() if isinstance(content, str) else content)
            to_disk(temporary)
            if is_remote(path):
                system.rename(temporary, path, overwrite=True)
            else:
                os.replace(temporary, path)
            to_disk(folder)
        finally:
            with contextlib.suppress(*errors_of(path)):
                system.remove(temporary)
    except errors_of(path) as error:
        raise cannot_write(path, error) from error


def cannot_write(path: str, error: Exception) -> TrainingError:
    """Return the error of a disk that is full or read-only, in one line."""
    return TrainingError(
        f"cannot write {path} ({one_line(error)}); free space or change its permissions, then repeat the command."
    )


def remove_leftovers(folder: str) -> None:
    """Remove the half-written files of killed processes; only for a folder in which no other process writes."""
    system = file_system(folder)
    with contextlib.suppress(*errors_of(folder)):
        for name in system.listdir(folder):
            if name.startswith(".") and _TEMPORARY in name:
                system.remove(f"{folder}/{name}")


def to_disk(path: str) -> None:
    """Wait until a local file, or the names in a local folder, would survive a power cut.

    Raises:
        OSError: the disk refuses.
    """
    if is_remote(path):
        return
    is_folder = os.path.isdir(path)
    try:
        # Windows flushes only what is open for writing.
        descriptor = os.open(path, os.O_RDONLY if is_folder or os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # Windows opens no folders, and some network drives do not flush them.
        if not (is_folder and error.errno in _NO_FOLDER_SYNC):
            raise


@contextlib.contextmanager
def whole_folder(path: str, check: Callable[[str], object]) -> Iterator[str]:
    """Yield an empty folder that replaces `path` if the block succeeds, and is removed if not.

    `check(path)`, called before and after, raises InputError if the folder may not be replaced.

    Raises:
        InputError: `check` refuses, or the folder cannot be made.
        TrainingError: the disk is full, or the like; the old folder stays.
    """
    target = expand_home(path).rstrip("/") or "/"
    if not is_remote(target):
        target = os.path.realpath(target)  # replace the folder that a link leads to, not the link
    system, errors = file_system(target), errors_of(target)
    # Unique names: two processes may be writing at once, and "x.old" may be a user's backup.
    parent, name = os.path.split(target)
    partial, old = (f"{parent}/.{name}.{kind}-{uuid.uuid4().hex[:12]}" for kind in ("partial", "old"))
    _recover(parent, name, target)
    check(target)
    try:
        system.makedirs(partial)
    except errors as error:
        raise InputError(
            f"--out={path} cannot be made ({one_line(error)}); give a folder you may write to."
        ) from error
    try:
        yield partial
        for folder, _, names in [] if is_remote(target) else list(os.walk(partial)):
            for name_inside in names:
                to_disk(f"{folder}/{name_inside}")
            to_disk(folder)
        check(target)  # again: another process may have made it meanwhile
        if system.exists(target):
            system.rename_folder(target, old)
        system.rename_folder(partial, target)
        to_disk(parent or "/")
    except Exception as error:
        if not (isinstance(error, OSError) or _is_tensorflow_error(error)):
            raise
        remedy = "; free space or change its permissions, then repeat the command" if _no_room(error) else ""
        raise TrainingError(f"cannot write {path} ({one_line(error)}){remedy}.") from error
    finally:
        if system.exists(old) and not system.exists(target):
            system.rename_folder(old, target)
        for leftover in (partial, old):
            with contextlib.suppress(*errors):
                if system.exists(leftover):
                    system.rmtree(leftover)


def _recover(parent: str, name: str, target: str) -> None:
    """Put back the old folder of a killed process, and delete half-written ones of long ago."""
    pattern = re.compile(rf"\.{re.escape(name)}\.(partial|old)-[0-9a-f]{{12}}")
    system = file_system(target)
    with contextlib.suppress(*errors_of(target)):
        for entry in sorted(system.listdir(parent or "/")):
            match, path = pattern.fullmatch(entry), f"{parent}/{entry}"
            if match and match[1] == "old" and not system.exists(target):
                system.rename_folder(path, target)
            elif match and time.time() - system.modified(path) > ABANDONED:
                system.rmtree(path)


def _is_tensorflow_error(error: Exception) -> bool:
    # Whoever fills the folder may use TensorFlow, also for a local one.
    return hasattr(error, "error_code") and type(error).__module__.startswith("tensorflow")


def _no_room(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return type(error).__name__ in ("ResourceExhaustedError", "PermissionDeniedError")
