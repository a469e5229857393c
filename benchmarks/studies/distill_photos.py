"""Compare a small network distilled from a large one on photos, labeled or not, with the same network on labels alone.

    python benchmarks/studies/distill_photos.py --dataset=folder:data/photos --labels=data/labels.csv \
        --all_labels=data/all_labels.csv --backbone_weights=data/imagenet_resnet50.weights.h5

For every seed: trains --model as a whole on the photos in --labels, with the settings of `simclr fit`; distills it
into the network of the recipe photos_distill; and trains that network with the recipe photos_supervised, on the labels
alone. Prints top-1 on the other photos of --all_labels, without near duplicates of labeled ones. Distillation sees
these photos without labels. If interrupted, rerun it to continue; finished runs are not repeated.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

from benchmarks.studies.cifar10_method import run_unless_finished, seeds_table
from benchmarks.studies.continued_photos import Photos, make_photo_parser, parse_photo_flags
from simclr_keras.config.recipes.photos import PHOTOS_DISTILL
from simclr_keras.evaluation.features import Extractor
from simclr_keras.runs.open_run import open_run

TEACHER, STUDENT, ALONE = "teacher", "distilled", "labels alone"
QUICK_FLAGS = ["--train_steps=2", "--warmup_epochs=0"]


def read_flags(argv):
    parser = make_photo_parser(__doc__, runs="runs/distill_photos")
    parser.add_argument("--student", default=PHOTOS_DISTILL["model"], help="[%(default)s]")
    parser.add_argument("--epochs", type=int, default=PHOTOS_DISTILL["epochs"], help="[%(default)s]")
    return parse_photo_flags(parser, argv, student="r18_0.05x_sk0", runs="runs/distill_photos_quick")


def commands(options, seed):
    """Yield (folder, name, words of train.py) of every run of a seed, in order."""
    data = [f"--dataset={options.dataset}", "--eval_fraction=1e-12", "--eval_every_epochs=0"]
    data += [f"--labels={options.labels}"] if options.labels else []
    supervised = ["--mode=supervised", "--recipe=photos_supervised", f"--image_size={options.image_size}"]
    weights = [f"--backbone_weights={options.backbone_weights}"] if options.backbone_weights else []
    runs = {
        TEACHER: [
            *supervised,
            f"--model={options.model}",
            *weights,
            "--batch_size=32",
            "--epochs=12",
            "--warmup_epochs=1.2",
            "--learning_rate=0.04",
            "--weight_decay=0",
        ],
        STUDENT: [
            "--mode=distill",
            "--recipe=photos_distill",
            f"--teacher={folder_of(options, seed, TEACHER)}",
            f"--model={options.student}",
            f"--epochs={options.epochs}",
        ],
        ALONE: [*supervised, f"--model={options.student}", f"--epochs={options.epochs}"],
    }
    for name, words in runs.items():
        folder = folder_of(options, seed, name)
        more = [*data, "--precision=float32", *(QUICK_FLAGS if options.quick else [])]
        yield folder, name, [*words, *more, f"--seed={seed}", f"--model_dir={folder}"]


def folder_of(options, seed, name):
    return f"{options.runs}/seed{seed}/{name.replace(' ', '_')}"


def top1(folder, photos, size):
    """Return the share in [0, 1] of other photos that the network of a run puts into their class."""
    run = open_run(folder)
    extractor = Extractor(
        run.model(), tf.distribute.get_strategy(), endpoints=("logits",), image_size=size, batch_size=32
    )
    logits = np.concatenate([extractor(source)["logits"] for source in photos.sources])
    names = np.array(photos.class_names)
    hits = np.array(run.class_names)[logits.argmax(axis=1)] == names[photos.labels]
    return float(hits[photos.is_other].mean())


def main(argv=None):
    options = read_flags(argv)
    seeds = [int(word) for word in options.seeds.split(",")]
    for seed in seeds:
        for folder, name, words in commands(options, seed):
            run_unless_finished(folder, name, seed, words)
    photos = Photos(options)
    shares = {
        name: {seed: top1(folder_of(options, seed, name), photos, options.image_size) for seed in seeds}
        for name in (TEACHER, STUDENT, ALONE)
    }
    rows = {
        f"{name} | {options.model if name == TEACHER else options.student}": of for name, of in shares.items()
    }
    print(
        f"\n{options.image_size} px, {photos.is_labeled.sum()} labeled photos, {photos.is_other.sum()} others\n"
    )
    print("\n".join(seeds_table("trained | network, top-1 on other photos", rows, seeds)))


if __name__ == "__main__":
    main()
