"""Measure a large batch in micro-batches against a small undivided one: peak memory, and time per image.

Each way runs in a process of its own. Peak memory is the highest resident size of the process less its size before the
first step; tracing the step is part of it. Seconds are medians over the steps, by the clock and as CPU time, which
other programs on the machine disturb less. Those of the large batch, whose steps take minutes, include tracing.

    python benchmarks/gradient_caching.py        # r18_1x_sk0, 32 px, batch 4096 in micro-batches of 256, float32
    python benchmarks/gradient_caching.py --batch_size=1024 --precision=bfloat16
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.command_line import make_parser, parse
from benchmarks.own_process import run_alone
from benchmarks.remat import measure_steps

WAYS = ("undivided", "cached")


def measure(arguments):
    """Return a dict of peak memory in bytes, and seconds and CPU seconds per image."""
    cached = arguments.way == "cached"
    size = arguments.batch_size if cached else arguments.microbatch_size
    result = measure_steps(
        arguments.precision,
        arguments.steps if cached else arguments.undivided_steps,
        warm_up=0 if cached else 1,
        model=arguments.model,
        image_size=arguments.image_size,
        batch_size=size,
        microbatch_size=arguments.microbatch_size if cached else 0,
    )
    return {
        "peak": result["peak"],
        "seconds": result["seconds"] / size,
        "cpu_seconds": result["cpu_seconds"] / size,
    }


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r18_1x_sk0")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--microbatch_size", type=int, default=256)
    parser.add_argument(
        "--steps", type=int, default=1, help="timed steps of the large batch; the first one includes tracing"
    )
    parser.add_argument(
        "--undivided_steps", type=int, default=8, help="timed steps of the small one, after one that traces"
    )
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--way", choices=WAYS, help="measure one of them in this process")
    arguments = parse(
        parser,
        argv,
        model="r18_0.05x_sk0",
        image_size=8,
        batch_size=8,
        microbatch_size=4,
        undivided_steps=1,
    )
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    flags = [f"--{name}={value}" for name, value in vars(arguments).items() if name not in ("way", "quick")]
    size, results = arguments.microbatch_size, {}
    print(f"{arguments.model}, {arguments.image_size} px, {arguments.precision}")
    for way in WAYS:
        results[way] = row = run_alone(__file__, [*flags, f"--way={way}"])
        name = (
            f"batch {arguments.batch_size} in micro-batches of {size}" if way == "cached" else f"batch {size}"
        )
        print(
            f"{name}: peak {row['peak'] / 2**20:,.0f} MiB, {1000 * row['seconds']:.2f} ms per image, "
            f"{1000 * row['cpu_seconds']:.2f} ms of CPU",
            flush=True,
        )
    ratios = {name: value / results["undivided"][name] for name, value in results["cached"].items()}
    print(
        f"ratios: memory {ratios['peak']:.2f}, time per image {ratios['seconds']:.2f}, "
        f"CPU time per image {ratios['cpu_seconds']:.2f}"
    )


if __name__ == "__main__":
    main()
