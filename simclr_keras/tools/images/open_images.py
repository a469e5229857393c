"""The images of --images: a dataset, a folder or a single file, all of them in a fixed order."""

import dataclasses
import hashlib
import itertools
import os

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.image_file import EXTENSIONS
from simclr_keras.data.files.manifest import stamps_of
from simclr_keras.data.files.verify_images import verify_file
from simclr_keras.data.sources.digits import load_digits
from simclr_keras.data.sources.load_dataset import PATH_KINDS, open_path
from simclr_keras.data.sources.source import FileStore, Source
from simclr_keras.data.sources.tfds import load_tfds
from simclr_keras.errors import InputError, one_line
from simclr_keras.files import absolute, expand_home


@dataclasses.dataclass(frozen=True)
class Images:
    """Images in a fixed order: those of the training split, then those of the evaluation split.

    Attributes:
        spec: digits, npz:PATH, folder:PATH, file:PATH (absolute paths) or a TFDS name.
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
        """Iterate over the names: relative file names, or split and row ("train/17")."""
        return itertools.chain.from_iterable(part.ids for part in self.parts)

    @property
    def has_labels(self):
        return any(part.has_labels for part in self.parts)

    def rows(self, wanted: np.ndarray) -> list:
        """Return the sources of some rows, ascending int [m], in their order."""
        begin, sources = 0, []
        for part in self.parts:
            inside = wanted[(wanted >= begin) & (wanted < begin + len(part))] - begin
            if len(inside) == len(part):
                sources.append(part)
            elif len(inside):
                sources.append(part.subset(inside))
            begin += len(part)
        return sources

    def fingerprint(self) -> str:
        """Return a digest of the names of all images and, for local files, of their sizes and times."""
        digest = hashlib.blake2b(self.spec.encode(), digest_size=16)
        for name in self.ids:
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        kind, _, path = self.spec.partition(":")
        if kind in ("folder", "file", "npz") and "://" not in path:
            files = [os.path.join(path, name) for name in self.ids] if kind == "folder" else [path]
            # Without the time of the inode: copies and new rights change it.
            digest.update(np.ascontiguousarray(stamps_of(files)[:, :2]).tobytes())
        return digest.hexdigest()


def open_images(name: str, data_dir: str | None = None, labels: str | None = None) -> Images:
    """Return the Images that a name stands for.

    Args:
        name: "digits", "npz:PATH", "folder:PATH" or a TFDS name, as in `load_dataset`; or the plain path of a
            folder, of an image file or of an .npz archive.
        data_dir: folder of TFDS, or None for its default.
        labels: CSV of filename,label for the images of a folder, or None.

    Raises:
        InputError: nothing has this name, nothing in it is readable, or labels do not fit.
    """
    name = expand_home(name)
    kind, _, path = name.partition(":")
    if labels is not None and kind != "folder" and not tf.io.gfile.isdir(name):
        raise InputError(f"--labels={labels} needs a folder; --images={name} is not a folder.")
    if name == "digits":
        return _of_splits(name, load_digits())
    if kind in PATH_KINDS:
        path = path and absolute(path)
        # 0 bytes of memory: each image is read once, when it is needed.
        splits = open_path(kind, path, labels, 0)
        return _of_splits(f"{kind}:{path}", splits)
    path = path if kind == "file" else name
    try:
        if tf.io.gfile.isdir(path):
            return open_images(f"folder:{path}", labels=labels)
        if tf.io.gfile.exists(path):
            return open_images(f"npz:{path}") if path.lower().endswith(".npz") else _of_file(path)
    except tf.errors.OpError as error:
        raise InputError(f"--images={name} is unreadable ({one_line(error)}); give another.") from error
    if path.startswith(("/", ".", "~")) or path.lower().endswith((*EXTENSIONS, ".npz")) or "://" in path:
        raise InputError(f"--images={name} not found; give a file or folder that exists.")
    return _of_splits(name, load_tfds(name, data_dir, 0))


def _of_splits(spec, splits):
    parts = (splits.train,) if splits.evaluation is None else (splits.train, splits.evaluation)
    return Images(spec, parts, splits.class_names, splits.notes)


def _of_file(path):
    whole_path = absolute(path)
    problem, to_read = verify_file(whole_path)
    if problem:
        raise InputError(f"--images={path} {problem}; give an image file or a folder.")
    source = Source(f"file:{whole_path}", FileStore([to_read]), (os.path.basename(whole_path),))
    return Images(source.name, (source,))
