"""The records that one host reads of a set of record files, in order, from any point of an epoch."""

import numpy as np
import tensorflow as tf


class HostPart:
    """The records of some shards that one host reads.

    Args:
        shards: Shards.
        rows: wanted rows, ascending int64 [n], or None for all.
        host, num_hosts: int. With fewer shards of wanted records than hosts, every host reads all shards and keeps
            each num_hosts-th wanted record; else it reads each num_hosts-th shard of an epoch's order.
    """

    def __init__(self, shards, rows, host, num_hosts):
        bounds = np.append(shards.offsets, shards.num_records)
        # Numbers of the wanted records, counted through all shards, where each shard begins.
        begins = bounds if rows is None else np.searchsorted(rows, bounds)
        by_record = np.count_nonzero(np.diff(begins)) < num_hosts
        if by_record:
            rows = (np.arange(shards.num_records) if rows is None else rows)[host::num_hosts]
            begins = np.searchsorted(rows, bounds)
        self._shards, self._rows, self._begins = shards, rows, begins
        self._host, self._num_hosts = (0, 1) if by_record else (host, num_hosts)
        self.counts = np.diff(begins)

    def shard_order(self, seed, epoch, shuffle):
        """Return this host's shards of an epoch, int64 [k]; shards without wanted records are not opened."""
        shards = tf.range(len(self.counts), dtype=tf.int64)
        if shuffle:
            key = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
            shards = tf.random.experimental.stateless_shuffle(shards, key)
        shards = shards[self._host :: self._num_hosts]
        return tf.boolean_mask(shards, tf.gather(captured(self.counts > 0), shards))

    def epoch_of(self, first_record, seed, shuffle, repeat):
        """Return the epoch of first_record, and the number of this host's records before it there."""
        if not repeat:
            return 0, tf.constant(first_record, tf.int64)
        if self._num_hosts == 1:
            epoch, place = divmod(first_record, int(self.counts.sum()))
            return epoch, tf.constant(place, tf.int64)
        epoch, place = 0, first_record
        while True:
            size = self.counts[self.shard_order(seed, epoch, shuffle).numpy()].sum()
            if place < size:
                return epoch, tf.constant(place, tf.int64)
            epoch, place = epoch + 1, place - size

    def read(self, order, size, lanes, first):
        """Return a Dataset of (serialized record, its row in the shards), from number `first` (a multiple of `lanes`).

        The shards in `order`, int64 [k], contain `size` wanted records in sequence. They are cut into `lanes` equal
        lanes, the longer ones first, that are read in turn, one record of each.
        """
        numbers = tf.range(lanes + 1, dtype=tf.int64)
        lane_bounds = numbers * (size // lanes) + tf.minimum(numbers, size % lanes)
        ends = tf.cumsum(tf.gather(captured(self.counts), order))
        ends = tf.concat([ends, [size]], axis=0)  # never empty
        begins = tf.concat([[tf.zeros_like(size)], ends[:-1]], axis=0)

        def lane(begin, end):
            begin = begin + first // lanes
            shards = tf.searchsorted(ends, tf.stack([begin, end - 1]), side="right", out_type=tf.int64)
            stop = tf.where(begin < end, shards[1] + 1, shards[0])

            def piece(number):
                wanted = captured(self._begins)[order[number]] - begins[number]
                return self._of_shard(
                    order[number],
                    tf.maximum(begin, begins[number]) + wanted,
                    tf.minimum(end, ends[number]) + wanted,
                )

            return tf.data.Dataset.range(shards[0], stop).flat_map(piece)

        all_lanes = tf.data.Dataset.from_tensor_slices((lane_bounds[:-1], lane_bounds[1:]))
        return all_lanes.interleave(
            lane, cycle_length=lanes, block_length=1, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def _of_shard(self, shard, begin, end):
        """Return a Dataset of (serialized record, row) of wanted records begin .. end - 1, all in one shard."""
        first, last = begin, end - 1
        if self._rows is not None:
            rows = captured(self._rows)
            first, last = rows[begin], rows[end - 1]
        records = tf.data.TFRecordDataset(captured(self._shards.paths)[shard])
        # Directly after the reader, skip() jumps from record to record by their lengths.
        records = records.skip(first - captured(self._shards.offsets)[shard]).take(last - first + 1)
        records = records.enumerate(first).map(lambda row, record: (record, row))
        if self._rows is None:
            return records
        wanted = np.zeros(self._shards.num_records, bool)
        wanted[self._rows] = True
        wanted = captured(wanted)
        return records.filter(lambda _, row: wanted[row])


def captured(values):
    """Make a tensor outside the tf.data function being traced: a million rows do not belong in its graph."""
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.constant(values)
