"""Compare peak memory and time of NT-Xent with its gradient: from tiles, and from one matrix of all similarities.

A call computes loss, accuracy, entropy and the gradient, as in training. Each variant has a process of its own. Peak
memory is the largest resident size of the process, minus its size after TensorFlow was imported. Times are medians of
the calls after the first, by the clock and as CPU time of all threads, which other programs disturb less.

    python benchmarks/nt_xent_memory.py                   # 16,384 views both ways, 65,536 views from tiles alone
    python benchmarks/nt_xent_memory.py --views=8192 --tiled_views=32768 --rounds=5
"""

import json
import pathlib
import statistics
import sys
import time
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.command_line import make_parser, parse
from benchmarks.own_process import peak_bytes, run_alone

VARIANTS = ("dense", "tiled")


def measure(variant, views, dimensions, rounds):
    """Return peak memory in MB, times of each call after the first, and figures to compare."""
    from simclr_keras.backend import start_tensorflow_quietly

    start_tensorflow_quietly()
    import tensorflow as tf

    from simclr_keras.objectives import nt_xent

    before, seconds, cpu_seconds = peak_bytes(), [], []
    first = tf.random.stateless_normal([views // 2, dimensions], [0, 0])
    second = first + tf.random.stateless_normal([views // 2, dimensions], [0, 1])

    @tf.function(autograph=False)
    def step(first, second):
        with tf.GradientTape() as tape:
            tape.watch([first, second])
            result = nt_xent.nt_xent(first, second)
        return result, tf.linalg.global_norm(tape.gradient(result.loss, [first, second]))

    limit = 0 if variant == "tiled" else views**2
    with mock.patch.object(nt_xent, "MOST_DENSE_SIMILARITIES", limit):
        for _ in range(1 + rounds):
            start, cpu_start = time.perf_counter(), time.process_time()
            result, length = step(first, second)
            loss, accuracy, entropy = (float(value) for value in result)
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
    times = {"seconds": seconds[1:], "cpu_seconds": cpu_seconds[1:]}
    figures = {"loss": loss, "accuracy": accuracy, "entropy": entropy, "gradient": float(length)}
    return {"megabytes": (peak_bytes() - before) / 2**20, **times, "figures": figures}


def measure_alone(variant, views, dimensions, rounds):
    """As `measure`, in a process of its own."""
    flags = [f"--variant={variant}", f"--views={views}", f"--dimensions={dimensions}", f"--rounds={rounds}"]
    return run_alone(__file__, flags)


def report(variant, views, arguments):
    """Measure a variant, print a line, return peak memory and median times."""
    result = measure_alone(variant, views, arguments.dimensions, arguments.rounds)
    times = result["seconds"]
    median, cpu = statistics.median(times), statistics.median(result["cpu_seconds"])
    print(
        f"{variant}, {views:,} views x {arguments.dimensions}: peak {result['megabytes']:,.0f} MB, "
        f"median {median:.2f} s ({min(times):.2f} to {max(times):.2f}), CPU {cpu:.2f} s; "
        + ", ".join(f"{name} {value:.6g}" for name, value in result["figures"].items()),
        flush=True,
    )
    return result["megabytes"], median, cpu


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
    memory, seconds, cpu = (ours / theirs for ours, theirs in zip(tiled, dense))
    print(f"tiled / dense: memory {memory:.3f}, time {seconds:.2f}, CPU time {cpu:.2f}", flush=True)
    if arguments.tiled_views:
        report("tiled", arguments.tiled_views, arguments)


if __name__ == "__main__":
    main()
