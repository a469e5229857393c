"""Time one pretraining step: ours in bfloat16, and the same network with keras BatchNormalization in float32.

A step is augmentation of both views, forward, backward, LARS and the metrics, on prepared batches. The two networks
take turns in one process, so that a machine that slows down slows both. Prints the ratio of their medians, with the
spread of the paired ratios.

    python benchmarks/pretrain_step.py                      # r50_1x_sk0, 224 px, batch 8 (16 views)
    python benchmarks/pretrain_step.py --model=r18_0.25x_sk0 --image_size=32 --batch_size=512
"""

import contextlib
import pathlib
import statistics
import sys
import time
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import keras
import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from simclr_keras.config.modes import PretrainConfig
from simclr_keras.models import blocks, heads, resnet
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.runs.architecture import Architecture
from simclr_keras.training.engine import strategy
from simclr_keras.training.stages import pretrain

CLASSES = 10
WARM_UP = 2  # rounds that trace and warm up


class KerasNorm(keras.layers.BatchNormalization):
    """The layer of Keras with the arguments of ours."""

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)


@contextlib.contextmanager
def keras_batch_normalization():
    with contextlib.ExitStack() as stack:
        for module in (blocks, heads, resnet):
            stack.enter_context(mock.patch.object(module, "BatchNormalization", KerasNorm))
        yield


def make_step(config, policy, devices=None, fused=True):
    """Return a function that takes one step, waits for it, and returns the loss.

    Args:
        config: PretrainConfig.
        policy: name of a Keras dtype policy.
        devices: tf.distribute strategy; None for the current one.
        fused: whether batch normalization may take its fused kernels.
    """
    devices = devices or tf.distribute.get_strategy()
    architecture = Architecture.of_pretraining(config, num_classes=10)
    with devices.scope():
        learner, _ = pretrain.make_learner(config, architecture, 50_000, devices, policy)
    for layer in learner.model._flatten_layers():
        if isinstance(layer, BatchNormalization) and not fused:
            layer.fused = False
    rng = np.random.default_rng(0)
    rows = config.batch_size // devices.num_replicas_in_sync
    size = (rows, 2, config.image_size, config.image_size, 3)
    batch = devices.experimental_distribute_values_from_function(
        lambda context: {
            "views": tf.constant(rng.integers(0, 256, size, np.uint8)),
            "label": tf.constant(rng.integers(0, CLASSES, rows), tf.int32),
            "id": tf.range(rows) + context.replica_id_in_sync_group * rows,
        }
    )
    step = tf.function(lambda batch: devices.run(learner.train_step, args=(batch,)), autograph=False)

    def run():
        loss = step(batch)["contrastive_loss"]  # the same on every replica
        copies = [float(copy) for copy in devices.experimental_local_results(loss)]
        return copies[0]

    return run


def time_in_turns(steps, rounds):
    """Return the seconds of every call by name: the steps take turns, so that a slow moment slows all of them.

    Args:
        steps: dict of name to a function without arguments.
        rounds: timed calls of each, after those that trace and warm up.
    """
    seconds = {name: [] for name in steps}
    for round_number in range(WARM_UP + rounds):
        for name, run in steps.items():
            start = time.perf_counter()
            run()
            if round_number >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r50_1x_sk0")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", default="bfloat16", help="of our network")
    arguments = parse(
        parser, argv, model="r18_0.05x_sk0", image_size=8, batch_size=4, rounds=2, precision="float32"
    )
    config = PretrainConfig(
        model=arguments.model, image_size=arguments.image_size, batch_size=arguments.batch_size
    )
    policy = strategy.resolve_precision(arguments.precision, tf.distribute.get_strategy())
    steps = {"ours": make_step(config, policy)}
    with keras_batch_normalization():
        steps["theirs"] = make_step(config, "float32")

    seconds = time_in_turns(steps, arguments.rounds)
    pairs = sorted(a / b for a, b in zip(*seconds.values()))
    a, b = (statistics.median(times) for times in seconds.values())
    print(
        f"{arguments.model}, {arguments.image_size} px, batch {arguments.batch_size}, {arguments.rounds} rounds"
    )
    print(f"ours, {arguments.precision}: median {a:.3f} s (min {min(seconds['ours']):.3f})")
    print(f"keras BatchNormalization, float32: median {b:.3f} s (min {min(seconds['theirs']):.3f})")
    print(f"ratio of medians {a / b:.2f} (paired ratios {pairs[0]:.2f} to {pairs[-1]:.2f})")


if __name__ == "__main__":
    main()
