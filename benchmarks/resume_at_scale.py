"""Time the first batch of a resumed run: a million small streamed records at step 200,000, and arrays.

    python benchmarks/resume_at_scale.py                  # ImageNet's count, records of 1 kB; 1.4 GB of files
    python benchmarks/resume_at_scale.py --records=100000 --record_kb=110 --shards=80 --batch_size=1024 --step=200088

Writes synthetic TFRecord files into a temporary folder. Then a start at step 0 and a resume take turns in one process.
Prints the seconds to the first batch and the megabytes read. The files are in the page cache, so a disk adds the time
to read those megabytes. `--steady=10` also times ten later batches.
"""

import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from benchmarks.run import hardware
from simclr_keras.data.pipeline import train_batches
from simclr_keras.data.records.stream_source import Shards, StreamSource
from simclr_keras.data.sources.source import ArrayStore, RowIds, Source

IMAGE_SIZE = 16  # small, so that decoding is not what is measured


def write_shards(folder, records, shards, record_bytes):
    """Write record files with repeated contents; return their paths and counts. An id is the number of a record."""
    rng, examples = np.random.default_rng(0), []
    for label in range(10):
        image = tf.io.encode_jpeg(rng.integers(0, 256, (20, 20, 3), np.uint8), quality=90).numpy()
        features = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            "padding": tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[rng.bytes(max(0, record_bytes - len(image)))])
            ),
        }
        examples.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    counts = [records // shards + (shard < records % shards) for shard in range(shards)]
    paths, written = [], {}
    for shard, count in enumerate(counts):
        paths.append(os.path.join(folder, f"train-{shard:05d}.tfrecord"))
        if count in written:
            shutil.copyfile(written[count], paths[-1])
            continue
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for number in range(count):
                writer.write(examples[number % 10])
        written[count] = paths[-1]
    return tuple(paths), tuple(counts)


def parse_record(record):
    example = tf.io.parse_single_example(
        record, {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    )
    return {"image": example["image"], "label": tf.cast(example["label"], tf.int32)}


def seconds_to_first_batch(source, batch_size, first_step, more_steps=0):
    """Return the seconds to the first batch, the megabytes read for it, and the seconds of a later batch."""
    start, read_before = time.perf_counter(), megabytes_read()
    batches = iter(
        train_batches(
            source,
            image_size=IMAGE_SIZE,
            batch_size=batch_size,
            seed=0,
            first_step=first_step,
            num_steps=more_steps + 1,
        )
    )
    next(batches)["id"].numpy()
    first, read = time.perf_counter(), megabytes_read() - read_before
    for _ in range(more_steps):
        next(batches)["id"].numpy()
    return first - start, read, (time.perf_counter() - first) / max(1, more_steps)


def megabytes_read():
    """Return what this process has read from files, cached or not; 0 if the system does not count it."""
    try:
        counts = dict(line.split(": ") for line in pathlib.Path("/proc/self/io").read_text().splitlines())
    except OSError:
        return 0.0
    return int(counts["rchar"]) / 1e6


def compare(name, source, arguments):
    steps, megabytes, steady = {0: [], arguments.step: []}, {}, []
    for _ in range(arguments.rounds):
        for step, seconds in steps.items():
            first, megabytes[step], later = seconds_to_first_batch(
                source, arguments.batch_size, step, arguments.steady
            )
            seconds.append(first)
            steady.append(later)
    extra = sorted(b - a for a, b in zip(steps[0], steps[arguments.step]))
    position = arguments.step * arguments.batch_size % source.num_examples / source.num_examples
    print(
        f"{name}: first batch from step 0 after {statistics.median(steps[0]):.2f} s, "
        f"from step {arguments.step:,} ({position:.0%} into an epoch) after "
        f"{statistics.median(steps[arguments.step]):.2f} s: "
        f"{statistics.median(extra):+.2f} s ({extra[0]:+.2f} to {extra[-1]:+.2f}); "
        f"MB read {megabytes[0]:,.0f} and {megabytes[arguments.step]:,.0f}",
        flush=True,
    )
    if arguments.steady:
        rate = arguments.batch_size / statistics.median(steady)
        print(f"{name}: later batches at {rate:,.0f} images/s", flush=True)


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--records", type=int, default=1_281_167)
    parser.add_argument("--record_kb", type=float, default=1.0)
    parser.add_argument("--shards", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--step", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steady", type=int, default=0, help="batches after the first to time as well")
    arguments = parse(parser, argv, records=2000, shards=4, batch_size=64, step=50, rounds=1)
    print(hardware())
    print(f"{arguments.records:,} records of {arguments.record_kb:g} kB, batch {arguments.batch_size}")
    images = np.zeros((arguments.records, 8, 8, 3), np.uint8)
    arrays = Source("arrays", ArrayStore(images), RowIds("train", len(images)))
    with tempfile.TemporaryDirectory() as folder:
        paths, counts = write_shards(
            folder, arguments.records, arguments.shards, int(1000 * arguments.record_kb)
        )
        shards = StreamSource("records", Shards(paths, counts, parse_record, "train"), has_labels=True)
        seconds_to_first_batch(shards, arguments.batch_size, 0)  # the first use of everything is slower
        compare(f"streamed from {arguments.shards} files", shards, arguments)
    seconds_to_first_batch(arrays, arguments.batch_size, 0)
    compare("arrays in memory", arrays, arguments)


if __name__ == "__main__":
    main()
