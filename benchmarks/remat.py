"""Measure peak memory and time of a pretraining step with and without --remat.

Each way runs in a process of its own. Peak memory is the highest resident size of the process less its size before the
first step; tracing the step is part of it. Seconds are medians over the steps, by the clock and as CPU time, which
other programs on the machine disturb less.

    python benchmarks/remat.py                        # r50_1x_sk0, 224 px, batch 16 (32 views), float32
    python benchmarks/remat.py --precision=bfloat16
"""

import json
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.command_line import make_parser, parse

WAYS = ("without", "with")


def measure(arguments):
    """Returns a dict of peak memory in bytes, seconds and CPU seconds of a step, and the last loss."""
    from simclr_keras.backend import start_tensorflow_quietly

    start_tensorflow_quietly()
    import keras
    import tensorflow as tf

    from benchmarks import pretrain_step
    from simclr_keras.config.modes import PretrainConfig
    from simclr_keras.training.engine import strategy

    config = PretrainConfig(
        model=arguments.model,
        image_size=arguments.image_size,
        batch_size=arguments.batch_size,
        remat=arguments.way == "with",
    )
    keras.utils.set_random_seed(0)
    policy = strategy.resolve_precision(arguments.precision, tf.distribute.get_strategy())
    step = pretrain_step.make_step(config, policy)
    before, seconds, cpu_seconds = peak(), [], []
    step()  # traces
    for _ in range(arguments.steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        loss = step()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return {
        "peak": peak() - before,
        "seconds": statistics.median(seconds),
        "cpu_seconds": statistics.median(cpu_seconds),
        "loss": loss,
    }


def peak():
    """Returns the highest resident size of this process so far, in bytes."""
    status = pathlib.Path("/proc/self/status")
    if (
        status.exists()
    ):  # Linux passes ru_maxrss on to children: it may be that of the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
        command = [sys.executable, __file__, *flags, f"--way={way}"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[way] = row = json.loads(output.splitlines()[-1])
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
