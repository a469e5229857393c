"""What is remembered between runs of the image files that were found good: name, size and times of change."""

import contextlib
import csv
import hashlib
import io
import itertools
import os
import re
from multiprocessing.pool import ThreadPool

import numpy as np
import tensorflow as tf

from simclr_keras.errors import TrainingError
from simclr_keras.files import write_file

# Of what counts as good; another TensorFlow may decode other files.
_VERSION = f"2 {tf.__version__}"

# Of so many remote files size and time are asked for; of more it would take as long as a new search.
_MOST_REMOTE_STAMPS = 10_000
_UNKNOWN, _NOT_ASKED_FOR = -1, -2


class Manifest:
    """The good files of one folder, in the user's cache folder, and a list of the bad ones for the user.

    Nothing is kept in the process: what another run wrote is seen at the next reading.

    Args:
        folder: The folder, local or remote.
        listed: Paths relative to the folder of all images there are now; what is known of others is forgotten.
    """

    def __init__(self, folder, listed=()):
        place = str(folder) if "://" in str(folder) else os.path.abspath(folder)
        digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
        name = re.sub(r"[^\w.-]", "_", os.path.basename(place.rstrip("/")), flags=re.ASCII)[:40]
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        # "~" is left where there is no home; nothing is remembered then.
        self._stem = os.path.join(cache, "simclr_keras", f"{name}-{digest}") if os.path.isabs(cache) else None
        self._listed = listed
        self._rows_stored = 0
        self._other_names, self._other_stamps = [], None

    @property
    def path(self):
        """Where the good files are remembered, or None."""
        return self._stem and f"{self._stem}-good.npz"

    @property
    def list_path(self):
        """Where `write_list` puts the bad files, or None."""
        return self._stem and f"{self._stem}-unreadable.csv"

    def known_good(self, names, stamps):
        """Which files were found good and have not changed since.

        Args:
            names: List of n paths relative to the folder.
            stamps: int64 [n, k], as of `stamps_of`.

        Returns:
            bool [n]; all False where the manifest is missing or damaged. Where stamps were not asked for, a file that
            was good counts as good; where one could not be had, never.
        """
        try:
            with np.load(self.path or "", allow_pickle=False) as stored:
                if str(stored["version"]) != _VERSION:
                    return np.zeros(len(names), bool)
                old_names = _split(stored["names"].tobytes())
                old_stamps = stored["stamps"]
            if old_stamps.shape != (len(old_names), stamps.shape[1]):
                raise ValueError("names and stamps differ in number")
        except Exception:  # NumPy, zipfile and zlib raise a dozen kinds; the files are searched again
            return np.zeros(len(names), bool)
        self._rows_stored = len(old_names)
        known = stamps[:, 0] != _UNKNOWN
        if old_names == names:
            return known & (old_stamps == stamps).all(axis=1)
        row_of = {name: row for row, name in enumerate(old_names)}
        rows = np.array([row_of.get(name, -1) for name in names], np.int64)
        same = known & (rows >= 0)
        same[same] = (old_stamps[rows[same]] == stamps[same]).all(axis=1)
        others = sorted(row_of[name] for name in set(self._listed).difference(names) if name in row_of)
        self._other_names, self._other_stamps = [old_names[row] for row in others], old_stamps[others]
        return same

    def write(self, names, stamps, good):
        """Remembers the files where `good` (bool [n]), and the others listed; says whether that could be done."""
        rows = np.flatnonzero(good)
        names, stamps = [names[row] for row in rows], stamps[rows]
        if self._other_names:
            names, stamps = names + self._other_names, np.concatenate([stamps, self._other_stamps])
        arrays = {"version": np.array(_VERSION), "names": _join(names), "stamps": stamps}
        self._rows_stored = len(names)
        return _written(self.path, lambda file: np.savez_compressed(file, **arrays))

    def needs_writing(self, good, before):
        """Whether `good` (bool [n]) tells more than, or leaves out what, the manifest held."""
        rows = np.count_nonzero(good) + len(self._other_names)
        return not np.array_equal(good, before) or self._rows_stored != rows

    def write_list(self, problems):
        """Writes the bad files, [(name, problem)], as CSV; says whether that could be done."""
        if not problems:
            with contextlib.suppress(OSError):
                os.remove(self.list_path or "")
            return False

        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows([("file", "problem"), *problems])
        return _written(self.list_path, text.getvalue().encode("utf-8", "surrogateescape"))


def stamps_of(paths):
    """Size, time of change and time of change of the inode of each file, int64 [n, 3].

    The last tells also of new rights and of a file whose time was set back, which the first two do not. Negative
    where they could not be had, or were not asked for: of more than 10,000 remote files.
    """
    remote = bool(paths) and "://" in paths[0]
    if remote and len(paths) > _MOST_REMOTE_STAMPS:
        return np.full([len(paths), 3], _NOT_ASKED_FOR, np.int64)
    stamp = _remote_stamp if remote else _local_stamp
    if len(paths) < 1000 and not remote:
        return np.array([stamp(path) for path in paths], np.int64).reshape(-1, 3)
    size = 20 if remote else 1000
    chunks = [paths[i : i + size] for i in range(0, len(paths), size)]
    with ThreadPool(32 if remote else 16) as pool:
        stamps = pool.map(lambda chunk: [stamp(path) for path in chunk], chunks, chunksize=1)
    return np.array(list(itertools.chain.from_iterable(stamps)), np.int64)


def _local_stamp(path):
    try:
        found = os.stat(path)
    except OSError:  # a file that is gone is for the search to find
        return (_UNKNOWN,) * 3
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _remote_stamp(path):
    try:
        found = tf.io.gfile.stat(path)
    except tf.errors.OpError:
        return (_UNKNOWN,) * 3
    return found.length, found.mtime_nsec, 0


def _join(names):
    # No file name holds a zero byte.
    return np.frombuffer("\0".join(names).encode("utf-8", "surrogateescape"), np.uint8)


def _split(content):
    return content.decode("utf-8", "surrogateescape").split("\0") if content else []


def _written(path, content):
    """Return whether a file could be replaced; a cache that cannot be written costs only time."""
    if path is None:
        return False
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_file(path, content)
    except (OSError, TrainingError):
        return False
    return True
