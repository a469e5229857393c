"""Fifty small images held in each way there is, and their training batches."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from simclr_keras.data import pipeline
from simclr_keras.data.records.stream_source import Shards, StreamSource
from simclr_keras.data.sources.source import ArrayStore, BytesStore, RowIds, Source

N = 50


def arrays(labels=True):
    images = np.random.default_rng(0).integers(0, 256, (N, 12, 12, 3), dtype=np.uint8)
    return Source("arrays", ArrayStore(images), RowIds("train", N), np.arange(N) % 7 if labels else None)


def files():
    """JPEGs and PNGs of mixed sizes."""
    encoded = []
    for row in range(N):
        rng, buffer = np.random.default_rng(row), io.BytesIO()
        image = rng.integers(0, 256, (rng.integers(10, 40), rng.integers(10, 40), 3), dtype=np.uint8)
        Image.fromarray(image).save(buffer, "JPEG" if row % 3 else "PNG")
        encoded.append(buffer.getvalue())
    return Source("files", BytesStore(tf.constant(encoded)), RowIds("train", N), np.arange(N) % 7)


def stream(folder, labels=None):
    """The same images in four TFRecord files, read as a stream; `labels` are known, those of the records all -1."""
    inner = files()
    shards = [range(0, 20), range(20, 23), range(23, 40), range(40, N)]
    paths = []
    for number, rows in enumerate(shards):
        paths.append(str(folder / f"{number}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for row in rows:
                writer.write(inner.fetch(row).numpy())

    def parse(record):
        return {"image": record, "label": tf.constant(-1)}

    counts = tuple(len(rows) for rows in shards)
    return StreamSource(
        "stream", Shards(tuple(paths), counts, parse, "train"), labels is not None, labels=labels
    )


SOURCES = {"arrays": lambda _: arrays(), "files": lambda _: files(), "stream": stream}


def train_dataset(source, *, first_step=0, num_steps=4, image_size=16, batch_size=8, seed=0, **others):
    sizes = {"image_size": image_size, "batch_size": batch_size}
    steps = {"first_step": first_step, "num_steps": num_steps}
    return pipeline.train_batches(source, **sizes, seed=seed, **steps, **others)


def batches(source, **arguments):
    return list(train_dataset(source, **arguments).as_numpy_iterator())


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        assert one.keys() == other.keys() == {"views", "label", "id"}
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
