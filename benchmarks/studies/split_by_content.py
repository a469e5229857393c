"""What a split by content costs against a stratified one: its spread, and the time of hashing.

    python benchmarks/studies/split_by_content.py            # 2,000 simulated datasets per row, 1,000 JPEGs
    python benchmarks/studies/split_by_content.py --quick

A split by content holds out every image with a probability of eval_fraction. So the number of evaluation labels varies,
and a small class may have none. The stratified split, which the library used before, holds out the same share of every
class, at least one image. Class sizes are equal, or fall as 1 / rank ("long tail").
"""

import io
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
from PIL import Image

from benchmarks.command_line import make_parser, parse
from simclr_keras.data.content_hash import hash_of, hashes_of, is_held_out
from simclr_keras.data.files.image_file import check_bytes

HEADER = (
    f"{'labels':>6} {'classes':>7} {'fraction':>8}  {'class sizes':<11}{'stratified':>11}{'by content':>23}"
    f"{'classes without evaluation image':>35}{'without training image':>24}"
)


def class_sizes(labels: int, classes: int, long_tail: bool) -> np.ndarray:
    """Return the number of labels of every class, int [classes], at least 2 each."""
    weights = 1 / np.arange(1, classes + 1) if long_tail else np.ones(classes)
    sizes = np.maximum(2, np.floor(labels * weights / weights.sum()).astype(int))
    sizes[0] += labels - sizes.sum()
    return sizes


def row(labels: int, classes: int, fraction: float, long_tail: bool, datasets: int) -> str:
    """Return a line of the table: what both splits hold out of many datasets of random images."""
    sizes = class_sizes(labels, classes, long_tail)
    stratified = np.clip(np.round(fraction * sizes), 1, sizes - 1).sum()
    of_image = np.repeat(np.arange(classes), sizes)
    counts = []
    for dataset in range(datasets):
        hashes = hashes_of(f"{dataset}/{image}".encode() for image in range(labels))
        counts.append(np.bincount(of_image[is_held_out(hashes, fraction)], minlength=classes))
    counts = np.array(counts)  # [datasets, classes]
    total = counts.sum(axis=1)
    low, middle, high = np.percentile(total, [5, 50, 95])
    missing = (counts == 0).sum(axis=1)
    fewest, most = np.percentile(missing, [5, 95])
    lost = (counts == sizes).any(axis=1).mean()
    return (
        f"{labels:6} {classes:7} {fraction:8}  {'long tail' if long_tail else 'equal':<11}{stratified:11.0f}"
        f"{middle:11.0f} ({low:2.0f} to {high:2.0f})"
        f"{missing.mean():19.1f} ({fewest:2.0f} to {most:2.0f})"
        f"{100 * lost:22.1f} %"
    )


def seconds_of_hashing(count: int) -> tuple[float, float]:
    """Return the seconds to decode so many JPEGs of 500 x 375, and to hash them."""
    x, y = np.meshgrid(np.arange(500), np.arange(375))
    waves = 128 + 60 * np.stack([np.sin(x / 17), np.cos(y / 23), np.sin((x + y) / 31)], axis=-1)
    buffer = io.BytesIO()
    pixels = np.clip(waves + np.random.default_rng(0).normal(0, 20, waves.shape), 0, 255)
    Image.fromarray(np.uint8(pixels)).save(buffer, "JPEG", quality=90)
    file = buffer.getvalue()
    print(f"\n{count} JPEGs of {len(file) / 1000:.0f} kB, one after the other:")
    seconds = []
    for work in (check_bytes, hash_of):
        work(file)
        begin = time.perf_counter()
        for _ in range(count):
            work(file)
        seconds.append(time.perf_counter() - begin)
    return tuple(seconds)


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--files", type=int, default=1000)
    flags = parse(parser, argv, datasets=20, files=10)
    print(
        "Evaluation labels of the stratified split; by content: median (5 % to 95 %); classes: mean (5 % to 95 %)"
    )
    print(HEADER)
    for labels in (50, 200):
        for classes in (5, 14):
            for fraction in (0.1, 0.3):
                for long_tail in (False, True):
                    print(row(labels, classes, fraction, long_tail, flags.datasets), flush=True)
    decoding, hashing = seconds_of_hashing(flags.files)
    print(f"check (decode) {decoding:.2f} s, hash {hashing:.3f} s: {100 * hashing / decoding:.1f} % more")


if __name__ == "__main__":
    main()
