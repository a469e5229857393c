"""A streamed source: record files too large for memory, read shard by shard in a seeded order."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from simclr_keras.data.content_hash import fingerprint_of, hashes_of
from simclr_keras.data.parallel import PARALLEL_CALLS
from simclr_keras.data.records.host_shards import HostPart, captured
from simclr_keras.data.records.resumable_shuffle import PARTS, ResumableShuffle
from simclr_keras.data.sources.source import RowIds, only_labels_of, row_numbers
from simclr_keras.errors import InputError

# An epoch is read at so many positions in turn, so that neighbors in a file are not neighbors in a batch.
_LANES = PARTS  # so that a block is a whole number of rounds
_BATCH = 256  # encoded images at once, in a pass over all
_MANY = 10_000  # reading more records shows a progress bar


@dataclasses.dataclass(frozen=True)
class Shards:
    """Record files.

    Attributes:
        paths: s TFRecord files.
        counts: their s numbers of records.
        parse: function of one serialized record (scalar string) to {"image": encoded bytes, "label": int32}.
        split: name of the split, for the ids.
    """

    paths: tuple[str, ...]
    counts: tuple[int, ...]
    parse: Callable
    split: str

    @property
    def num_records(self):
        return sum(self.counts)

    @property
    def offsets(self):
        """Rows of the first record of every shard, int64 [s]."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)


