"""Which similarity finds photos of one scene: pairs above it, of one class and of two classes.

    python benchmarks/studies/near_duplicates.py --dataset=folder:data/photos --labels=data/all_labels.csv
    python benchmarks/studies/near_duplicates.py --quick

Give labeled photos with bursts, which show one class each. Then pairs of two classes are found in error. If unrelated
photos of one class were no more alike than those of two, as many as in the column "by chance" would be of one class.
THRESHOLD in simclr_keras/evaluation/near_duplicates.py is the least value with hardly any pairs of two classes.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np

from benchmarks.command_line import make_parser, parse
from simclr_keras.evaluation.near_duplicates import near_duplicate_groups, thumbnail_features
from simclr_keras.evaluation.simple_features import thumbnails_of
from simclr_keras.tools.images.open_images import open_images

THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


def measure(options):
    """Print the table."""
    images = open_images(options.dataset, labels=options.labels)
    sources = images.rows(np.arange(min(options.images or len(images), len(images))))
    labels = np.concatenate([source.labels for source in sources])
    features = thumbnail_features(np.concatenate([thumbnails_of(source) for source in sources]))
    features, labels = features[labels >= 0], labels[labels >= 0]
    first, second = np.triu_indices(len(labels), 1)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    is_one, similar = labels[first] == labels[second], (unit @ unit.T)[first, second]
    print(f"{len(labels)} labeled photos of {options.dataset}: {is_one.sum():,} pairs of one class, ", end="")
    print(f"{np.sum(~is_one):,} of two")
    print("| similarity above | of one class | by chance | of two classes | groups | largest |")
    print("|---" * 6 + "|")
    for threshold in THRESHOLDS:
        of_one, of_two = (np.sum(similar[rows] > threshold) for rows in (is_one, ~is_one))
        sizes = np.bincount(near_duplicate_groups(features, threshold))
        chance = of_two * is_one.sum() / np.sum(~is_one)
        print(f"| {threshold} | {of_one} | {chance:.1f} | {of_two} | {np.sum(sizes > 1)} | {sizes.max()} |")


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="labeled images")
    parser.add_argument("--labels", help="CSV of filename,label for a flat folder")
    parser.add_argument("--images", type=int, help="use the first so many images [all]")
    options = parse(parser, argv, dataset="digits", images=100)
    if not options.dataset:
        parser.error("--dataset is missing: give labeled photos, such as folder:photos")
    measure(options)


if __name__ == "__main__":
    main()
