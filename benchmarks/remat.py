"""Measure peak memory and time of a pretraining step with and without --remat.

Each way runs in a process of its own. Peak memory is the highest resident size of the process less its size before the
first step; tracing the step is part of it. Seconds are medians over the steps, by the clock and as CPU time, which
other programs on the machine disturb less.

    python benchmarks/remat.py                        # r50_1x_sk0, 224 px, batch 16 (32 views), float32
    python benchmarks/remat.py --precision=bfloat16
"""

import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.command_line import make_parser, parse
from benchmarks.own_process import peak_bytes, run_alone

WAYS = ("without", "with")


def measure_steps(precision, steps, warm_up=1, **settings):
    """Return a dict of peak memory in bytes, seconds and CPU seconds of a step, and the last loss.

    Args:
        precision: as --precision of train.py.
        steps: timed ones.
        warm_up: steps before them; without, the first timed one includes tracing.
        **settings: of a PretrainConfig.
    """
    from simclr_keras.backend import start_tensorflow_quietly

    start_tensorflow_quietly()
    import keras
    import tensorflow as tf

    from benchmarks import pretrain_step
    from simclr_keras.config.modes import PretrainConfig
    from simclr_keras.training.engine import strategy

    keras.utils.set_random_seed(0)
    policy = strategy.resolve_precision(precision, tf.distribute.get_strategy())
    step = pretrain_step.make_step(PretrainConfig(**settings), policy)
    before, seconds, cpu_seconds = peak_bytes(), [], []
    for _ in range(warm_up):
        step()
    for _ in range(steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        loss = step()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return {
        "peak": peak_bytes() - before,
        "seconds": statistics.median(seconds),
        "cpu_seconds": statistics.median(cpu_seconds),
        "loss": loss,
    }


def measure(arguments):
    """Return what `measure_steps` does, for one of the ways."""
    return measure_steps(
        arguments.precision,
        arguments.steps,
        model=arguments.model,
        image_size=arguments.image_size,
        batch_size=arguments.batch_size,
        remat=arguments.way == "with",
    )


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r50_1x_sk0")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one that traces")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--way", choices=WAYS, help="measure one of them in this process")
    arguments = parse(parser, argv, model="r18_0.05x_sk0", image_size=8, batch_size=4, steps=1)
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    flags = [f"--{name}={value}" for name, value in vars(arguments).items() if name not in ("way", "quick")]
    results = {}
    print(
        f"{arguments.model}, {arguments.image_size} px, batch {arguments.batch_size}, {arguments.precision}"
    )
    for way in WAYS:
        results[way] = row = run_alone(__file__, [*flags, f"--way={way}"])
        print(
            f"{way} --remat: peak {row['peak'] / 2**20:,.0f} MiB, {row['seconds']:.2f} s a step, "
            f"{row['cpu_seconds']:.2f} s of CPU, loss {row['loss']:.6f}"
        )
    plain, remat = (results[way] for way in WAYS)
    ratios = {name: remat[name] / plain[name] for name in ("peak", "seconds", "cpu_seconds")}
    print(
        f"ratios: memory {ratios['peak']:.2f}, time {ratios['seconds']:.2f}, CPU time {ratios['cpu_seconds']:.2f}"
    )


if __name__ == "__main__":
    main()
