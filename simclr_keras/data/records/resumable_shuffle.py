"""A shuffle of a stream in an order computed beforehand, so that a run can resume at any point of it.

tf.data's shuffle buffer depends on all records before: resuming it means reading an epoch from its beginning. Here
blocks of the sequence are dealt out by a function of (seed, block), which gives the position of any record and the
few blocks that the next records come from.
"""

import dataclasses

import tensorflow as tf

from simclr_keras.data import draws

PARTS = 16  # of a block: a record waits 0 .. 15 blocks


@dataclasses.dataclass(frozen=True)
class ResumableShuffle:
    """Order of one epoch.

    The sequence is read in blocks of `block` records; the remainder joins the last block. A block's records are dealt
    in PARTS equal random parts to the groups of its own and the next numbers; parts beyond the last group join it.
    A group is returned in random order as soon as it is complete, while the block of its own number is read. So
    groups follow each other, and 8 blocks wait on average.

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
        """Return the position in the shuffled order of a group's first record, int64; past the last, `size`.

        With `first_block`, the same if reading begins at that block: then the groups from there on lack the parts of
        the blocks before.
        """
        blocks = group - first_block
        ramp = tf.minimum(blocks, PARTS)
        place = self.block // PARTS * (ramp * (ramp + 1) // 2) + self.block * tf.maximum(blocks - PARTS, 0)
        return tf.where(group < self.num_groups, place, self.size - self.block * first_block)

    def group_at(self, place):
        """Return the group at this position of the shuffled order, int64 scalar."""
        starts = self.start(tf.range(self.num_groups))
        return tf.searchsorted(starts, place[None], side="right", out_type=tf.int64)[0] - 1

    def first_block(self, place):
        """Return the earliest block with records at this position of the shuffled order or later."""
        return tf.maximum(self.group_at(place) - PARTS + 1, 0)

    def groups_of(self, block):
        """Return the group of each record of a block before the last, int64 [block]."""
        key = tf.stack([tf.constant(draws.key_of(self.seed, "deal"), tf.int64), self.epoch, block])
        # 8 rounds: see shuffled_indices in sampler.py.
        dealt = tf.raw_ops.RandomIndexShuffle(
            index=tf.range(self.block, dtype=tf.int64),
            seed=key,
            max_index=tf.constant(self.block - 1, tf.int64),
            rounds=8,
        )
        return tf.minimum(block + dealt * PARTS // self.block, self.num_groups - 1)

    def apply(self, records, place):
        """Return the shuffled records from a place of their order on.

        `records` are those of the sequence from the beginning of `first_block(place)` on.
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
        # Before it come incomplete groups, and records of the first complete group.
        group = self.group_at(place)
        return shuffled.skip(self.start(group, first_block) + place - self.start(group)).prefetch(self.block)

    def _in_random_order(self, group, records, size):
        # For the graph of this tf.data function alone: else the order would depend on the program's global seed.
        tf.random.set_seed(1)
        key = tf.stack([tf.constant(draws.key_of(self.seed, "order in a group"), tf.int64), self.epoch])
        key = tf.random.experimental.stateless_fold_in(key, group)
        seed = tf.random.stateless_uniform([], key, maxval=2**31 - 1, dtype=tf.int32)
        records = records.map(lambda _, record: record)
        return records.shuffle(tf.maximum(size, 1), tf.cast(seed, tf.int64))
