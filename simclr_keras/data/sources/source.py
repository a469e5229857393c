"""A source: images fetched by row number, with their ids, labels and class names; and the Splits of a dataset."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from simclr_keras.data.content_hash import fingerprint_of, hash_of, hashes_of


class RowIds(Sequence):
    """Ids of the form "train/17", made on demand, so that a million rows cost no strings.

    Args:
        prefix: text before the slash.
        rows: row numbers, int [n], or an int n for the rows 0 .. n-1.
    """

    def __init__(self, prefix, rows):
        self.prefix = prefix
        self.rows = range(rows) if isinstance(rows, int) else rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return RowIds(self.prefix, self.rows[index])
        return f"{self.prefix}/{int(self.rows[index])}"


def take_ids(ids: Sequence, rows: np.ndarray) -> Sequence:
    """Return the ids of `rows` (int [m]); of RowIds, RowIds."""
    if isinstance(ids, RowIds):
        return RowIds(ids.prefix, np.asarray(ids.rows, np.int64)[rows])
    return tuple(ids[row] for row in rows)


def rows_of_ids(ids: Sequence[str], wanted: Iterable[str]) -> tuple[np.ndarray, list[str]]:
    """Return the rows of the wanted ids, int64 [m] in their order, and the list of missing ids."""
    row_of = {name: row for row, name in enumerate(ids)}
    wanted = dict.fromkeys(wanted)
    rows = np.array([row_of[name] for name in wanted if name in row_of], np.int64)
    return rows, [name for name in wanted if name not in row_of]


class ArrayStore:
    """Decoded images of one size in memory. images: uint8 [n, h, w, 3]."""

    encoded = False

    def __init__(self, images, content_hashes=None):
        self.images = images
        self._content_hashes = content_hashes

    @functools.cached_property
    def content_hashes(self):
        if self._content_hashes is not None:
            return self._content_hashes
        return np.fromiter((hash_of(image.tobytes(), image.shape) for image in self.images), np.uint64)

    @functools.cached_property
    def _tensor(self):
        # Lifted out of the tf.data function being traced, so that it is made once and not per trace.
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.convert_to_tensor(self.images)

    def fetch(self, row):
        return tf.gather(self._tensor, row)


class BytesStore:
    """Encoded image files in memory. files: string tensor [n]."""

    encoded = True
    images = None

    def __init__(self, files, content_hashes=None):
        self._files = files
        self._content_hashes = content_hashes

    @functools.cached_property
    def content_hashes(self):
        return hashes_of(self._files.numpy()) if self._content_hashes is None else self._content_hashes

    def fetch(self, row):
        return tf.gather(self._files, row)


class FileStore:
    """Image files that are read when they are fetched. paths: n paths, local or remote; content_hashes: uint64 [n]."""

    encoded = True
    images = None

    def __init__(self, paths, content_hashes=None):
        with tf.device("CPU:0"):
            self._paths = tf.constant(paths, tf.string, shape=[len(paths)])
        self.content_hashes = content_hashes

    def fetch(self, row):
        return tf.io.read_file(self._paths[row])


class Source:
    """An indexed set of images.

    Args:
        name: the dataset as the user named it, for messages.
        store: ArrayStore, BytesStore or FileStore.
        ids: n strings, stable from run to run.
        labels: int [n] with -1 for "not labeled", or None if there are no labels.
        class_names: tuple of names, one per label value, or None.
        rows: row of the store for each row of this source, int [n], or None for all in order.
        numbers: of the images for the momentum memory, int [n]: their rows when the run began; None for those today.
    """

    indexed = True

    def __init__(self, name, store, ids, labels=None, class_names=None, rows=None, numbers=None):
        self.name = name
        self.ids = ids
        self.labels = None if labels is None else np.asarray(labels, np.int32)
        self.class_names = None if class_names is None else tuple(class_names)
        self._store = store
        self._rows = None if rows is None else np.asarray(rows, np.int64)
        self.numbers = None if numbers is None else np.asarray(numbers, np.int64)

    @property
    def num_examples(self):
        return len(self.ids)

    def __len__(self):
        return len(self.ids)

    @property
    def has_labels(self):
        """Whether any row can have a label; also right for a StreamSource whose labels were not read yet."""
        return self.labels is not None

    @property
    def encoded(self):
        """Whether `fetch` returns encoded bytes, not decoded images."""
        return self._store.encoded

    @property
    def images(self):
        """Copy of all images, uint8 [n, h, w, 3], if they are decoded in memory; else None."""
        images = self._store.images
        return images if images is None or self._rows is None else images[self._rows]

    @property
    def shape_in_memory(self):
        """Height and width of all images, if they are decoded in memory; else None."""
        return None if self._store.images is None else self._store.images.shape[1:3]

    @functools.cached_property
    def _row_tensor(self):
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self._rows)

    def fetch(self, index):
        """Return the image of a row, for use inside tf.data.Dataset.map.

        It is uint8 [h, w, 3]; if `encoded`, a scalar string of the bytes of an image file. Of images in memory also
        those of several rows, int [n].
        """
        return self._store.fetch(index if self._rows is None else tf.gather(self._row_tensor, index))

    @functools.cached_property
    def content_hashes(self):
        """Hash of each image's file bytes or pixels, uint64 [n]; see content_hash.py."""
        return self._store.content_hashes[self._store_rows(np.arange(len(self)))]

    def fingerprint(self):
        """Return a digest of the content and labels of all images in order."""
        return fingerprint_of(self.content_hashes, self.labels)

    def read_contents(self):
        """Return the source itself: labels and content hashes are known without a pass over the files."""
        return self

    def subset(self, rows):
        """Return the source of these rows (int [m], or bool [n]) in this order; images are shared, numbers are new."""
        rows = row_numbers(rows, len(self))
        labels = None if self.labels is None else self.labels[rows]
        ids = take_ids(self.ids, rows)
        return Source(self.name, self._store, ids, labels, self.class_names, self._store_rows(rows))

    def numbered(self, numbers):
        """Return the same images with these numbers, int [n]."""
        return Source(self.name, self._store, self.ids, self.labels, self.class_names, self._rows, numbers)

    def with_labels_of(self, rows):
        """Return the same images with the labels of these rows (int [m], or bool [n]) alone; -1 elsewhere."""
        labels = only_labels_of(self.labels, rows)
        return Source(self.name, self._store, self.ids, labels, self.class_names, self._rows, self.numbers)

    def with_class_names(self, class_names):
        """Return the same images with more classes, tuple of names; labels are numbered anew."""
        number = np.array([class_names.index(name) for name in self.class_names], np.int32)
        labels = np.where(self.labels >= 0, number[self.labels], -1)
        return Source(self.name, self._store, self.ids, labels, class_names, self._rows, self.numbers)

    def labeled(self):
        """Return the source of the rows that have a label."""
        if self.labels is None:
            return self.subset([])
        return self.subset(self.labels >= 0)

    def _store_rows(self, rows):
        return rows if self._rows is None else self._rows[rows]


