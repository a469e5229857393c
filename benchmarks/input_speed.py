"""Time the input: crops of CIFAR-like arrays and of JPEGs on the host, color and blur on the device.

    python benchmarks/input_speed.py

Each line prints images or views per second, and the processor time of one. If other programs run, the processor time
is the better measure.
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from simclr_keras.data.pipeline import train_batches
from simclr_keras.data.sources.source import ArrayStore, BytesStore, RowIds, Source
from simclr_keras.data.views.color_blur import ColorBlur


def report(name, unit, per_round, run, least_seconds):
    """Call run() for some seconds and print the cost of one of its `per_round` units."""
    run()
    wall, processor, rounds = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < least_seconds:
        run()
        rounds += 1
    wall, processor, count = time.perf_counter() - wall, time.process_time() - processor, rounds * per_round
    print(
        f"{name:45s} {count / wall:8.0f} {unit}/s  {1e6 * processor / count:7.0f} us of CPU each", flush=True
    )


def input_speed(name, source, image_size, batch_size, least_seconds):
    dataset = train_batches(
        source, image_size=image_size, batch_size=batch_size, seed=0, first_step=0, num_steps=10**6
    )
    iterator = iter(dataset)
    report(name, "images", batch_size, lambda: next(iterator), least_seconds)


def augment_speed(name, augment, batch_size, least_seconds):
    size = augment.image_size
    views = np.random.default_rng(0).integers(0, 256, (batch_size, 2, size, size, 3), dtype=np.uint8)
    views = tf.constant(views)
    step = tf.function(lambda number: augment(views, number))
    report(name, "views", 2 * batch_size, lambda: step(tf.constant(0)).shape, least_seconds)


def cifar_like(count):
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return Source("arrays", ArrayStore(images), RowIds("train", len(images)))


def imagenet_like(count):
    """Return smooth 500 x 375 images with some noise, as JPEGs of about 100 kB."""
    rng, encoded = np.random.default_rng(0), []
    for _ in range(count):
        coarse = rng.uniform(0, 255, (12, 16, 3))
        image = tf.image.resize(coarse, (375, 500), "bicubic") + rng.normal(0, 12, (375, 500, 3))
        encoded.append(tf.io.encode_jpeg(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8), quality=90))
    return Source("jpegs", BytesStore(tf.stack(encoded)), RowIds("train", count))


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="at least, of each line [%(default)s]")
    parser.add_argument("--arrays", type=int, default=50_000, help="array images [%(default)s]")
    parser.add_argument("--jpegs", type=int, default=64, help="JPEG images [%(default)s]")
    parser.add_argument("--image_size", type=int, default=224, help="of JPEGs and colors [%(default)s]")
    parser.add_argument("--small_batch", type=int, default=512, help="images of 32 px [%(default)s]")
    parser.add_argument("--large_batch", type=int, default=32, help="images of --image_size [%(default)s]")
    flags = parse(parser, argv, seconds=0.01, arrays=64, jpegs=4, image_size=40, small_batch=8, large_batch=2)
    size, small, large = flags.image_size, flags.small_batch, flags.large_batch
    for name, source, image_size, batch_size in (
        ("arrays 32 px -> two views of 32 px", cifar_like(flags.arrays), 32, small),
        (f"JPEGs 500 x 375 -> two views of {size} px", imagenet_like(flags.jpegs), size, large),
    ):
        input_speed(name, source, image_size, batch_size, flags.seconds)
    for name, augment, batch_size in (
        ("color at 32 px, strength 0.5", ColorBlur(32, color_strength=0.5, blur=False), small),
        (f"color at {size} px", ColorBlur(size, blur=False), large),
        (f"color and blur at {size} px", ColorBlur(size), large),
    ):
        augment_speed(name, augment, batch_size, flags.seconds)


if __name__ == "__main__":
    main()
