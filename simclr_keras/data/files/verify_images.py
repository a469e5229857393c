"""The search for image files that cannot be used: every file decoded once, in parallel, and remembered."""

import contextlib
import os
import sys
import time
from multiprocessing.pool import ThreadPool

import numpy as np
from tqdm import tqdm

from simclr_keras.backend import standard_error_into
from simclr_keras.data.files.image_file import problem_of
from simclr_keras.data.files.manifest import Manifest, stamps_of

# Some of them wait for the disk.
_WORKERS = 4 + 2 * (os.cpu_count() or 1)
_SECONDS_BEFORE_THE_BAR = 2.0
_SECONDS_BEFORE_THE_LINE = 10.0
_SECONDS_BETWEEN_WRITINGS = 30.0


def find_unreadable(folder, images, paths, listed=(), recheck=False):
    """The files that cannot be used, with reasons.

    Files found good are remembered with their size and times of change, in the user's cache folder, and are not
    decoded again until one of these changes. Of more than 10,000 remote files these are not asked for: there a
    file found good counts as good until `recheck`. Bad files are tried at every call, so a repaired one comes back.
    An interrupted search keeps what it has found.

    Args:
        folder: The folder, local or remote.
        images: List of n paths relative to the folder.
        paths: List of the n paths to open.
        listed: Paths of all images of the folder: what is known of the others among them is kept.
        recheck: Whether to decode every file, whatever is remembered of it.

    Returns:
        Dict of row to reason ("is empty"), in order of the rows, and the path of a CSV file that lists them, or
        None where there are none or it could not be written.
    """
    manifest = Manifest(folder, listed)
    stamps = stamps_of(paths)
    before = manifest.known_good(images, stamps)
    good, problems = before & (not recheck), {}
    unknown = np.flatnonzero(~good)
    written = time.monotonic()
    try:
        with contextlib.closing(_search(folder, paths, unknown)) as results:
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


def _search(folder, paths, rows):
    """Yields (row, reason or "") of these rows, in any order."""
    if not len(rows):
        return
    rows = rows.tolist()
    remote = "://" in paths[rows[0]]
    chunks = [rows[i : i + 16] for i in range(0, len(rows), 16)]

    def check(chunk):
        return [(row, problem_of(paths[row])) for row in chunk]

    with _quiet() as screen, ThreadPool(64 if remote else _WORKERS) as pool:
        bar = tqdm(
            total=len(rows),
            desc="checking images",
            unit="file",
            file=screen,
            disable=not screen.isatty(),
            delay=_SECONDS_BEFORE_THE_BAR,
        )
        said_at = time.monotonic() + _SECONDS_BEFORE_THE_LINE
        with bar:
            for results in pool.imap_unordered(check, chunks):
                bar.update(len(results))
                if bar.disable and time.monotonic() > said_at:
                    print(f"checking {len(rows):,} images of {folder} ...", file=screen, flush=True)
                    said_at = float("inf")
                yield from results


@contextlib.contextmanager
def _quiet():
    """Keeps what libjpeg and libpng say of damaged files off the screen; gives a file that still writes there."""
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        screen = nowhere if sys.stderr is None else sys.stderr
        with contextlib.suppress(OSError, ValueError):  # a standard error that is no file of the system
            again = os.dup(screen.fileno())
            screen = stack.enter_context(os.fdopen(again, "w", errors="backslashreplace"))
        stack.enter_context(standard_error_into(nowhere))
        yield screen
