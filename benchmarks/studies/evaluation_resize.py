"""What --eval_antialias gains: logistic regression on features and colors of photos, with and without it.

    python benchmarks/studies/evaluation_resize.py --dataset=folder:data/photos --labels=data/labels.csv \
        --backbone_weights=data/imagenet_resnet50.weights.h5
    python benchmarks/studies/evaluation_resize.py --quick

Each image is prepared once with --noeval_antialias and once with --eval_antialias. A line of the table is the top-1 of
logistic regression in cross-validation on five folds of the labeled images, with near duplicates (photos of one burst)
in one fold, for the seeds 0 to 2. Features are the color histogram, its square roots, those of the network, and these
with the roots, as in `simclr fit`; the penalty is the best of those that fit compares. The difference is in points.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from simclr_keras.data import pipeline
from simclr_keras.evaluation.cross_validation import cross_validate
from simclr_keras.evaluation.features import Extractor
from simclr_keras.evaluation.near_duplicates import group_images
from simclr_keras.evaluation.simple_features import color_histograms, thumbnails_of
from simclr_keras.fit.candidates.linear import COLOR_BINS, CS, FOLDS, ROOTS
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.zoo import create_model
from simclr_keras.tools.images.open_images import open_images

BATCH, SEEDS = 32, 3


def features(model, sources, size, antialias):
    """Return the features [n, d] of all images by their name in the table."""
    settings = {"image_size": size, "batch_size": BATCH, "antialias": antialias}
    extractor = Extractor(model, tf.distribute.get_strategy(), endpoints=("final_avg_pool",), **settings)
    network = np.concatenate([extractor(source)["final_avg_pool"] for source in sources])
    batches = (batch for source in sources for batch in pipeline.eval_batches(source, **settings))
    colors = np.concatenate([color_histograms(batch["image"].numpy(), COLOR_BINS) for batch in batches])
    roots = colors**ROOTS
    both = np.concatenate([network, roots], axis=1)
    return {"color histogram": colors, "its roots": roots, "network": network, "network + roots": both}


def top1(values, labels, groups, seed):
    """Return the best accuracy in percent that a penalty reaches in cross-validation."""
    return 100 * max(top1_of_penalties(values, labels, groups, seed).values())


def top1_of_penalties(values, labels, groups, seed):
    """Return {penalty: accuracy in [0, 1] in cross-validation}."""
    accuracies = {}
    for c in CS:
        trial = cross_validate(values, labels, groups, folds=FOLDS, c=c, seed=seed)
        accuracies[c] = np.mean((trial.predicted == trial.labels)[trial.labels >= 0])
    return accuracies


def measure(options):
    """Print the table."""
    images = open_images(options.dataset, labels=options.labels)
    sources = images.rows(np.arange(min(options.images or len(images), len(images))))
    labels = np.concatenate([source.labels for source in sources])
    groups, _ = group_images(np.concatenate([thumbnails_of(source) for source in sources]))
    labels, groups, rows = labels[labels >= 0], groups[labels >= 0], labels >= 0
    arguments = {}
    if is_backbone(options.model):
        arguments = {"backbone_weights": options.backbone_weights, "dense_layers": ()}
    print(f"{options.model}, {len(labels)} labeled images of {options.dataset}")
    print(f"| image size | features | not antialiased | antialiased | difference |\n{'|---' * 5}|")
    for size in map(int, options.sizes.split(",")):
        model = create_model(options.model, image_size=size, **arguments)
        before, after = (features(model, sources, size, antialias) for antialias in (False, True))
        for name in before:
            shares = np.array(
                [
                    [top1(of[name][rows], labels, groups, seed) for seed in range(SEEDS)]
                    for of in (before, after)
                ]
            )
            cells = [f"{share.mean():.1f} % ({share.min():.1f}-{share.max():.1f})" for share in shares]
            gaps = shares[1] - shares[0]
            gap = f"{gaps.mean():+.1f} ({gaps.min():+.1f} to {gaps.max():+.1f})"
            print(f"| {size} | {name} | {' | '.join(cells)} | {gap} |", flush=True)


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="labeled images")
    parser.add_argument("--labels", help="CSV of filename,label for a flat folder")
    parser.add_argument("--model", default="keras:ResNet50", help="[keras:ResNet50]")
    parser.add_argument(
        "--backbone_weights", help="weights of a keras: backbone: imagenet or a file [random]"
    )
    parser.add_argument("--sizes", default="96,160", help="sides in pixels [96,160]")
    parser.add_argument("--images", type=int, help="use the first so many images [all]")
    quick = {"dataset": "digits", "model": "r18_0.05x_sk0", "sizes": "8", "images": 150}
    options = parse(parser, argv, **quick)
    if not options.dataset:
        parser.error("--dataset is missing: give labeled photos, such as folder:photos")
    measure(options)


if __name__ == "__main__":
    main()
