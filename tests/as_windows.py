"""A stand-in for Windows: no fcntl, no symbolic links, no flushing of folders. SIMCLR_TEST_AS_WINDOWS=1 turns it on."""

import errno
import os
import stat
import sys

import pytest


def block() -> None:
    """Take from this process what Windows does not have."""
    sys.modules["fcntl"] = None
    fsync = os.fsync

    def symlink(*args, **kwargs):
        raise OSError(errno.EPERM, "A required privilege is not held by the client")

    def fsync_of_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise PermissionError(errno.EACCES, "Permission denied")
        fsync(descriptor)

    os.symlink, os.fsync = symlink, fsync_of_files
    del os.mkfifo


def link(path, target) -> None:
    """Make a symbolic link, or skip the test if the system refuses."""
    try:
        path.symlink_to(target)
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")


def pipe(path) -> None:
    """Make a named pipe, or skip the test if the system has none."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(path)
