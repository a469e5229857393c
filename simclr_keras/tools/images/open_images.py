"""The images that a command may be given: a dataset's name, a folder, a single file. All of them, in a fixed order."""

import dataclasses
import hashlib
import itertools
import os

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.image_file import EXTENSIONS, problem_of
from simclr_keras.data.files.manifest import stamps_of
from simclr_keras.data.sources.digits import load_digits
from simclr_keras.data.sources.folder import load_folder
from simclr_keras.data.sources.npz import load_npz
from simclr_keras.data.sources.source import FileStore, Source
from simclr_keras.data.sources.tfds import load_tfds
from simclr_keras.errors import InputError, one_line


@dataclasses.dataclass(frozen=True)
class Images:
    """Images in a fixed order: those of the training split, then those of the evaluation split.

    Attributes:
        spec: what finds them again from anywhere: digits, npz:PATH, folder:PATH, file:PATH or a TFDS name.
        parts: tuple of Source or StreamSource.
        class_names: tuple, one per label value, or None.
        notes: one-line remarks for the user, such as skipped files.
    """

    spec: str
    parts: tuple
    class_names: tuple | None = None
    notes: tuple = ()

    def __len__(self):
        return sum(map(len, self.parts))

    @property
    def ids(self):
        """Iterator over their names: relative file names, or split and row ("train/17")."""
        return itertools.chain.from_iterable(part.ids for part in self.parts)

    @property
    def has_labels(self):
        return any(part.has_labels for part in self.parts)

    def rows(self, wanted):
        """The sources of some rows, in their order.

        Args:
            wanted: ascending int [m].
        """
        begin, found = 0, []
        for part in self.parts:
            inside = wanted[(wanted >= begin) & (wanted < begin + len(part))] - begin
            if len(inside) == len(part):
                found.append(part)
            elif len(inside):
                found.append(part.subset(inside))
            begin += len(part)
        return found

    def fingerprint(self):
        """Hexadecimal digest of the names of all images and, where they are local files, of their sizes and times."""
        digest = hashlib.blake2b(self.spec.encode(), digest_size=16)
        for name in self.ids:
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        kind, _, place = self.spec.partition(":")
        if kind in ("folder", "file", "npz") and "://" not in place:
            files = [os.path.join(place, name) for name in self.ids] if kind == "folder" else [place]
            # Without the time of the inode, which a mere copy or new rights change.
            digest.update(np.ascontiguousarray(stamps_of(files)[:, :2]).tobytes())
        return digest.hexdigest()


def open_images(given, data_dir=None, labels=None):
    """Opens what --images names.

    Args:
        given: "digits", "npz:PATH", "folder:PATH" or a TFDS name, as in `load_dataset`; or the plain path of a
            folder, of an image file or of an .npz archive.
        data_dir: where TFDS keeps its data, or None for its default.
        labels: CSV of filename,label for the images of a flat folder, or None.

    Raises:
        InputError: one line: there is no such thing, nothing in it can be read, or labels do not go with it.
    """
    kind, _, path = given.partition(":")
    if labels is not None and kind != "folder" and not tf.io.gfile.isdir(given):
        raise InputError(f"--labels={labels} goes with a folder; --images={given} is none.")
    if given == "digits":
        return _of_splits(given, load_digits())
    if kind in ("npz", "folder"):
        place = path if "://" in path or not path else os.path.abspath(path)
        # Read when they are needed, once: nothing is held in memory.
        return _of_splits(
            f"{kind}:{place}", load_npz(place) if kind == "npz" else load_folder(place, labels, 0)
        )
    path = path if kind == "file" else given
    try:
        if tf.io.gfile.isdir(path):
            return open_images(f"folder:{path}", labels=labels)
        if tf.io.gfile.exists(path):
            return open_images(f"npz:{path}") if path.lower().endswith(".npz") else _of_file(path)
    except tf.errors.OpError as error:
        raise InputError(
            f"--images={given} cannot be looked at ({one_line(error)}); give another."
        ) from error
    if path.startswith(("/", ".", "~")) or path.lower().endswith((*EXTENSIONS, ".npz")) or "://" in path:
        raise InputError(f"--images={given}: there is no such file or folder; give one that is there.")
    return _of_splits(given, load_tfds(given, data_dir, 0))


def _of_splits(spec, splits):
    parts = (splits.train,) if splits.evaluation is None else (splits.train, splits.evaluation)
    return Images(spec, parts, splits.class_names, splits.notes)


def _of_file(path):
    place = path if "://" in path else os.path.abspath(path)
    if problem := problem_of(place):
        raise InputError(f"--images={path} {problem}; give an image file (JPEG, PNG or BMP) or a folder.")
    return Images(f"file:{place}", (Source(f"file:{place}", FileStore([place]), (os.path.basename(place),)),))
