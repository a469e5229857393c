"""Time a pretraining step with the momentum network and its queue, and without memory.

A step is augmentation of both views, forward, backward, LARS and the metrics, on prepared batches; with memory also the
forward pass of the momentum network, its update, and the loss against the queue. The two learners take turns in one
process, so that a machine that slows down slows both. Prints the ratio of their medians, with the spread of the paired
ratios.

    python benchmarks/momentum_memory.py                      # r18_1x_sk0, 32 px, batch 64, 65,536 rows
    python benchmarks/momentum_memory.py --memory_size=4096
"""

import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from benchmarks.pretrain_step import make_step, time_in_turns
from simclr_keras.config.modes import PretrainConfig
from simclr_keras.training.engine import strategy


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r18_1x_sk0")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--memory_size", type=int, default=65536)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", default="float32")
    arguments = parse(
        parser, argv, model="r18_0.05x_sk0", image_size=8, batch_size=4, memory_size=64, rounds=2
    )
    policy = strategy.resolve_precision(arguments.precision, tf.distribute.get_strategy())
    steps = {}
    for name, memory in {
        "without": {},
        "with": {"memory": "queue", "memory_size": arguments.memory_size},
    }.items():
        config = PretrainConfig(
            model=arguments.model, image_size=arguments.image_size, batch_size=arguments.batch_size, **memory
        )
        config.check_memory()
        steps[name] = make_step(config, policy)

    seconds = time_in_turns(steps, arguments.rounds)
    pairs = sorted(b / a for a, b in zip(*seconds.values()))
    print(
        f"{arguments.model}, {arguments.image_size} px, batch {arguments.batch_size}, queue of "
        f"{arguments.memory_size:,} rows, {arguments.precision}, {arguments.rounds} rounds"
    )
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(f"{name} memory: median {medians[name]:.3f} s a step (min {min(times):.3f})")
    print(
        f"with / without: ratio of medians {medians['with'] / medians['without']:.2f}, of minima "
        f"{min(seconds['with']) / min(seconds['without']):.2f}, median of paired ratios "
        f"{statistics.median(pairs):.2f} ({pairs[0]:.2f} to {pairs[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
