"""Compare peak memory and time of NT-Xent and its gradient: from tiles, and from one matrix of all similarities.

Each variant has a process of its own. Peak memory is the largest resident size of the process, minus its size after
TensorFlow was imported and the embeddings were made. The time is the median of the calls after the first.

    python benchmarks/nt_xent_memory.py                   # 16,384 views both ways, 65,536 views from tiles alone
    python benchmarks/nt_xent_memory.py --views=8192 --tiled_views=32768 --rounds=5
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.command_line import make_parser, parse

VARIANTS = ("dense", "tiled")


def measure(variant, views, dimensions, rounds):
    """Return peak memory in MB, seconds of each call after the first, loss and length of the gradient."""
    from simclr_keras.backend import start_tensorflow_quietly

    start_tensorflow_quietly()
    import tensorflow as tf

    from simclr_keras.objectives import nt_xent

    first = tf.random.stateless_normal([views // 2, dimensions], [0, 0])
    second = first + tf.random.stateless_normal([views // 2, dimensions], [0, 1])
    before, seconds = peak_megabytes(), []

    @tf.function(autograph=False)
    def step(first, second):
        with tf.GradientTape() as tape:
            tape.watch([first, second])
            loss = nt_xent.nt_xent(first, second).loss
        return loss, tf.linalg.global_norm(tape.gradient(loss, [first, second]))

    limit = 0 if variant == "tiled" else views**2
    with mock.patch.object(nt_xent, "MOST_DENSE_SIMILARITIES", limit):
        for _ in range(1 + rounds):
            start = time.perf_counter()
            loss, length = (float(value) for value in step(first, second))
            seconds.append(time.perf_counter() - start)
    return {"megabytes": peak_megabytes() - before, "seconds": seconds[1:], "loss": loss, "length": length}


def peak_megabytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure_alone(variant, views, dimensions, rounds):
    """As `measure`, in a process of its own."""
    command = [sys.executable, __file__, f"--variant={variant}", f"--views={views}"]
    command += [f"--dimensions={dimensions}", f"--rounds={rounds}"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def report(variant, views, arguments):
    """Measure a variant, print a line, return peak memory and median time."""
    result = measure_alone(variant, views, arguments.dimensions, arguments.rounds)
    times = result["seconds"]
    median = statistics.median(times)
    print(
        f"{variant}, {views:,} views x {arguments.dimensions}: peak {result['megabytes']:,.0f} MB, "
        f"median {median:.2f} s ({min(times):.2f} to {max(times):.2f}), "
        f"loss {result['loss']:.6f}, gradient {result['length']:.6g}",
        flush=True,
    )
    return result["megabytes"], median


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--views", type=int, default=16_384, help="of both variants; even")
    parser.add_argument("--tiled_views", type=int, default=65_536, help="of the tiles alone; 0 leaves it out")
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", choices=VARIANTS, help="measure it in this process, and print JSON")
    arguments = parse(parser, argv, views=1500, tiled_views=0, dimensions=16, rounds=1)
    if arguments.variant:
        print(json.dumps(measure(arguments.variant, arguments.views, arguments.dimensions, arguments.rounds)))
        return
    dense, tiled = (report(variant, arguments.views, arguments) for variant in VARIANTS)
    memory, seconds = (ours / theirs for ours, theirs in zip(tiled, dense))
    print(f"tiled / dense: memory {memory:.3f}, time {seconds:.2f}", flush=True)
    if arguments.tiled_views:
        report("tiled", arguments.tiled_views, arguments)


if __name__ == "__main__":
    main()