class StreamSource:
    """Images that are read in order and cannot be fetched by number.

    Args:
        name: the dataset as the user named it, for messages.
        shards: Shards.
        has_labels: whether the records have labels.
        class_names: tuple of names, one per label value, or None.
        labels: int [n] with -1 for "not labeled"; None if the records' own labels were not read yet.
        rows: row of the shards for each row of this source, ascending int [n], or None for all.
        content_hashes: uint64 [n] of the encoded images, or None if they were not read yet.
    """

    indexed = False
    encoded = True
    shape_in_memory = None

    def __init__(
        self, name, shards, has_labels=False, class_names=None, labels=None, rows=None, content_hashes=None
    ):
        self.name = name
        self.has_labels = has_labels
        self.labels = None if labels is None else np.asarray(labels, np.int32)
        self.class_names = None if class_names is None else tuple(class_names)
        self.content_hashes = content_hashes
        self._shards = shards
        self._rows = None if rows is None else np.asarray(rows, np.int64)
        self.ids = RowIds(shards.split, shards.num_records if rows is None else self._rows)

    @property
    def num_examples(self):
        return len(self.ids)

    def __len__(self):
        return len(self.ids)

    @tf.autograph.experimental.do_not_convert  # as pipeline.py
    def stream(
        self, *, seed=0, first_record=0, host=0, num_hosts=1, shuffle=True, repeat=True, buffer_size=6144
    ):
        """Return this host's records, a function of (seed, host, num_hosts) alone.

        Every epoch, the shards are divided among the hosts anew. With fewer non-empty shards than hosts, every host
        reads all of them and keeps each num_hosts-th record.

        Args:
            seed: int.
            first_record: number of records this host has read already. Only the last few thousand are read again;
                finished files are not opened.
            host: number of this host, 0 .. num_hosts - 1.
            num_hosts: number of hosts.
            shuffle: whether to shuffle shards and records, by (seed, epoch); else in the order of the files.
            repeat: whether to continue with further epochs without end.
            buffer_size: records that wait in memory, on average. 6144 separate the neighbors of a file as far as
                tf.data's shuffle buffer of 4096.

        Returns:
            tf.data.Dataset of {"image": string of encoded bytes, "label": int32 (-1 for none), "id": int32, the
            row in this source}.

        Raises:
            InputError: there are fewer records than hosts.
        """
        part = HostPart(self._shards, self._rows, host, num_hosts)
        if not part.counts.any():
            raise InputError(
                f"{self.name} has {len(self)} images for {num_hosts} hosts: take more images or fewer hosts"
            )
        block = PARTS * math.ceil(buffer_size / (PARTS * PARTS / 2))  # half of PARTS blocks wait on average
        resumed, first_place = part.epoch_of(first_record, seed, shuffle, repeat)

        def records(epoch):
            place = tf.where(epoch == resumed, first_place, tf.zeros_like(first_place))
            order = part.shard_order(seed, epoch, shuffle)
            size = tf.reduce_sum(tf.gather(captured(part.counts), order))
            if not shuffle:
                return part.read(order, size, lanes=1, first=place)
            order_of_epoch = ResumableShuffle(size, block, seed, epoch)
            first_read = block * order_of_epoch.first_block(place)
            return order_of_epoch.apply(part.read(order, size, _LANES, first_read), place)

        epochs = tf.data.Dataset.range(resumed, np.iinfo(np.int64).max if repeat else 1)
        return epochs.flat_map(records).map(
            self._example, num_parallel_calls=PARALLEL_CALLS, deterministic=True
        )

    @tf.autograph.experimental.do_not_convert
    def read_contents(self):
        """Return the same source with its labels and content hashes, read in one pass over the files."""
        if self.content_hashes is not None:
            return self
        records = tf.data.TFRecordDataset(list(self._shards.paths), num_parallel_reads=None)
        records = records.map(self._shards.parse, PARALLEL_CALLS, deterministic=True).batch(_BATCH)
        hashes, labels = [], []
        for batch in _with_progress(records, self._shards.num_records):
            hashes.append(hashes_of(batch["image"]))
            labels.append(batch["label"])
        rows = slice(None) if self._rows is None else self._rows
        read_labels = np.concatenate(labels)[rows] if self.has_labels else None
        return self._with(
            labels=read_labels if self.labels is None else self.labels,
            content_hashes=np.concatenate(hashes)[rows],
            rows=self._rows,
        )

    def _with(self, labels, content_hashes, rows):
        has_labels = self.has_labels or labels is not None
        return StreamSource(
            self.name, self._shards, has_labels, self.class_names, labels, rows, content_hashes
        )

    def fingerprint(self):
        """Return a digest of the content and labels of all images in order; if not read yet, of their number."""
        hashes = self.content_hashes
        return fingerprint_of(np.array([len(self)], np.uint64) if hashes is None else hashes, self.labels)

    def subset(self, rows):
        """Return the source of these rows (int [m] ascending, or bool [n])."""
        rows = row_numbers(rows, len(self))
        labels, hashes = (
            None if values is None else values[rows] for values in (self.labels, self.content_hashes)
        )
        return self._with(labels, hashes, rows if self._rows is None else self._rows[rows])

    def with_labels_of(self, rows):
        """Return the same images with the labels of these rows (int [m], or bool [n]) alone; -1 elsewhere."""
        source = self.read_contents()
        return source._with(only_labels_of(source.labels, rows), source.content_hashes, self._rows)

    def labeled(self):
        """Return the source of the rows that have a label."""
        source = self.read_contents()
        return source.subset(source.labels >= 0 if self.has_labels else [])

    def sample(self, limit, seed):
        """Return the source of at most `limit` rows of as few files as possible; a function of `seed`.

        Rows whose label is hidden (-1) are not used. Reading the sample reads no other file.
        """
        usable = np.ones(len(self), bool) if self.labels is None else self.labels >= 0
        shard_of_row = np.searchsorted(self._shards.offsets, self._all_rows(), side="right") - 1
        sample, count = [], 0
        for shard in np.random.default_rng(seed).permutation(len(self._shards.paths)):
            if count >= limit:
                break
            sample.append(np.flatnonzero(usable & (shard_of_row == shard))[: limit - count])
            count += len(sample[-1])
        return self.subset(np.sort(np.concatenate(sample)))

    def _all_rows(self):
        return np.arange(self._shards.num_records) if self._rows is None else self._rows

    def _example(self, record, row):
        parsed = self._shards.parse(record)
        if self._rows is not None:
            row = tf.searchsorted(captured(self._rows), row[None])[0]
        label = parsed["label"] if self.labels is None else captured(self.labels)[row]
        return {"image": parsed["image"], "label": tf.cast(label, tf.int32), "id": tf.cast(row, tf.int32)}


def _with_progress(batches, records):
    batches = batches.as_numpy_iterator()
    if records < _MANY:
        return batches
    from tqdm import tqdm

    total = -(-records // _BATCH)
    return tqdm(batches, "reading records", total, unit_scale=_BATCH, unit="image", disable=None)
