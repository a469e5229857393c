"""Compare ways to the moving statistics of batch normalization after few training steps: which fit the final weights.

A network is trained on few labels, with the augmentation and the steps of a short fine-tuning. Training normalizes with
the statistics of each batch, so one training serves all rules below; only "frozen" is trained anew. Every rule gives
moving statistics, with which the training images and the evaluation images are classified.

    python benchmarks/studies/moving_statistics.py                              # random weights, digits
    python benchmarks/studies/moving_statistics.py --init=runs/pretrain         # pretrained on digits, with its network
    python benchmarks/studies/moving_statistics.py --model=keras:ResNet50 --image_size=96 --batch_size=32 \
        --steps=42 --seeds=1 --learning_rate=0.01 --backbone_weights=resnet50.weights.h5 \
        --dataset=folder:photos --labels=labels.csv --labels_per_class=0

Rules: momentum 0.99 and 0.9 (moving averages); debiased (momentum of at most 0.9, which begins as a plain mean of the
batches so far); recalibrated (exact mean and variance with the final weights, over augmented training images, or over
the training images as they are evaluated); frozen (--freeze_batch_norm: batch normalization keeps its statistics, scale
and offset).
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import keras
import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from simclr_keras import Classifier, WarmupCosine, create_model
from simclr_keras.data import pipeline
from simclr_keras.data.sources.load_dataset import open_dataset, split_dataset
from simclr_keras.data.views.crop import CropConfig
from simclr_keras.models.batch_norm import batch_norm_layers
from simclr_keras.models.freezing import freeze_batch_norm
from simclr_keras.runs.open_run import open_run

RECALIBRATION_STEPS = 20


def statistics_of(layers):
    return [(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in layers]


def assign(layers, statistics):
    for layer, (mean, variance) in zip(layers, statistics):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


class BatchStatistics:
    """Make the moving statistics those of the last batch alone, so that every rule can be computed from them."""

    def __init__(self, layers):
        self.layers, self.means = layers, {}
        self.start = statistics_of(layers)
        for layer in layers:
            layer.momentum = 0.0

    def follow(self, step):
        """Update all moving averages with the statistics of the batch of a step, from 0."""
        batch = statistics_of(self.layers)
        for name, momentum in (("0.99", 0.99), ("0.9", 0.9), ("debiased", min(0.9, step / (step + 1)))):
            old = self.means.get(name, self.start)
            self.means[name] = [
                tuple(momentum * o + (1 - momentum) * b for o, b in zip(*pair)) for pair in zip(old, batch)
            ]


def exact(layers, forward, batches):
    """Return exact means and variances over batches: that of the means is part of the variance."""
    sums = None
    for images in batches:
        forward(images)
        moments = [(mean, variance + mean**2) for mean, variance in statistics_of(layers)]
        sums = moments if sums is None else [(a + c, b + d) for (a, b), (c, d) in zip(sums, moments)]
    count = len(batches)
    return [(a / count, np.maximum(b / count - (a / count) ** 2, 0)) for a, b in sums]


def build(arguments, run, classes):
    if run is not None:
        architecture = run.architecture.with_classifier(classes, min(1, run.architecture.head_depth))
        model = architecture.build("float32")
        run.weights.load_into(model, parts=("encoder", "projection_head"))
        return model
    backbone = {"backbone_weights": arguments.backbone_weights} if arguments.backbone_weights else {}
    return create_model(
        arguments.model, num_classes=classes, proj_layers=0, image_size=arguments.image_size, **backbone
    )


def train(model, train_source, arguments, steps, seed, frozen):
    """Return (accuracy of the second half of the training steps, BatchStatistics or None if frozen)."""
    layers = batch_norm_layers(model)
    if frozen:
        freeze_batch_norm(model)
    learner = Classifier(model)
    schedule = WarmupCosine(arguments.learning_rate, 0, steps)
    learner.compile(keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True))
    averages = None if frozen else BatchStatistics(layers)
    step_function = tf.function(learner.train_step, autograph=False)
    for step, batch in enumerate(views(train_source, arguments, seed, 0, steps)):
        if step == steps // 2:
            learner.reset_metrics()
        step_function(batch)
        if averages:
            averages.follow(step)
    return float(learner.get_metrics_result()["accuracy"]), averages


def views(source, arguments, seed, first_step, steps):
    return pipeline.train_batches(
        source,
        image_size=arguments.image_size,
        batch_size=arguments.batch_size,
        seed=seed,
        first_step=first_step,
        num_steps=steps,
        crop=CropConfig(crop_min_area=0.3, flip_probability=0.0),
        windows=1,
    )


def evaluation_images(source, arguments):
    batches = pipeline.eval_batches(source, image_size=arguments.image_size, batch_size=arguments.batch_size)
    return [batch["image"] for batch in batches]


def accuracies(model, sources, arguments):
    predict = tf.function(lambda images: model(images, training=False)["logits"], reduce_retracing=True)
    hits = []
    for source in sources:
        logits = np.concatenate([predict(images) for images in evaluation_images(source, arguments)])
        hits.append(float(np.mean(np.argmax(logits, 1) == source.labels)))
    return hits


def measure(arguments, run, steps, seed):
    """Yield (rule, training accuracy in training, in inference mode, evaluation accuracy)."""
    dataset = open_dataset(arguments.dataset, labels=arguments.labels or None)
    splits = split_dataset(
        dataset, eval_fraction=0.3, labels_per_class=arguments.labels_per_class or None, seed=seed
    )
    train_source = splits.train.labeled()
    sources = (train_source, splits.evaluation)
    classes = len(splits.class_names)
    for frozen in (False, True):
        keras.utils.set_random_seed(seed)
        model = build(arguments, run, classes)
        training, averages = train(model, train_source, arguments, steps, seed, frozen)
        if frozen:
            yield "frozen", training, *accuracies(model, sources, arguments)
            return
        layers = batch_norm_layers(model)
        forward = tf.function(lambda images: model(images, training=True)["logits"], reduce_retracing=True)  # noqa: B023
        count = min(RECALIBRATION_STEPS, steps)
        augmented = [
            tf.cast(batch["views"][:, 0], tf.float32) / 255
            for batch in views(train_source, arguments, seed, steps, count)
        ]
        whole = [images for images in evaluation_images(train_source, arguments) if len(images) > 1]
        rules = {
            "momentum 0.99": averages.means["0.99"],
            "momentum 0.9": averages.means["0.9"],
            "debiased": averages.means["debiased"],
            "recalibrated": exact(layers, forward, augmented),
            "recalibrated, evaluation views": exact(layers, forward, whole),
        }
        for name, statistics in rules.items():
            assign(layers, statistics)
            yield name, training, *accuracies(model, sources, arguments)


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--labels", default="", help="CSV of a folder")
    parser.add_argument("--labels_per_class", type=int, default=5, help="0: all that there are")
    parser.add_argument("--init", default="", help="run directory of a pretraining on the dataset")
    parser.add_argument("--model", default="r18_0.25x_sk0")
    parser.add_argument("--backbone_weights", default="", help="of a keras: backbone")
    parser.add_argument("--image_size", type=int, default=16)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=0.05)
    parser.add_argument("--steps", default="5,10,20,60,150", help="of a training; several")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parse(
        parser,
        argv,
        model="r18_0.05x_sk0",
        image_size=8,
        batch_size=8,
        steps="2",
        seeds=1,
        labels_per_class=1,
    )
    run = open_run(arguments.init, flag="init") if arguments.init else None
    network = arguments.init or f"{arguments.model} {arguments.backbone_weights}".strip()
    print(f"{network}, {arguments.dataset}, {arguments.image_size} px, batch {arguments.batch_size}")
    print("| steps | statistics | training | same images, evaluated | evaluation images |")
    print("|---|---|---|---|---|")
    for steps in map(int, arguments.steps.split(",")):
        rows = [row for seed in range(arguments.seeds) for row in measure(arguments, run, steps, seed)]
        for name in dict(row[:2] for row in rows):
            means = np.mean([row[1:] for row in rows if row[0] == name], axis=0)
            print(f"| {steps} | {name} | " + " | ".join(f"{share:.1%}" for share in means) + " |", flush=True)


if __name__ == "__main__":
    main()
