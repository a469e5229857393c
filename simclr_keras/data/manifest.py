"""What is remembered between runs of the image files that were found good: name, size and time of change."""

import contextlib
import csv
import hashlib
import io
import os
import re
import tempfile

import numpy as np
import tensorflow as tf

# Of what counts as good; another TensorFlow may decode other files.
_VERSION = f"1 {tf.__version__}"


class Manifest:
    """The good files of one folder, in the user's cache folder, and a list of the bad ones for the user.

    Nothing is kept in the process: what another run wrote is seen at the next reading.

    Args:
        folder: The folder, local or remote.
    """

    def __init__(self, folder):
        place = str(folder) if "://" in str(folder) else os.path.abspath(folder)
        digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
        name = re.sub(r"[^\w.-]", "_", os.path.basename(place.rstrip("/")), flags=re.ASCII)[:40]
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self._stem = os.path.join(cache, "simclr_keras", f"{name}-{digest}")
        self._rows_stored = 0

    @property
    def path(self):
        """Where the good files are remembered."""
        return f"{self._stem}-good.npz"

    @property
    def list_path(self):
        """Where `write_list` puts the bad files."""
        return f"{self._stem}-unreadable.csv"

    def known_good(self, names, stamps):
        """Which files were found good and have not changed since.

        Args:
            names: List of n paths relative to the folder.
            stamps: int64 [n, 2], size in bytes and time of change in ns.

        Returns:
            bool [n]; all False where the manifest is missing or damaged.
        """
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                if str(stored["version"]) != _VERSION:
                    return np.zeros(len(names), bool)
                old_names = _split(stored["names"].tobytes())
                old_stamps = stored["stamps"]
            if old_stamps.shape != (len(old_names), 2):
                raise ValueError("names and stamps differ in number")
        except Exception:  # NumPy, zipfile and zlib raise a dozen kinds; the files are searched again
            return np.zeros(len(names), bool)
        self._rows_stored = len(old_names)
        if old_names == names:
            return (old_stamps == stamps).all(axis=1)
        row_of = {name: row for row, name in enumerate(old_names)}
        rows = np.array([row_of.get(name, -1) for name in names], np.int64)
        same = rows >= 0
        same[same] = (old_stamps[rows[same]] == stamps[same]).all(axis=1)
        return same

    def write(self, names, stamps, good):
        """Remembers the files where `good` (bool [n]); says whether that could be done."""
        rows = np.flatnonzero(good)
        content = _join([names[row] for row in rows])
        arrays = {"version": np.array(_VERSION), "names": content, "stamps": stamps[rows]}
        self._rows_stored = len(rows)
        return _replace(self.path, lambda file: np.savez_compressed(file, **arrays))

    def needs_writing(self, good, before):
        """Whether `good` (bool [n]) tells more than, or leaves out what, the manifest held."""
        return not np.array_equal(good, before) or self._rows_stored != np.count_nonzero(good)

    def write_list(self, problems):
        """Writes the bad files, [(name, problem)], as CSV; says whether that could be done."""
        if not problems:
            with contextlib.suppress(OSError):
                os.remove(self.list_path)
            return False

        def write(file):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([("file", "problem"), *problems])
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))

        return _replace(self.list_path, write)


def _join(names):
    # No file name holds a zero byte.
    return np.frombuffer("\0".join(names).encode("utf-8", "surrogateescape"), np.uint8)


def _split(content):
    return content.decode("utf-8", "surrogateescape").split("\0") if content else []


def _replace(path, write):
    """Puts a whole new file at `path`, or leaves the old one; a cache that cannot be written costs only time."""
    temporary = None
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as file:
            temporary = file.name
            write(file)
        os.replace(temporary, path)
        return True
    except OSError:
        return False
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.remove(temporary)
