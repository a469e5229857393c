"""Streams: every epoch is every record, in an order that follows from the seed, shared out over hosts."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.records.stream_source import Shards, StreamSource
from simclr_keras.errors import InputError

COUNTS = (9, 0, 11, 7, 16)
MANY = sum(COUNTS)


def _parse(record):
    return {"image": record, "label": tf.strings.to_number(record, tf.int32) % 3}


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Record number i holds the text "i" in place of an image, and has the label i % 3."""
    return _made(tmp_path_factory.mktemp("records"), COUNTS)


def _made(root, counts):
    paths, number = [], itertools.count()
    for shard, count in enumerate(counts):
        paths.append(str(root / f"{shard}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for _ in range(count):
                writer.write(str(next(number)).encode())
    return StreamSource("made", Shards(tuple(paths), counts, _parse, "train"), True, ("a", "b", "c"))


LARGE_COUNTS = (301, 0, 160, 7, 222, 305, 290, 33, 180, 2)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """1500 records of that kind: blocks of 16 for a buffer of 128, so 93 groups in an epoch."""
    return _made(tmp_path_factory.mktemp("large"), LARGE_COUNTS)


def _records(source, count, **arguments):
    records = source.stream(buffer_size=8, **arguments).take(count).as_numpy_iterator()
    return [(int(record["id"]), int(record["image"]), int(record["label"])) for record in records]


def _ids(source, count, **arguments):
    return [record[0] for record in _records(source, count, **arguments)]


@pytest.mark.slow
def test_order_is_a_function_of_the_seed(stream):
    """An epoch is every record once; an id is the record's number; TensorFlow's global seed changes nothing."""
    orders, draws = [], []
    try:
        for seed in (1, None):
            tf.random.set_seed(seed)
            orders.append(_records(stream, 2 * MANY, seed=1))
            draws.append(float(tf.random.uniform([])))
    finally:
        tf.random.set_seed(None)
    assert orders[0] == orders[1]
    assert draws[0] != draws[1], "the global seed itself must be left alone"
    assert all(row == number and label == number % 3 for row, number, label in orders[0])
    assert stream.ids[17] == "train/17"
    ids = [row for row, _, _ in orders[0]]
    assert sorted(ids[:MANY]) == sorted(ids[MANY:]) == list(range(MANY))
    other = _ids(stream, MANY, seed=2)
    assert len({tuple(order) for order in (ids[:MANY], ids[MANY:], other, range(MANY))}) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "num_hosts", "firsts"), [(0, 1, (5, 43)), (1, 2, (43, 100)), (6, 7, (100,))]
)
def test_resume_anywhere(stream, host, num_hosts, firsts):
    arguments = {"seed": 3, "host": host, "num_hosts": num_hosts}
    whole = _records(stream, 110, **arguments)
    for first in firsts:
        assert _records(stream, 10, first_record=first, **arguments) == whole[first : first + 10]


@pytest.mark.slow
@pytest.mark.parametrize("num_hosts", [2, 7])
def test_hosts_share_out_every_epoch(stream, num_hosts):
    """Checked over the first pass of every host, in order: together every record exactly once."""
    parts = [
        _ids(stream, -1, host=host, num_hosts=num_hosts, shuffle=False, repeat=False)
        for host in range(num_hosts)
    ]
    assert sorted(itertools.chain(*parts)) == list(range(MANY))
    assert all(parts)


@pytest.mark.slow
def test_hosts_are_dealt_shards_anew_every_epoch(stream):
    ids = _ids(stream, 20 * MANY // 2, seed=0, host=0, num_hosts=2)
    assert set(ids) == set(range(MANY))
    assert max(collections.Counter(ids).values()) <= 20


def test_unshuffled_a_stream_is_in_the_order_of_the_files(stream):
    assert _ids(stream, -1, shuffle=False, repeat=False) == list(range(MANY))
    assert _ids(stream, -1, shuffle=False, repeat=False, first_record=30) == list(range(30, MANY))


@pytest.mark.slow
@pytest.mark.parametrize("num_hosts", [1, 7])
def test_a_part_of_a_stream_has_its_own_row_numbers_and_resumes_too(stream, num_hosts):
    kept = np.array([0, 3, 4, 20, 21, 22, 30, 33, 36, 40, 41, 42])
    part = stream.read_contents().subset(kept)
    assert [part.ids[i] for i in (0, -1)] == ["train/0", "train/42"]
    arguments = {"seed": 2, "host": num_hosts - 1, "num_hosts": num_hosts}
    records = _records(part, 40, **arguments)
    assert all((image, label) == (kept[row], kept[row] % 3) for row, image, label in records)
    assert part.labels.tolist() == (kept % 3).tolist()
    if num_hosts == 1:
        assert sorted(record[0] for record in records[:12]) == list(range(12))
    assert _records(part, 15, first_record=25, **arguments) == records[25:]
    assert [part.subset([1, 4]).ids[i] for i in (0, 1)] == ["train/3", "train/21"]


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "num_hosts"), [(range(0, MANY, 7), 2), (range(20, 27), 7)])
def test_a_part_is_shared_out_over_all_hosts(stream, rows, num_hosts):
    part = stream.subset(list(rows))
    shares = [
        _ids(part, -1, host=host, num_hosts=num_hosts, shuffle=False, repeat=False)
        for host in range(num_hosts)
    ]
    assert sorted(itertools.chain(*shares)) == list(range(len(rows)))
    assert all(shares)
    sizes = [len(share) for share in shares]
    assert num_hosts == 2 or max(sizes) - min(sizes) <= 1


