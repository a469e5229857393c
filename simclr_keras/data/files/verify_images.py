"""The search for unreadable image files: every new or changed file is decoded and hashed once, in parallel."""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from simclr_keras.backend import standard_error_into
from simclr_keras.data.files.image_file import check_file
from simclr_keras.data.files.manifest import Manifest, stamps_of

_WORKERS = 4 + 2 * (os.cpu_count() or 1)  # some of them wait for the disk
_SECONDS_BEFORE_PROGRESS = 2.0
_SECONDS_BETWEEN_WRITES = 30.0


class Verified(NamedTuple):
    """The checks of n files.

    Attributes:
        problems: why files are unreadable, by row.
        hashes: of the contents, uint64 [n]; 0 for unreadable files.
        is_constant: which images are almost blank, bool [n].
        list_path: of the CSV file of unreadable files, or None.
        copies: paths of the PNG copies of the images that TensorFlow does not decode, by row.
    """

    problems: dict[int, str]
    hashes: np.ndarray
    is_constant: np.ndarray
    list_path: str | None
    copies: dict[int, str]


def find_unreadable(
    folder: str, images: Sequence[str], paths: Sequence[str], recheck: bool = False
) -> Verified:
    """Find the files that cannot be used, and hash the content of all others.

    The manifest remembers readable files with their size and times of change; they are decoded again only if one of
    these changes. More than 10,000 remote files are not asked for their times: there a readable file counts as
    readable until `recheck`. Unreadable files are tried at every call, so a repaired file comes back. An
    interrupted search keeps its results.

    Args:
        folder: local or remote folder.
        images: n paths relative to the folder.
        paths: the n paths to open.
        recheck: whether to decode every file, whatever the manifest says.

    Raises:
        TrainingError: a PNG copy cannot be written.
    """
    manifest = Manifest(folder)
    stamps, copies = stamps_of(paths), manifest.copies
    before, constant, converted = manifest.read(images, stamps)
    rows = np.flatnonzero(converted)
    before[rows[copies.are_missing(before[rows])]] = 0
    hashes, problems = np.zeros_like(before) if recheck else before.copy(), {}
    written = time.monotonic()
    try:
        with contextlib.closing(_search(paths, np.flatnonzero(hashes == 0), copies)) as results:
            for row, check in results:
                hashes[row], constant[row] = check.content_hash, check.is_constant
                converted[row] = check.is_converted
                if check.problem:
                    problems[row] = check.problem
                if time.monotonic() - written > _SECONDS_BETWEEN_WRITES:
                    manifest.write(images, stamps, hashes, constant, converted)
                    written = time.monotonic()
    finally:
        if not np.array_equal(hashes, before):
            manifest.write(images, stamps, hashes, constant, converted, prune=True)
    problems = dict(sorted(problems.items()))
    is_listed = manifest.write_list([(images[row], problem) for row, problem in problems.items()])
    list_path = manifest.list_path if is_listed else None
    copy_paths = {int(row): copies.path(hashes[row]) for row in np.flatnonzero(converted & (hashes != 0))}
    return Verified(problems, hashes, constant, list_path, copy_paths)


def verify_file(path: str) -> tuple[str, str]:
    """Return why a single file cannot be used, or "", and the path to read it from: its own or that of a PNG copy.

    Raises:
        TrainingError: a PNG copy cannot be written.
    """
    copies = Manifest(os.path.dirname(path)).copies
    check = check_file(path, copies)
    return check.problem, copies.path(check.content_hash) if check.is_converted else path


def _search(paths, rows, copies):
    """Yield (row, FileCheck) of these rows, in any order."""
    if not len(rows):
        return
    rows = rows.tolist()
    workers = 64 if "://" in paths[rows[0]] else _WORKERS
    chunks = [rows[i : i + 16] for i in range(0, len(rows), 16)]

    def check(chunk):
        return [(row, check_file(paths[row], copies)) for row in chunk]

    with _quiet() as screen, ThreadPool(workers) as pool:
        bar = tqdm(
            total=len(rows),
            desc="checking images",
            unit="file",
            file=screen,
            delay=_SECONDS_BEFORE_PROGRESS,
            mininterval=0.1 if screen.isatty() else 30,  # a log gets a line every 30 seconds
        )
        with bar:
            for results in pool.imap_unordered(check, chunks):
                bar.update(len(results))
                yield from results


@contextlib.contextmanager
def _quiet():
    """Hide what libjpeg and libpng print about damaged files; yield a file that still writes to the screen."""
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        screen = nowhere if sys.stderr is None else sys.stderr
        with contextlib.suppress(OSError, ValueError):  # a standard error that is not a file of the system
            again = os.dup(screen.fileno())
            screen = stack.enter_context(os.fdopen(again, "w", errors="backslashreplace"))
        stack.enter_context(standard_error_into(nowhere))
        yield screen
