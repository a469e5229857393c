"""Time one fine-tuning step: our training loop with Classifier, and keras.Model.fit of the same network.

Both start from the same weights and take the same prepared batches, in the same precision, with SGD of momentum 0.9.
So they must end with the same loss. They take turns in one process: fit is one long call, and its callback runs our
loop between its epochs. A machine that slows down slows both, and neither is timed while it starts.
Prints the ratio of the medians, with the spread of the paired ratios; below 1 ours is faster. If other programs run,
the seconds of the processor, over all threads, are the better measure.

    python benchmarks/finetune_step.py                      # r50_1x_sk0, 224 px, batch 8
    python benchmarks/finetune_step.py --model=r18_0.25x_sk0 --image_size=32 --batch_size=256
    python benchmarks/finetune_step.py --keras_norm         # fit with the BatchNormalization of Keras
"""

import contextlib
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import keras
import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from benchmarks.pretrain_step import keras_batch_normalization
from simclr_keras.models.zoo import create_model
from simclr_keras.objectives.classification import Classifier
from simclr_keras.training.engine import strategy as strategies
from simclr_keras.training.engine.loop import make_step_function
from simclr_keras.training.engine.signals import Stop

CLASSES = 10
WARM_UP = 2  # rounds that trace and warm up
BATCHES = 4  # different ones, over and over


def make_network(arguments, policy):
    keras.utils.set_random_seed(0)
    return create_model(
        arguments.model,
        num_classes=CLASSES,
        proj_layers=0,
        image_size=arguments.image_size,
        dtype=policy,
    )


def make_batches(arguments):
    size = (BATCHES, arguments.batch_size, 1, arguments.image_size, arguments.image_size, 3)
    random = np.random.default_rng(0)
    views = random.integers(0, 256, size, np.uint8)
    labels = random.integers(0, CLASSES, size[:2], np.int32)
    return tf.data.Dataset.from_tensor_slices({"views": views, "label": labels}).repeat().prefetch(2)


def make_optimizer():
    return keras.optimizers.SGD(0.01, momentum=0.9)


def make_ours(arguments, policy, batches):
    """Return a function that takes the steps of a round and returns the loss."""
    learner = Classifier(make_network(arguments, policy))
    learner.compile(make_optimizer())
    take_steps = make_step_function(learner, tf.distribute.get_strategy(), Stop())
    iterator = iter(batches)

    def run():
        learner.reset_metrics()
        take_steps(iterator, arguments.steps)
        return float(learner.get_metrics_result()["loss"])

    return run


def make_plain(arguments, policy):
    """Return a plain keras.Model, as its users write it."""
    images = keras.Input((arguments.image_size, arguments.image_size, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(images)
    with keras_batch_normalization() if arguments.keras_norm else contextlib.nullcontext():
        network = make_network(arguments, policy)
    model = keras.Model(images, network(scaled)["logits"])
    model.compile(
        make_optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile={"auto": "auto", "yes": True, "no": False}[arguments.fit_jit_compile],
    )
    return model


class TakeTurns(keras.callbacks.Callback):
    """Time the epochs of fit and, before each, a round of ours, by the clock and by the processor."""

    def __init__(self, ours):
        super().__init__()
        self.ours = ours
        self.times = {"ours": [], "fit": []}
        self.losses = {"ours": [], "fit": []}

    def on_epoch_begin(self, epoch, logs=None):
        self.started = now()
        self._ended("ours", self.ours())
        self.started = now()

    def on_epoch_end(self, epoch, logs=None):
        self._ended("fit", logs["loss"])

    def _ended(self, name, loss):
        self.times[name].append(now() - self.started)
        self.losses[name].append(loss)


def now():
    return np.array([time.perf_counter(), time.process_time()])


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r50_1x_sk0")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", default="float32", help="of both: float32, bfloat16")
    parser.add_argument(
        "--keras_norm", action="store_true", help="use the BatchNormalization of Keras in the network of fit"
    )
    parser.add_argument(
        "--fit_jit_compile", default="no", choices=("no", "yes", "auto"), help="on CPUs XLA is slower"
    )
    arguments = parse(parser, argv, model="r18_0.05x_sk0", image_size=8, batch_size=4, steps=1, rounds=2)
    policy = strategies.resolve_precision(arguments.precision, tf.distribute.get_strategy())
    batches = make_batches(arguments)
    turns = TakeTurns(make_ours(arguments, policy, batches))
    make_plain(arguments, policy).fit(
        batches.map(lambda batch: (batch["views"][:, 0], batch["label"])),
        epochs=arguments.rounds + WARM_UP,
        steps_per_epoch=arguments.steps,
        callbacks=[turns],
        verbose=0,
    )
    print(
        f"{arguments.model}, {arguments.image_size} px, batch {arguments.batch_size}, {arguments.precision}, "
        f"{arguments.rounds} rounds of {arguments.steps} steps"
    )
    for kind, unit in enumerate(("s", "s of the processor")):
        ours, fit = (
            [times[kind] / arguments.steps for times in turns.times[name][WARM_UP:]]
            for name in ("ours", "fit")
        )
        a, b = statistics.median(ours), statistics.median(fit)
        pairs = sorted(x / y for x, y in zip(ours, fit))
        print(
            f"a step of ours {a:.4f} {unit} (min {min(ours):.4f}), of fit {b:.4f} (min {min(fit):.4f}): "
            f"ratio of medians {a / b:.3f} (paired ratios {pairs[0]:.3f} to {pairs[-1]:.3f})"
        )
    print(f"last loss {turns.losses['ours'][-1]:.5f} and {turns.losses['fit'][-1]:.5f}")


if __name__ == "__main__":
    main()
