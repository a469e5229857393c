"""The search for image files that cannot be used: every file decoded once, in parallel, and remembered."""

import contextlib
import itertools
import os
import sys
import time
from multiprocessing.pool import ThreadPool

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from simclr_keras.backend import standard_error_into
from simclr_keras.data.image_file import problem_of
from simclr_keras.data.manifest import Manifest

# Some of them wait for the disk.
_WORKERS = 4 + 2 * (os.cpu_count() or 1)
_SECONDS_BEFORE_THE_BAR = 2.0
_SECONDS_BETWEEN_WRITINGS = 30.0
# Of so many remote files size and time are asked for; of more it would take as long as a new search.
_MOST_REMOTE_STAMPS = 10_000


def find_unreadable(folder, images, paths):
    """The files that cannot be used, with reasons.

    Files found good are remembered with their size and time of change, in the user's cache folder, and are not
    decoded again until one of these changes. Bad files are tried at every call, so a repaired one comes back.
    An interrupted search keeps what it has found.

    Args:
        folder: The folder, local or remote.
        images: List of n paths relative to the folder.
        paths: List of the n paths to open.

    Returns:
        Dict of row to reason ("is empty"), in order of the rows, and the path of a CSV file that lists them, or
        None where there are none or it could not be written.
    """
    manifest = Manifest(folder)
    stamps = _stamps(paths)
    before = manifest.known_good(images, stamps)
    good, problems = before.copy(), {}
    unknown = np.flatnonzero(~before)
    written = time.monotonic()
    try:
        with contextlib.closing(_search(paths, unknown)) as results:
            for row, problem in results:
                good[row] = not problem
                if problem:
                    problems[row] = problem
                if time.monotonic() - written > _SECONDS_BETWEEN_WRITINGS:
                    manifest.write(images, stamps, good)
                    written = time.monotonic()
    finally:
        if manifest.needs_writing(good, before):
            manifest.write(images, stamps, good)
    problems = dict(sorted(problems.items()))
    listed = manifest.write_list([(images[row], problem) for row, problem in problems.items()])
    return problems, manifest.list_path if listed else None


def _search(paths, rows):
    """Yields (row, reason or "") of these rows, in any order."""
    if not len(rows):
        return
    rows = rows.tolist()
    remote = "://" in paths[rows[0]]
    chunks = [rows[i : i + 16] for i in range(0, len(rows), 16)]

    def check(chunk):
        return [(row, problem_of(paths[row])) for row in chunk]

    with _quiet() as terminal, ThreadPool(64 if remote else _WORKERS) as pool:
        bar = tqdm(
            total=len(rows),
            desc="checking images",
            unit="file",
            file=terminal or sys.stderr,
            disable=terminal is None,
            delay=_SECONDS_BEFORE_THE_BAR,
        )
        with bar:
            for results in pool.imap_unordered(check, chunks):
                bar.update(len(results))
                yield from results


@contextlib.contextmanager
def _quiet():
    """Keeps what libjpeg and libpng say of damaged files off the screen; gives the terminal, or None."""
    with contextlib.ExitStack() as stack:
        terminal = None
        if sys.stderr is not None and sys.stderr.isatty():
            terminal = stack.enter_context(os.fdopen(os.dup(sys.stderr.fileno()), "w"))
        nowhere = stack.enter_context(open(os.devnull, "wb"))
        stack.enter_context(standard_error_into(nowhere))
        yield terminal


def _stamps(paths):
    """Size and time of change of each file, int64 [n, 2]; -1 where they are not known."""
    remote = bool(paths) and "://" in paths[0]
    if remote and len(paths) > _MOST_REMOTE_STAMPS:
        return np.full([len(paths), 2], -1, np.int64)
    stamp = _remote_stamp if remote else _local_stamp
    if len(paths) < 1000 and not remote:
        return np.array([stamp(path) for path in paths], np.int64).reshape(-1, 2)
    size = 20 if remote else 1000
    chunks = [paths[i : i + size] for i in range(0, len(paths), size)]
    with ThreadPool(32 if remote else 16) as pool:
        stamps = pool.map(lambda chunk: [stamp(path) for path in chunk], chunks, chunksize=1)
    return np.array(list(itertools.chain.from_iterable(stamps)), np.int64)


def _local_stamp(path):
    try:
        found = os.stat(path)
    except OSError:  # a file that is gone is for the search to find
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _remote_stamp(path):
    try:
        found = tf.io.gfile.stat(path)
    except tf.errors.OpError:
        return -1, -1
    return found.length, found.mtime_nsec
