"""Measure how sure a fine-tuned run is of the images whose labels it was trained on.

    python benchmarks/studies/teacher_sharpness.py runs/cifar10_method/seed0/finetune-1pct-layer1

Prints two lines, one for the labeled training images and one for as many others: the accuracy, and the mean of the
greatest probability at temperatures 0.1 and 1. A teacher that is sure of its labeled images gives a student little
beyond their labels. The dataset of the run must be an archive (npz:) or the digits. --quick trains a tiny run first.
"""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

import train
from benchmarks.command_line import make_parser, parse
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import open_run

BATCH = 250
QUICK_RUN = [
    "--mode=supervised",
    "--dataset=digits",
    "--labels_per_class=2",
    "--model=r18_0.05x_sk0",
    "--image_size=8",
    "--batch_size=8",
    "--epochs=1",
    "--warmup_epochs=0",
]


def measure(path):
    """Print accuracy and confidence of a run on its labeled images and on others."""
    run = open_run(path)
    config, model = run.config, run.model()
    images = load_dataset(config.dataset, eval_fraction=config.eval_fraction).train
    visible = load_dataset(
        config.dataset,
        eval_fraction=config.eval_fraction,
        label_fraction=config.label_fraction,
        labels_per_class=config.labels_per_class,
        seed=config.seed if config.label_seed is None else config.label_seed,
    ).train.labels
    labeled = np.flatnonzero(visible >= 0)
    others = np.flatnonzero(visible < 0)[: len(labeled)]
    if not len(others):
        sys.exit(f"{path} was trained on all labels; give a run with --label_fraction or --labels_per_class")
    for name, part in (("labeled", images.subset(labeled)), ("others", images.subset(others))):
        views = evaluation_view(part.images, run.image_size, antialias=run.eval_antialias)
        logits = tf.concat(
            [model(views[i : i + BATCH], training=False)["logits"] for i in range(0, len(part), BATCH)], 0
        )
        accuracy = np.mean(np.argmax(logits, 1) == part.labels)
        greatest = {t: float(tf.reduce_mean(tf.reduce_max(tf.nn.softmax(logits / t), 1))) for t in (0.1, 1.0)}
        means = ", ".join(f"{value:.2f} at temperature {t:g}" for t, value in greatest.items())
        print(f"{name:9} {len(part)} images: accuracy {accuracy:.1%}; greatest probability {means}")


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("run", nargs="?", help="run directory with a classifier")
    arguments = parse(parser, argv)
    if arguments.run:
        measure(arguments.run)
    elif arguments.quick:
        with tempfile.TemporaryDirectory() as folder:
            train.main(["train.py", *QUICK_RUN, f"--model_dir={folder}"])
            measure(folder)
    else:
        parser.error("RUN is missing: give the run directory of a fine-tuned network")


if __name__ == "__main__":
    main()