def only_labels_of(labels, rows):
    """Return labels, int32 [n], with -1 in all rows but these."""
    rows = row_numbers(rows, len(labels))
    visible_labels = np.full_like(labels, -1)
    visible_labels[rows] = labels[rows]
    return visible_labels


def row_numbers(rows, n):
    """Return rows, int [m] or bool [n], as int64 [m]; raises IndexError outside 0 .. n-1."""
    rows = np.asarray(rows)
    if rows.dtype == bool:
        return np.flatnonzero(rows)
    rows = rows.astype(np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= n):
        raise IndexError(f"Rows must lie in 0..{n - 1}. Received: {rows.min()}..{rows.max()}")
    return rows


@dataclasses.dataclass(frozen=True)
class Splits:
    """A dataset: its training images, its evaluation images, and notes for the user.

    Attributes:
        train: Source or StreamSource of the training images.
        evaluation: Source or StreamSource of the evaluation images, or None. They are the labeled images that were held
            out, or the data's own evaluation split.
        class_names: names, one per label value, or None.
        held_out: number of images held out of the training data, labeled or not; None if the data has its own split.
        notes: one-line remarks for the user, such as skipped files.
        unreadable: (id, reason) of every unreadable image file and sub-folder ("name/").
        missing: ids of images of the run that are missing or unreadable now.
    """

    train: Source
    evaluation: Source | None = None
    class_names: tuple[str, ...] | None = None
    held_out: int | None = None
    notes: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
