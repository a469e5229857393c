"""Time one pretraining step on 1 and on 2 replicas of the same cores, with fused and unfused batch normalization.

The replicas are two logical CPU devices, so that they have the same two cores as one: the ratio shows what replicas
cost in themselves. All steps take turns in one process, at the same global batch. Prints the median of the ratios of
each turn, and their quartiles.

    python benchmarks/replica_step.py                           # r18_1x_sk0, 32 px, batch 128, float32
    python benchmarks/replica_step.py --model=r50_1x_sk0 --image_size=224 --batch_size=8 --precision=bfloat16
"""

import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly(devices=False)

import tensorflow as tf

REPLICAS = 2
CPU = tf.config.list_physical_devices("CPU")[0]
if not tf.config.get_logical_device_configuration(CPU):  # the tests have their own
    tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * REPLICAS)

from benchmarks.command_line import make_parser, parse
from benchmarks.pretrain_step import make_step, time_in_turns
from simclr_keras.config.modes import PretrainConfig
from simclr_keras.training.engine import strategy

PAIRS = (
    ("2 replicas, unfused", "1 replica, unfused"),
    ("2 replicas", "1 replica"),
    ("2 replicas", "1 replica, unfused"),
    ("1 replica, unfused", "1 replica"),
)


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r18_1x_sk0")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--precision", default="float32")
    arguments = parse(parser, argv, model="r18_0.05x_sk0", image_size=8, batch_size=4, rounds=2)
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(REPLICAS)])
    config = PretrainConfig(
        model=arguments.model, image_size=arguments.image_size, batch_size=arguments.batch_size
    )
    policy = strategy.resolve_precision(arguments.precision, one)
    steps = {
        f"{name}{', unfused' * (not fused)}": make_step(config, policy, devices, fused)
        for fused in (True, False)
        for name, devices in (("1 replica", one), ("2 replicas", two))
    }
    seconds = time_in_turns(steps, arguments.rounds)
    print(
        f"{arguments.model}, {arguments.image_size} px, batch {arguments.batch_size}, {arguments.precision}, "
        f"{arguments.rounds} rounds"
    )
    for name, times in seconds.items():
        print(f"{name}: median {statistics.median(times):.3f} s (min {min(times):.3f})")
    for first, second in PAIRS:
        ratios = [a / b for a, b in zip(seconds[first], seconds[second])]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        print(f"{first} / {second}: median ratio {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
