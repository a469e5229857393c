"""Compare a network with itself after continued pretraining on unlabeled photos.

    python benchmarks/studies/continued_photos.py --dataset=folder:data/photos --labels=data/labels.csv \
        --all_labels=data/all_labels.csv --backbone_weights=data/imagenet_resnet50.weights.h5

For every seed, the recipe photos_continue pretrains the network on all photos without labels. Logistic regression on
its features, and on these with the square roots of the color histogram, then learns from the photos in --labels. The
first table is its cross-validated top-1 there, on five folds with near duplicates in one fold, which the seed draws;
the second its top-1 on the other photos of --all_labels, without near duplicates of labeled ones. The penalty is the
best in cross-validation. Other settings, such as another learning rate, are given in --flags with another folder in
--runs. If interrupted, rerun it to continue; finished runs are not repeated.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np

from benchmarks.command_line import make_parser, parse
from benchmarks.studies.cifar10_method import run_unless_finished, seeds_table
from benchmarks.studies.evaluation_resize import features, top1_of_penalties
from simclr_keras import load_run
from simclr_keras.evaluation.linear_probe import logistic_predict
from simclr_keras.evaluation.near_duplicates import group_images
from simclr_keras.evaluation.simple_features import thumbnails_of
from simclr_keras.formatting import counted
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.zoo import create_model
from simclr_keras.tools.images.open_images import open_images

COLORS, OF_NETWORKS = "color histogram", ("network", "network + roots")


def make_photo_parser(description, runs):
    """Return a parser of the flags that studies of a large network on photos share."""
    parser = make_parser(description)
    parser.add_argument("--dataset", help="folder:PATH of the photos")
    parser.add_argument("--labels", help="CSV of the labels to learn from")
    parser.add_argument("--all_labels", help="CSV of the labels of all photos, for evaluation")
    parser.add_argument("--model", default="keras:ResNet50", help="the large network [%(default)s]")
    parser.add_argument(
        "--backbone_weights", help="its weights, if it is a keras: one: imagenet or a file [random]"
    )
    parser.add_argument("--image_size", type=int, default=96, help="side in pixels [%(default)s]")
    parser.add_argument("--runs", default=runs, help="folder of the runs [%(default)s]")
    parser.add_argument("--seeds", default="0,1,2", help="[%(default)s]")
    return parser


def parse_photo_flags(parser, argv, **quick):
    """Return the parsed flags; with --quick, a tiny network on digits, and the defaults in `quick`."""
    tiny = {"dataset": "digits", "model": "r18_0.05x_sk0", "image_size": 8, "seeds": "0"}
    options = parse(parser, argv, **tiny, **quick)
    if not (options.quick or (options.dataset and options.labels and options.all_labels)):
        parser.error("give --dataset, --labels and --all_labels")
    return options


def read_flags(argv):
    parser = make_photo_parser(__doc__, runs="runs/continued_photos")
    parser.add_argument("--batch_size", type=int, default=32, help="[%(default)s]")
    parser.add_argument("--epochs", type=int, default=5, help="of the pretraining [%(default)s]")
    parser.add_argument("--flags", default="", help="further flags of train.py")
    quick = {"epochs": 1, "flags": "--train_steps=2 --warmup_epochs=0", "runs": "runs/continued_photos_quick"}
    return parse_photo_flags(parser, argv, **quick)


def command(options, seed):
    """Return the words of train.py."""
    words = ["--mode=pretrain", "--recipe=photos_continue", f"--dataset={options.dataset}"]
    words += [f"--model={options.model}", f"--image_size={options.image_size}", "--precision=float32"]
    weights = f"--backbone_weights={options.backbone_weights}"
    # Random weights have no statistics to keep.
    words += [weights] if options.backbone_weights else ["--freeze_batch_norm=false"]
    words += [f"--batch_size={options.batch_size}", f"--epochs={options.epochs}"]
    words += [f"--warmup_epochs={options.epochs / 10:g}", "--eval_every_epochs=0", "--eval_fraction=1e-12"]
    return [
        *words,
        *options.flags.split(),
        f"--seed={seed}",
        f"--model_dir={options.runs}/seed{seed}/continued",
    ]


class Photos:
    """Photos, and what a network reaches on them.

    Attributes:
        sources: list of Source. class_names: of all labels. labels: int [n], -1 if unknown.
        is_labeled, is_other: bool [n], whether a classifier may learn from the photo, or is evaluated on it.
    """

    def __init__(self, options):
        images = open_images(options.dataset, labels=options.all_labels)
        self.sources = images.rows(np.arange(150 if options.quick else len(images)))
        self.labels = np.concatenate([source.labels for source in self.sources])
        self.class_names = images.class_names
        self.groups, _ = group_images(np.concatenate([thumbnails_of(source) for source in self.sources]))
        if options.labels:
            few = open_images(options.dataset, labels=options.labels)
            names = {
                source.ids[i]
                for source in few.rows(np.arange(len(few)))
                for i in np.flatnonzero(source.labels >= 0)
            }
            ids = [name for source in self.sources for name in source.ids]
            self.is_labeled = np.isin(ids, list(names)) & (self.labels >= 0)
        else:
            self.is_labeled = np.arange(len(self.labels)) % 3 == 0
        near = np.isin(self.groups, self.groups[self.is_labeled])
        self.is_other = (self.labels >= 0) & ~near

    def evaluate(self, values, seed):
        """Return top-1 of features [n, d] in cross-validation and on the other photos, each in [0, 1]."""
        few, count = self.is_labeled, len(self.class_names)
        accuracies = top1_of_penalties(values[few], self.labels[few], self.groups[few], seed)
        best = max(accuracies, key=accuracies.get)
        predicted = logistic_predict(
            values[few], self.labels[few], values[self.is_other], num_classes=count, c=best
        ).predicted
        return accuracies[best], float(np.mean(predicted == self.labels[self.is_other]))


def first_network(options):
    """Return the network as it is."""
    arguments = {"dense_layers": ()} if is_backbone(options.model) else {}
    if options.backbone_weights:
        arguments["backbone_weights"] = options.backbone_weights
    return create_model(options.model, image_size=options.image_size, **arguments)


def main(argv=None):
    options = read_flags(argv)
    seeds = [int(word) for word in options.seeds.split(",")]
    for seed in seeds:
        run_unless_finished(f"{options.runs}/seed{seed}/continued", "continued", seed, command(options, seed))
    photos = Photos(options)
    tables = {"cross-validated": {}, "other photos": {}}
    before = features(first_network(options), photos.sources, options.image_size, antialias=False)
    for seed in seeds:
        model = load_run(f"{options.runs}/seed{seed}/continued")
        after = features(model, photos.sources, options.image_size, antialias=False)
        rows = {f"none | {COLORS}": before[COLORS]}
        rows |= {f"as it is | {name}": before[name] for name in OF_NETWORKS}
        rows |= {f"continued | {name}": after[name] for name in OF_NETWORKS}
        for row, values in rows.items():
            for table, share in zip(tables.values(), photos.evaluate(values, seed), strict=True):
                table.setdefault(row, {})[seed] = share
    epochs = counted(options.epochs, "epoch")
    print(f"\n{options.model}, {options.image_size} px, {epochs} {options.flags}".rstrip())
    print(f"{photos.is_labeled.sum()} labeled photos, {photos.is_other.sum()} other photos")
    for name, rows in tables.items():
        print("\n" + "\n".join(seeds_table(f"network | features, {name}", rows, seeds)))


if __name__ == "__main__":
    main()
