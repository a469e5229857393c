"""A shuffle of a stream whose order is known beforehand, so that it can be taken up at any point of it.

tf.data's shuffle buffer depends on all that went through it: resuming one means reading an epoch from its
beginning. Here blocks of the sequence are dealt out by a function of (seed, block), which says where any record
goes and which few blocks the next records come from.
"""

import dataclasses

import tensorflow as tf

from simclr_keras.data import draws

PARTS = 16  # into which a block is dealt: a record waits 0 .. 15 blocks


@dataclasses.dataclass(frozen=True)
class KnownShuffle:
    """Order of one epoch.

    The sequence is read in blocks of `block` records; what is left over joins the last block. A block's records are
    dealt in PARTS equal random parts to the groups of its own and the next numbers, all that would go beyond the
    last group to that one. A group goes out in random order as soon as it is complete, which is while the block of
    its own number is read: so groups follow each other, and 8 blocks are held back on average.

    Attributes:
        size: Records of the epoch, int64 scalar tensor.
        block: int, records of a block, a multiple of PARTS.
        seed: int. epoch: int64 scalar tensor.
    """

    size: tf.Tensor
    block: int
    seed: int
    epoch: tf.Tensor

    @property
    def num_groups(self):
        return tf.maximum(self.size // self.block, 1)

    def start(self, group):
        """Place in the shuffled order of the first record of a group, int64; of one past the last, `size`."""
        ramp = tf.minimum(group, PARTS)  # the first groups get parts of few blocks
        place = self.block // PARTS * (ramp * (ramp + 1) // 2) + self.block * tf.maximum(group - PARTS, 0)
        return tf.where(group < self.num_groups, place, self.size)

    def group_at(self, place):
        """The group that goes out at this place of the shuffled order, int64 scalar."""
        starts = self.start(tf.range(self.num_groups))
        return tf.searchsorted(starts, place[None], side="right", out_type=tf.int64)[0] - 1

    def first_read(self, group):
        """Place in the sequence of the earliest record that this group or a later one may hold, int64 scalar."""
        return tf.maximum(group - PARTS + 1, 0) * self.block

    def groups_of(self, block):
        """The group that each record of a block before the last goes to, int64 [block]."""
        key = tf.stack([tf.constant(draws.key_of(self.seed, "deal"), tf.int64), self.epoch, block])
        # 8 rounds: see shuffled_indices in pipeline.py.
        dealt = tf.raw_ops.RandomIndexShuffle(
            index=tf.range(self.block, dtype=tf.int64),
            seed=key,
            max_index=tf.constant(self.block - 1, tf.int64),
            rounds=8,
        )
        return tf.minimum(block + dealt * PARTS // self.block, self.num_groups - 1)

    def apply(self, records, place):
        """The shuffled records from a place of their order on.

        Args:
            records: Dataset of tuples, the sequence from `first_read(group_at(place))` on.
            place: int64 scalar tensor.

        Returns:
            Dataset of the same tuples.
        """
        first_group, last_group = self.group_at(place), self.num_groups - 1
        blocks = tf.data.Dataset.range(self.first_read(first_group) // self.block, last_group)
        groups = blocks.flat_map(lambda block: tf.data.Dataset.from_tensor_slices(self.groups_of(block)))
        rest = tf.data.Dataset.from_tensors(last_group).repeat(self.size - last_group * self.block)
        groups = groups.concatenate(rest)
        needed = tf.data.Dataset.zip(groups, records).filter(lambda group, _: group >= first_group)
        shuffled = needed.group_by_window(
            key_func=lambda group, _: group,
            reduce_func=self._in_random_order,
            window_size_func=lambda group: self.start(group + 1) - self.start(group),
        )
        return shuffled.skip(place - self.start(first_group))

    def _in_random_order(self, group, records):
        # Of this tf.data function's graph alone: else the order would follow the program's global seed.
        tf.random.set_seed(1)
        key = tf.stack([tf.constant(draws.key_of(self.seed, "order in a group"), tf.int64), self.epoch])
        key = tf.random.experimental.stateless_fold_in(key, group)
        seed = tf.random.stateless_uniform([], key, maxval=2**31 - 1, dtype=tf.int32)
        size = self.start(group + 1) - self.start(group)
        records = records.map(lambda _, record: record)
        return records.shuffle(tf.maximum(size, 1), tf.cast(seed, tf.int64))
