"""A streamed source: record files too large for memory, read shard by shard in a seeded order."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from simclr_keras.data.source import RowIds, describe, only_labels_of, row_numbers

_OPEN_SHARDS = 16  # read side by side, so that neighbours in a file are not neighbours in a batch
_MANY = 10_000  # records from which a pass over all of them shows a progress bar


@dataclasses.dataclass(frozen=True)
class Shards:
    """Record files.

    Attributes:
        paths: Tuple of s TFRecord files.
        counts: Tuple of their s numbers of records.
        parse: Function of one serialized record (scalar string) to {"image": encoded bytes, "label": int32}.
        split: Name of the split, for the ids.
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
        """Row of the first record of every shard, int64 [s]."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)


class StreamSource:
    """Images that are read in order and cannot be fetched by number.

    Args:
        name: What the user called it, for messages.
        shards: Shards.
        has_labels: Whether the records carry labels.
        class_names: Tuple of names, one per label value, or None.
        labels: int [n] with -1 for "not labelled"; None where the records' own labels have not been read.
        rows: Row of the shards for each row of this source, ascending int [n], or None for all.
    """

    indexed = False
    encoded = True
    images = None

    def __init__(self, name, shards, has_labels=False, class_names=None, labels=None, rows=None):
        self.name = name
        self.has_labels = has_labels
        self.labels = None if labels is None else np.asarray(labels, np.int32)
        self.class_names = None if class_names is None else tuple(class_names)
        self._shards = shards
        self._rows = None if rows is None else np.asarray(rows, np.int64)
        self.ids = RowIds(shards.split, shards.num_records if rows is None else self._rows)

    @property
    def num_examples(self):
        return len(self.ids)

    def __len__(self):
        return len(self.ids)

    def stream(
        self, *, seed=0, first_record=0, host=0, num_hosts=1, shuffle=True, repeat=True, buffer_size=4096
    ):
        """This host's records, a function of (seed, host, num_hosts) alone.

        Every epoch the hosts share out the shards anew. With fewer shards than hosts, every host reads all of
        them and keeps each num_hosts-th record.

        Args:
            seed: int.
            first_record: Number of records this host has had already; they are skipped undecoded.
            host: Number of this host, 0 .. num_hosts - 1.
            num_hosts: Number of hosts.
            shuffle: Whether to shuffle shards and records, by (seed, epoch); else in the order of the files.
            repeat: Whether to go on with further epochs, for ever.
            buffer_size: Records of the shuffle buffer.

        Returns:
            tf.data.Dataset of {"image": string of encoded bytes, "label": int32 (-1 for none), "id": int32, the
            row in this source}.
        """
        by_record = len(self._shards.paths) < num_hosts
        epoch, skip = self._epoch_of(first_record, seed, host, num_hosts, shuffle, by_record, repeat)

        def records(number):
            order = self._shard_order(seed, number, shuffle)
            order = order if by_record else order[host::num_hosts]
            records = self._records(order, _OPEN_SHARDS if shuffle else 1)
            if by_record:
                records = records.filter(lambda _, row: row % num_hosts == host)
            if shuffle:
                # Of this tf.data function's graph alone: else the order would follow the program's global seed.
                tf.random.set_seed(1)
                shuffle_seed = _integer_seed(seed, number)
                records = records.shuffle(buffer_size, shuffle_seed, reshuffle_each_iteration=False)
            return records.skip(tf.where(number == epoch, skip, tf.zeros_like(skip)))

        epochs = tf.data.Dataset.range(epoch, np.iinfo(np.int64).max if repeat else 1)
        return epochs.flat_map(records).map(
            self._example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def read_labels(self):
        """The same source with all labels known, which takes one pass over the files."""
        if self.labels is not None or not self.has_labels:
            return self
        records = tf.data.TFRecordDataset(list(self._shards.paths), num_parallel_reads=None)
        found = records.map(
            lambda record: self._shards.parse(record)["label"], tf.data.AUTOTUNE, deterministic=True
        )
        labels = np.concatenate(list(_with_progress(found.batch(1024), self._shards.num_records)))
        labels = labels if self._rows is None else labels[self._rows]
        return StreamSource(self.name, self._shards, True, self.class_names, labels, self._rows)

    def subset(self, rows):
        """The source of these rows (int [m] ascending, or bool [n]) alone."""
        rows = row_numbers(rows, len(self))
        labels = None if self.labels is None else self.labels[rows]
        shard_rows = rows if self._rows is None else self._rows[rows]
        return StreamSource(self.name, self._shards, self.has_labels, self.class_names, labels, shard_rows)

    def with_labels_of(self, rows):
        """The same images, where only these rows (int [m], or bool [n]) keep their labels; -1 elsewhere."""
        known = self.read_labels()
        labels = only_labels_of(known.labels, rows)
        return StreamSource(self.name, self._shards, True, self.class_names, labels, self._rows)

    def labelled(self):
        """The source of the rows that have a label."""
        known = self.read_labels()
        return known.subset(known.labels >= 0 if self.has_labels else [])

    def sample(self, limit, seed):
        """The source of at most `limit` rows, out of as few files as hold them; a function of `seed`.

        Of rows whose labels are known to be hidden (-1) none is taken. Reading the sample reads those files alone.
        """
        usable = np.ones(len(self), bool) if self.labels is None else self.labels >= 0
        shard_of_row = np.searchsorted(self._shards.offsets, self._all_rows(), side="right") - 1
        chosen, found = [], 0
        for shard in np.random.default_rng(seed).permutation(len(self._shards.paths)):
            if found >= limit:
                break
            chosen.append(np.flatnonzero(usable & (shard_of_row == shard))[: limit - found])
            found += len(chosen[-1])
        return self.subset(np.sort(np.concatenate(chosen)))

    def _all_rows(self):
        return np.arange(self._shards.num_records) if self._rows is None else self._rows

    def __repr__(self):
        return describe(self, f"streamed from {len(self._shards.paths)} files")

    def _records(self, order, open_shards):
        """Dataset of (serialized record, its row in the shards) of the shards in `order`, int64 [k]."""
        paths, offsets = _captured(self._shards.paths), _captured(self._shards.offsets)

        def read(shard):
            records = tf.data.TFRecordDataset(paths[shard])
            return records.enumerate(offsets[shard]).map(lambda row, record: (record, row))

        if self._rows is not None:
            # Files without a wanted record are not opened: a small choice of rows then reads little.
            order = tf.boolean_mask(order, tf.gather(_captured(self._counts(self._wanted()) > 0), order))
        shards = tf.data.Dataset.from_tensor_slices(order)
        records = shards.interleave(
            read,
            cycle_length=open_shards,
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        if self._rows is None:
            return records
        wanted = _captured(self._wanted())
        return records.filter(lambda _, row: wanted[row])

    def _wanted(self):
        wanted = np.zeros(self._shards.num_records, bool)
        wanted[self._rows] = True
        return wanted

    def _counts(self, wanted):
        """How many of the wanted records (bool, one per record) each shard holds, int64 [s]."""
        # reduceat over the non-empty shards: it gives an element, not zero, for an empty stretch.
        counts, full = np.zeros(len(self._shards.counts), np.int64), np.array(self._shards.counts) > 0
        counts[full] = np.add.reduceat(wanted, self._shards.offsets[full], dtype=np.int64)
        return counts

    def _example(self, record, row):
        parsed = self._shards.parse(record)
        if self._rows is not None:
            row = tf.searchsorted(_captured(self._rows), row[None])[0]
        label = parsed["label"] if self.labels is None else _captured(self.labels)[row]
        return {"image": parsed["image"], "label": tf.cast(label, tf.int32), "id": tf.cast(row, tf.int32)}

    def _shard_order(self, seed, epoch, shuffle):
        shards = tf.range(len(self._shards.paths), dtype=tf.int64)
        if not shuffle:
            return shards
        return tf.random.experimental.stateless_shuffle(shards, _pair(seed, epoch))

    def _epoch_of(self, first_record, seed, host, num_hosts, shuffle, by_record, repeat):
        """The epoch that first_record falls in, and how many of this host's records come before it there."""
        wanted = np.ones(self._shards.num_records, bool) if self._rows is None else self._wanted()
        if by_record:
            wanted &= np.arange(len(wanted)) % num_hosts == host
        counts = self._counts(wanted)
        if not counts.any():
            raise ValueError(f"{self.name} has no records for host {host} of {num_hosts}")
        epoch, skip = 0, first_record
        while True:
            order = self._shard_order(seed, epoch, shuffle).numpy()
            size = counts.sum() if by_record else counts[order[host::num_hosts]].sum()
            if skip < size or not repeat:
                return epoch, tf.constant(skip, tf.int64)
            epoch, skip = epoch + 1, skip - size


def _with_progress(batches, records):
    batches = batches.as_numpy_iterator()
    if records < _MANY:
        return batches
    from tqdm import tqdm

    return tqdm(batches, "reading labels", -(-records // 1024), unit_scale=1024, unit="image", disable=None)


def _captured(values):
    """A tensor made outside the tf.data function being traced: a million rows are no part of its graph."""
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.constant(values)


def _pair(seed, epoch):
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])


def _integer_seed(seed, epoch):
    bits = tf.random.stateless_uniform([], _pair(seed, epoch), None, None, tf.int32)
    return tf.cast(bits, tf.int64) & 0x7FFFFFFF
