"""The resumable shuffle: a permutation, as good as a buffer's, that can begin anywhere."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.records.resumable_shuffle import PARTS, ResumableShuffle


def _int64(number):
    return tf.constant(number, tf.int64)


def _shuffled(size, block, place=0, seed=0, epoch=0):
    shuffle = ResumableShuffle(_int64(size), block, seed, _int64(epoch))
    first_read = int(shuffle.first_block(_int64(place))) * block
    sequence = tf.data.Dataset.range(first_read, size)
    shuffled = shuffle.apply(sequence, _int64(place)).batch(max(1, size))
    found = list(shuffled.as_numpy_iterator())
    return found[0] if found else np.array([], np.int64)


@pytest.mark.slow
def test_permutation_of_any_size():
    for size in (0, 1, 15, 16, 31, 32, 33, 2015):
        order = _shuffled(size, PARTS)
        np.testing.assert_array_equal(np.sort(order), np.arange(size))
        assert size < 15 or np.any(order != np.arange(size))


@pytest.mark.slow
@pytest.mark.parametrize("block", [16, 48])
def test_resume_at_any_position(block):
    whole = _shuffled(1000, block)
    for position in (1, 5 * block, 8 * block + block // 2, 960, 999, 1000):
        np.testing.assert_array_equal(_shuffled(1000, block, position), whole[position:])


def test_it_reads_no_more_than_sixteen_blocks_back():
    shuffle = ResumableShuffle(_int64(100_000), 160, 0, _int64(0))
    for place in (0, 50_000, 90_000):
        # 8 blocks wait on average, so that what is given out was read as far ahead.
        assert 0 <= place + 8 * 160 - 160 * int(shuffle.first_block(_int64(place))) <= 17 * 160


@pytest.mark.slow
def test_it_follows_seed_and_epoch_and_not_the_global_seed():
    orders = [_shuffled(500, 16, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (1, 0), (0, 1))]
    in_one_group = [set(order[200:216]) for order in orders]  # dealt to it, in whatever order
    assert all(in_one_group[i] != in_one_group[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    try:
        tf.random.set_seed(3)
        np.testing.assert_array_equal(_shuffled(500, 16), orders[0])
    finally:
        tf.random.set_seed(None)


@pytest.mark.slow
def test_it_parts_neighbors_as_far_as_a_shuffle_buffer_does():
    """Held against tf.data's buffer of 256 with 384 waiting on average, as 6144 stand against 4096 in a stream."""
    size, batch = 20_000, 256
    middle = np.arange(3000, 15_000)

    def distances(order):
        place = np.empty(size, int)
        place[order] = np.arange(size)
        apart = np.abs(place[middle] - place[middle + 16])  # the next record of the same file, with 16 lanes
        together = np.mean(place[middle] // batch == place[middle + 16] // batch)
        successors = np.mean(np.abs(np.diff(order)) <= 16)
        return np.mean(apart), np.median(apart), together, successors

    buffer = next(iter(tf.data.Dataset.range(size).shuffle(256, 1).batch(size))).numpy()
    ours, theirs = distances(_shuffled(size, 48)), distances(buffer)
    assert ours[0] > 0.93 * theirs[0]
    assert ours[1] > 1.1 * theirs[1]
    assert ours[2] < 0.9 * theirs[2]
    assert ours[3] < theirs[3]
