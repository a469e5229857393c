"""What --eval_antialias gains: logistic regression on features of photos, with and without it.

    python benchmarks/evaluation_resize.py --dataset=folder:data/photos --labels=data/all_labels.csv \
        --backbone_weights=data/imagenet_resnet50.weights.h5
    python benchmarks/evaluation_resize.py --quick

Each image is prepared once with --noeval_antialias and once with --eval_antialias. A line of the table is the top-1 of
logistic regression on features of the same network, over the same splits: five folds with the seeds 0 to 2, and ten
draws of --labels_per_class labels per class that leave all other images for evaluation. The last columns are the
difference in points, the mean over the splits and its range, and the images per second of the preparation alone.
Photos of one burst are on both sides of a split, which favors both columns alike.
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf
from sklearn.model_selection import StratifiedKFold

from benchmarks.command_line import make_parser, parse
from simclr_keras.data import pipeline
from simclr_keras.evaluation.features import Extractor
from simclr_keras.evaluation.linear_probe import logistic_predict
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.zoo import create_model
from simclr_keras.tools.images.open_images import open_images
from simclr_keras.training.engine.strategy import resolve_precision

BATCH = 32
C = 0.01  # of the regression on standardized features
FOLDS, FOLD_SEEDS, DRAWS = 5, 3, 10


def features(model, sources, size, antialias):
    """Return (features [n, d], labels [n]) of the labeled images."""
    extractor = Extractor(
        model,
        tf.distribute.get_strategy(),
        image_size=size,
        batch_size=BATCH,
        endpoints=("final_avg_pool",),
        antialias=antialias,
    )
    outputs = [extractor(source) for source in sources]
    values, labels = (np.concatenate([out[name] for out in outputs]) for name in ("final_avg_pool", "label"))
    return values[labels >= 0], labels[labels >= 0]


def images_per_second(sources, size, antialias):
    """Return the speed at which images are decoded and resized, without a network."""
    started, count = time.perf_counter(), 0
    for source in sources:
        for batch in pipeline.eval_batches(source, image_size=size, batch_size=BATCH, antialias=antialias):
            count += len(batch["id"])
    return count / (time.perf_counter() - started)


def fold_splits(labels, seed):
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))


def few_labels(labels, per_class, seed):
    """Return [(rows to train on, all other rows)]."""
    random = np.random.default_rng(seed)
    train = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    train = np.sort(np.concatenate(train))
    return [(train, np.setdiff1d(np.arange(len(labels)), train))]


def top1(values, labels, splits):
    """Return the share of evaluation images with the right class, over the evaluation sides of the splits."""
    right = [
        logistic_predict(
            values[train], labels[train], values[test], num_classes=labels.max() + 1, c=C
        ).predicted
        == labels[test]
        for train, test in splits
    ]
    return np.concatenate(right).mean()


def measure(options):
    """Print the table."""
    images = open_images(options.dataset, labels=options.labels)
    sources = images.rows(np.arange(min(options.images or len(images), len(images))))
    arguments, precision = {}, resolve_precision("auto", tf.distribute.get_strategy())
    if is_backbone(options.model):
        arguments = {"backbone_weights": options.backbone_weights, "dense_layers": ()}
    print(f"{options.model} on {sum(map(len, sources))} images of {options.dataset}")
    header = "| image size | labels | top-1, not antialiased | antialiased | difference | images/s |"
    print(f"{header}\n{'|---' * 6}|")
    for size in map(int, options.sizes.split(",")):
        model = create_model(options.model, image_size=size, dtype=precision, **arguments)
        (before, labels), (after, _) = (
            features(model, sources, size, antialias) for antialias in (False, True)
        )
        speeds = [images_per_second(sources, size, antialias) for antialias in (False, True)]
        folds = [fold_splits(labels, seed) for seed in range(FOLD_SEEDS)]
        draws = [few_labels(labels, options.labels_per_class, seed) for seed in range(DRAWS)]
        for words, splits in ((f"{FOLDS} folds", folds), (f"{options.labels_per_class} per class", draws)):
            shares = np.array(
                [[top1(values, labels, split) for split in splits] for values in (before, after)]
            )
            gaps = 100 * (shares[1] - shares[0])
            print(
                f"| {size} | {words} | {shares[0].mean():.1%} | {shares[1].mean():.1%} | {gaps.mean():+.1f} "
                f"({gaps.min():+.1f} to {gaps.max():+.1f}) | {speeds[0]:.0f}, {speeds[1]:.0f} |",
                flush=True,
            )


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="labeled images")
    parser.add_argument("--labels", help="CSV of filename,label for a flat folder")
    parser.add_argument("--model", default="keras:ResNet50", help="[keras:ResNet50]")
    parser.add_argument(
        "--backbone_weights", help="weights of a keras: backbone: imagenet or a file [random]"
    )
    parser.add_argument("--sizes", default="96,160", help="sides in pixels [96,160]")
    parser.add_argument("--labels_per_class", type=int, default=14, help="of the ten draws [14]")
    parser.add_argument("--images", type=int, help="use the first so many images [all]")
    quick = {"dataset": "digits", "model": "r18_0.05x_sk0", "sizes": "8", "images": 150}
    options = parse(parser, argv, **quick, labels_per_class=4)
    if not options.dataset:
        parser.error("--dataset is missing: give labeled photos, such as folder:photos")
    measure(options)


if __name__ == "__main__":
    main()
