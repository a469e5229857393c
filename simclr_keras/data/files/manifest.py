"""The manifest of a folder: names, times of change and content hashes of its readable images, kept between runs."""

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

from simclr_keras.data.files.converted_images import ConvertedImages
from simclr_keras.errors import TrainingError
from simclr_keras.files import absolute, write_file

# It changes with the meaning of "readable"; another TensorFlow may decode other files.
_VERSION = f"5 {tf.__version__}"

# More remote files are not asked for size and time: that would take as long as a new search.
_MOST_REMOTE_STAMPS = 10_000
_UNKNOWN, _NOT_ASKED_FOR = -1, -2


class Manifest:
    """The readable files of one folder, in the user's cache folder, and a list of the unreadable ones for the user.

    Nothing is kept in the process: what another run wrote is seen at the next reading.

    Args:
        folder: local or remote folder.
    """

    def __init__(self, folder: str | os.PathLike):
        path = absolute(str(folder))
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        name = re.sub(r"[^\w.-]", "_", os.path.basename(path.rstrip("/")), flags=re.ASCII)[:40]
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        # Without a home "~" stays in the path; nothing is remembered then.
        self._stem = os.path.join(cache, "simclr_keras", f"{name}-{digest}") if os.path.isabs(cache) else None
        self._folder = path
        self._stored: tuple = ([], *4 * [np.zeros(0)])  # what `read` found, of all files

    @property
    def path(self) -> str | None:
        """Path of the file that names the readable images, or None."""
        return self._stem and f"{self._stem}-good.npz"

    @property
    def list_path(self) -> str | None:
        """Path of the list of unreadable images, or None."""
        return self._stem and f"{self._stem}-unreadable.csv"

    @property
    def copies(self) -> ConvertedImages:
        """The PNG copies of images of other formats, in a folder beside the manifest."""
        return ConvertedImages(self._stem and f"{self._stem}-converted")

    def read(self, names: list[str], stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is known about the files that were readable and have not changed since.

        Args:
            names: n paths relative to the folder.
            stamps: int64 [n, k], from `stamps_of`.

        Returns:
            Content hashes, uint64 [n], 0 for other files, or all 0 if the manifest is missing or damaged; which images
            are constant and which are converted, bool [n] each. Files whose stamps were not asked for count as
            unchanged; files whose stamps are unknown count as changed.
        """
        hashes = np.zeros(len(names), np.uint64)
        constant, converted = np.zeros((2, len(names)), bool)
        try:
            with np.load(self.path or "", allow_pickle=False) as stored:
                if str(stored["version"]) != _VERSION:
                    return hashes, constant, converted
                old_names = _split(stored["names"].tobytes())
                old_stamps, old_hashes, old_constant, old_converted = (
                    stored[name] for name in ("stamps", "hashes", "constant", "converted")
                )
            counts = set(map(len, (old_names, old_hashes, old_constant, old_converted, old_stamps)))
            if len(counts) != 1 or old_stamps.shape[1:] != stamps.shape[1:]:
                raise ValueError("names, stamps and hashes differ in number")
        except Exception:  # NumPy, zipfile and zlib raise a dozen kinds; the files are searched again
            return hashes, constant, converted
        self._stored = (old_names, old_stamps, old_hashes, old_constant, old_converted)
        row_of = {name: row for row, name in enumerate(old_names)}
        rows = np.array([row_of.get(name, -1) for name in names], np.int64)
        unchanged = (stamps[:, 0] != _UNKNOWN) & (rows >= 0)
        unchanged[unchanged] = (old_stamps[rows[unchanged]] == stamps[unchanged]).all(axis=1)
        rows = rows[unchanged]
        hashes[unchanged], constant[unchanged] = old_hashes[rows], old_constant[rows]
        converted[unchanged] = old_converted[rows]
        return hashes, constant, converted

    def write(
        self,
        names: list[str],
        stamps: np.ndarray,
        hashes: np.ndarray,
        constant: np.ndarray,
        converted: np.ndarray,
        prune: bool = False,
    ) -> bool:
        """Write the files with a hash (uint64 [n], 0: none); return whether that was possible.

        What was known about other files of the folder, such as those that --labels leaves out, stays; with `prune`,
        unless they are gone.
        """
        rows, others = np.flatnonzero(hashes), self._others({*names}, prune)
        arrays = {
            name: np.concatenate([new[rows], old[others]]) if len(others) else new[rows]
            for name, new, old in zip(
                ("stamps", "hashes", "constant", "converted"),
                (stamps, hashes, constant, converted),
                self._stored[1:],
            )
        }
        names = [*(names[row] for row in rows), *(self._stored[0][row] for row in others)]
        arrays |= {"version": np.array(_VERSION), "names": _join(names)}
        return _written(self.path, lambda file: np.savez_compressed(file, **arrays))

    def _others(self, names, prune):
        """Return the stored rows of files with other names than these; with `prune`, of those that are there."""
        rows = [row for row, name in enumerate(self._stored[0]) if name not in names]
        if not prune or "://" in self._folder:
            return rows
        stamps = stamps_of([os.path.join(self._folder, self._stored[0][row]) for row in rows])
        return list(itertools.compress(rows, stamps[:, 0] != _UNKNOWN))

    def write_list(self, problems: list[tuple[str, str]]) -> bool:
        """Write the unreadable files, [(name, problem)], as CSV; return whether it was written."""
        if not problems:
            with contextlib.suppress(OSError):
                os.remove(self.list_path or "")
            return False

        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows([("file", "problem"), *problems])
        return _written(self.list_path, text.getvalue().encode("utf-8", "surrogateescape"))


def stamps_of(paths: list[str]) -> np.ndarray:
    """Return size, time of change and time of inode change of each file, int64 [n, 3].

    The last changes also with new permissions and if the time of change is set back. Negative if unknown, or if
    not asked for: of more than 10,000 remote files.
    """
    remote = bool(paths) and "://" in paths[0]
    if remote and len(paths) > _MOST_REMOTE_STAMPS:
        return np.full([len(paths), 3], _NOT_ASKED_FOR, np.int64)
    stamp, size, workers = (_remote_stamp, 20, 32) if remote else (_local_stamp, 1000, 16)
    if len(paths) <= size:
        return np.array([stamp(path) for path in paths], np.int64).reshape(-1, 3)
    chunks = [paths[i : i + size] for i in range(0, len(paths), size)]
    with ThreadPool(workers) as pool:
        stamps = pool.map(lambda chunk: [stamp(path) for path in chunk], chunks, chunksize=1)
    return np.array(list(itertools.chain.from_iterable(stamps)), np.int64)


def _local_stamp(path):
    try:
        status = os.stat(path)
    except OSError:  # the search will find that the file is missing
        return (_UNKNOWN,) * 3
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _remote_stamp(path):
    try:
        status = tf.io.gfile.stat(path)
    except tf.errors.OpError:
        return (_UNKNOWN,) * 3
    return status.length, status.mtime_nsec, 0


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