def test_fewer_records_than_hosts_are_refused(stream):
    with pytest.raises(InputError, match="made has 1 images for 7 hosts"):
        stream.subset([0]).stream(host=6, num_hosts=7)


@pytest.mark.slow
def test_a_sample_comes_from_few_files_and_reads_only_those(stream):
    sample = stream.sample(12, seed=0)
    ids = _ids(sample, 12, shuffle=False, repeat=False)
    assert ids == list(range(12))
    rows = [int(text.partition("/")[2]) for text in sample.ids]
    assert rows == sorted(rows)
    assert [image for _, image, _ in _records(sample, 12, shuffle=False, repeat=False)] == rows
    assert list(stream.sample(12, seed=0).ids) == list(sample.ids)
    assert len({next(iter(stream.sample(7, seed=seed).ids)) for seed in range(8)}) > 1
    holding = {int(np.searchsorted(np.cumsum(COUNTS), row, side="right")) for row in rows}
    missing = sorted(set(range(len(COUNTS))) - holding)
    assert missing
    # Files that hold none of the sample may even be gone.
    paths = tuple("gone.tfrecord" if i in missing else path for i, path in enumerate(stream._shards.paths))
    elsewhere = StreamSource("made", Shards(paths, COUNTS, _parse, "train"), True).subset(rows)
    assert len(_ids(elsewhere, 12, shuffle=False, repeat=False)) == 12


def test_a_sample_leaves_out_hidden_labels(stream):
    hidden = stream.with_labels_of(range(5))
    assert list(hidden.sample(20, seed=3).ids) == [f"train/{row}" for row in range(5)]


def _reading_order(counts, order, lanes=16):
    """NumPy twin: rows of an epoch as they are read, the shards in `order` cut in equal lanes, one record of each."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = np.concatenate([np.arange(offsets[shard], offsets[shard + 1]) for shard in order])
    parts = np.array_split(rows, lanes)
    return [part[i] for i in range(len(parts[0])) for part in parts if i < len(part)]


def _shard_order(seed, epoch, shards):
    key = tf.constant([seed, epoch], tf.int64)
    return tf.random.experimental.stateless_shuffle(tf.range(shards, dtype=tf.int64), key).numpy()


def _large_ids(large, first, count):
    stream = large.stream(seed=5, buffer_size=128, first_record=first).take(count)
    return [int(record["id"]) for record in stream.as_numpy_iterator()]


@pytest.fixture(scope="module")
def two_epochs(large):
    return _large_ids(large, 0, 2 * sum(LARGE_COUNTS))


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_is_dealt_from_blocks_of_lanes_read_in_turn(two_epochs, epoch):
    many, block = sum(LARGE_COUNTS), 16
    ids = two_epochs[epoch * many :][:many]
    reading = _reading_order(LARGE_COUNTS, _shard_order(5, epoch, len(LARGE_COUNTS)))
    place = dict(zip(reading, range(many)))
    blocks = np.array([min(place[row] // block, many // block - 1) for row in ids])
    start, last = 0, many // block - 1
    for group in range(last):
        # One record of each of the last 16 blocks, in random order.
        expected = list(range(max(0, group - 15), group + 1))
        assert sorted(blocks[start : start + len(expected)]) == expected
        start += len(expected)
    assert collections.Counter(blocks[start:]) == {
        **{number: number - last + 16 for number in range(last - 15, last)},
        last: many - last * block,
    }
    full = blocks[136 : 136 + 70 * 16].reshape(70, 16)
    assert len(np.unique(full - full.min(axis=1, keepdims=True), axis=0)) == 70, "random order in every group"


@pytest.mark.slow
def test_large_stream_resumes_anywhere(large, two_epochs):
    # In the middle of the first groups, in the last one, and before the next epoch; others: test_resumable_shuffle.py.
    for first in (136, 1374, 1499):
        assert _large_ids(large, first, 40) == two_epochs[first : first + 40]


@pytest.mark.slow
def test_a_resumed_stream_opens_only_files_that_it_still_reads(tmp_path):
    """40 files of 40 records in 16 lanes: late in an epoch every lane has finished its first file or two."""
    source = _made(tmp_path, (40,) * 40)
    arguments = {"seed": 5, "buffer_size": 128, "first_record": 1500}
    whole = [int(record["id"]) for record in source.stream(**arguments).take(100).as_numpy_iterator()]
    reading = _reading_order((40,) * 40, _shard_order(5, 0, 40))
    # Place 1500 is in the last group, number 99, to which blocks 84 and later are dealt.
    needed = {row // 40 for row in reading[84 * 16 :]}
    assert len(needed) <= 20
    for shard in set(range(40)) - needed:
        (tmp_path / f"{shard}.tfrecord").unlink()
    again = [int(record["id"]) for record in source.stream(**arguments).take(100).as_numpy_iterator()]
    assert again == whole
