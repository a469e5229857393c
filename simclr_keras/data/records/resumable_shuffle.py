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

    def start(self, group, first_block=0):
        """Place in the shuffled order of the first record of a group, int64; of one past the last, `size`.

        With `first_block` the same where reading begins at that block: the groups from there on are short of the
        parts of the blocks before.
        """
        blocks = group - first_block
        ramp = tf.minimum(blocks, PARTS)
        place = self.block // PARTS * (ramp * (ramp + 1) // 2) + self.block * tf.maximum(blocks - PARTS, 0)
        return tf.where(group < self.num_groups, place, self.size - self.block * first_block)

    def group_at(self, place):
        """The group that goes out at this place of the shuffled order, int64 scalar."""
        starts = self.start(tf.range(self.num_groups))
        return tf.searchsorted(starts, place[None], side="right", out_type=tf.int64)[0] - 1

    def first_block(self, place):
        """The earliest block with records that have this place of the shuffled order or a later one."""
        return tf.maximum(self.group_at(place) - PARTS + 1, 0)

    def groups_of(self, block):
        """The group that each record of a block before the last goes to, int64 [block]."""
        key = tf.stack([tf.constant(draws.key_of(self.seed, "deal"), tf.int64), self.epoch, block])
        # 8 rounds: see shuffled_indices in plan.py.
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
            records: Dataset of the sequence from the beginning of `first_block(place)` on.
            place: int64 scalar tensor.
        """
        first_block, last_group = self.first_block(place), self.num_groups - 1
        dealt = tf.data.Dataset.range(first_block, last_group)
        dealt = dealt.flat_map(lambda block: tf.data.Dataset.from_tensor_slices(self.groups_of(block)))
        rest = tf.data.Dataset.from_tensors(last_group).repeat(self.size - last_group * self.block)

        def size(group):
            return self.start(group + 1, first_block) - self.start(group, first_block)

        shuffled = tf.data.Dataset.zip(dealt.concatenate(rest), records).group_by_window(
            key_func=lambda group, _: group,
            reduce_func=lambda group, records: self._in_random_order(group, records, size(group)),
            window_size_func=size,
        )
        # What comes before is incomplete groups, and records of the first complete one.
        group = self.group_at(place)
        return shuffled.skip(self.start(group, first_block) + place - self.start(group)).prefetch(self.block)

    def _in_random_order(self, group, records, size):
        # Of this tf.data function's graph alone: else the order would follow the program's global seed.
        tf.random.set_seed(1)
        key = tf.stack([tf.constant(draws.key_of(self.seed, "order in a group"), tf.int64), self.epoch])
        key = tf.random.experimental.stateless_fold_in(key, group)
        seed = tf.random.stateless_uniform([], key, maxval=2**31 - 1, dtype=tf.int32)
        records = records.map(lambda _, record: record)
        return records.shuffle(tf.maximum(size, 1), tf.cast(seed, tf.int64))
