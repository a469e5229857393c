"""How fast views are made: host crops of CIFAR-like arrays and of JPEGs, device color and blur.

    python benchmarks/input_speed.py

Each line gives the wall-clock rate and the processor time an image or view costs; on a shared machine only
the latter means much.
"""

import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.data.pipeline import train_batches
from simclr_keras.data.sources.source import ArrayStore, BytesStore, RowIds, Source
from simclr_keras.data.views.color_blur import ColorBlur

SECONDS = 4.0


def report(name, unit, per_round, run):
    """Calls run() for a while and prints what one of its `per_round` units costs."""
    run()
    wall, processor, rounds = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < SECONDS:
        run()
        rounds += 1
    wall, processor, count = time.perf_counter() - wall, time.process_time() - processor, rounds * per_round
    print(
        f"{name:45s} {count / wall:8.0f} {unit}/s  {1e6 * processor / count:7.0f} us of CPU each", flush=True
    )


def input_speed(name, source, image_size, batch_size):
    dataset = train_batches(
        source, image_size=image_size, batch_size=batch_size, seed=0, first_step=0, num_steps=10**6
    )
    iterator = iter(dataset)
    report(name, "images", batch_size, lambda: next(iterator))


def augment_speed(name, augment, batch_size):
    size = augment.image_size
    views = np.random.default_rng(0).integers(0, 256, (batch_size, 2, size, size, 3), dtype=np.uint8)
    views = tf.constant(views)
    step = tf.function(lambda number: augment(views, number))
    report(name, "views", 2 * batch_size, lambda: step(tf.constant(0)).shape)


def cifar_like():
    images = np.random.default_rng(0).integers(0, 256, (50_000, 32, 32, 3), dtype=np.uint8)
    return Source("arrays", ArrayStore(images), RowIds("train", len(images)))


def imagenet_like(count=64):
    """Smooth 500 x 375 pictures with some grain: JPEGs of about 100 kB."""
    rng, encoded = np.random.default_rng(0), []
    for _ in range(count):
        coarse = rng.uniform(0, 255, (12, 16, 3))
        image = tf.image.resize(coarse, (375, 500), "bicubic") + rng.normal(0, 12, (375, 500, 3))
        encoded.append(tf.io.encode_jpeg(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8), quality=90))
    return Source("jpegs", BytesStore(tf.stack(encoded)), RowIds("train", count))


def main():
    input_speed("arrays 32 px -> two views of 32 px", cifar_like(), 32, 512)
    input_speed("JPEGs 500 x 375 -> two views of 224 px", imagenet_like(), 224, 32)
    augment_speed("color at 32 px, strength 0.5", ColorBlur(32, strength=0.5, blur=False), 512)
    augment_speed("color at 224 px", ColorBlur(224, blur=False), 32)
    augment_speed("color and blur at 224 px", ColorBlur(224), 32)


if __name__ == "__main__":
    main()
