"""Compare pretraining that continues an encoder of other classes with pretraining from random weights, on CIFAR-10.

    python benchmarks/studies/continued_pretraining.py --dataset=npz:data/cifar10.npz

For every seed, pretrains the recipe cifar10_small for 10 epochs on classes 0 to 4; then for 5 epochs on classes 5 to 9,
once with --init of the first run and once from random weights. Prints kNN top-1 and a linear evaluation
(--protocol=fast) on classes 5 to 9 of all three encoders. If interrupted, rerun it to continue; finished runs are not
repeated. Without --dataset the images come from TensorFlow Datasets.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np

from benchmarks.command_line import make_parser, parse
from benchmarks.studies.cifar10_method import result_of, run_unless_finished, seeds_table

SOURCE, CONTINUED, FRESH = "classes 0-4", "continued", "random weights"
FOLDERS = {SOURCE: "source", CONTINUED: "continued", FRESH: "fresh"}
MEASURES = {"kNN": ["--mode=knn"], "linear": ["--mode=linear_eval", "--protocol=fast"]}
QUICK_FLAGS = ["--model=r18_0.05x_sk0", "--image_size=8", "--train_steps=2", "--warmup_epochs=0"]


def read_flags(argv):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="npz:PATH of CIFAR-10; default: cifar10 of TensorFlow Datasets")
    parser.add_argument(
        "--runs", default="runs/continued_pretraining", help="folder of the runs [%(default)s]"
    )
    parser.add_argument("--seeds", default="0,1,2", help="[%(default)s]")
    parser.add_argument("--source_epochs", type=int, default=10, help="[%(default)s]")
    parser.add_argument("--epochs", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--batch_size", type=int, default=256, help="[%(default)s]")
    parser.add_argument("--flags", default="", help="further flags of train.py for the continued runs")
    parser.add_argument("--table_only", action="store_true", help="run nothing; print the table")
    small = {"seeds": "0", "source_epochs": 1, "epochs": 1, "batch_size": 8}
    return parse(parser, argv, **small, runs="runs/continued_pretraining_quick")


def read_arrays(options):
    """Return the arrays of the whole dataset, as in an npz: file."""
    if options.quick:
        from simclr_keras.data.sources.digits import load_digits

        data = load_digits().train
        halves = (slice(0, 200), slice(200, 260))
        (train, test), (y_train, y_test) = (
            [array[half] for half in halves] for array in (data.images, data.labels)
        )
        return {"x_train": train, "y_train": y_train, "x_test": test, "y_test": y_test}
    if options.dataset:
        with np.load(options.dataset.removeprefix("npz:"), allow_pickle=False) as file:
            return {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    import tensorflow_datasets as tfds

    data = tfds.as_numpy(tfds.load("cifar10", batch_size=-1))
    return {
        f"{short}_{split}": data[split][name]
        for split in ("train", "test")
        for short, name in (("x", "image"), ("y", "label"))
    }


def half(options, classes):
    """Return the path of the file of classes 0-4 or 5-9."""
    return f"{options.runs}/classes_{classes}.npz"


def write_halves(options):
    """Write both files, unless they are there."""
    paths = {classes: half(options, classes) for classes in ("0-4", "5-9")}
    if all(map(os.path.exists, paths.values())):
        return
    os.makedirs(options.runs, exist_ok=True)
    arrays = read_arrays(options)
    for classes, path in paths.items():
        values = {}
        for split in ("train", "test"):
            labels = arrays[f"y_{split}"].reshape(-1)
            rows = (labels // 5) == (classes == "5-9")
            values |= {f"x_{split}": arrays[f"x_{split}"][rows], f"y_{split}": labels[rows] % 5}
        np.savez(path.replace(".npz", ".partial.npz"), **values)
        os.replace(path.replace(".npz", ".partial.npz"), path)


def commands(options, seed):
    """Yield (folder, name, words of train.py) of every run of a seed, in order."""
    folder = f"{options.runs}/seed{seed}"
    for row, name in FOLDERS.items():
        epochs = options.source_epochs if row == SOURCE else options.epochs
        words = ["--mode=pretrain", "--recipe=cifar10_small", f"--batch_size={options.batch_size}"]
        words += [f"--epochs={epochs}", f"--eval_every_epochs={epochs}"]  # the encoders are judged below
        words += [f"--dataset=npz:{half(options, '0-4' if row == SOURCE else '5-9')}"]
        words += QUICK_FLAGS if options.quick else ["--image_size=32"]
        if row == CONTINUED:
            words += [f"--init={folder}/{FOLDERS[SOURCE]}", *options.flags.split()]
        yield f"{folder}/{name}", row, [*words, f"--seed={seed}", f"--model_dir={folder}/{name}"]
        for measure, mode in MEASURES.items():
            out, dataset = f"{folder}/{name}-{measure}", f"--dataset=npz:{half(options, '5-9')}"
            words = [*mode, f"--init={folder}/{name}", dataset, f"--model_dir={out}"]
            yield out, f"{row}, {measure}", words


def table(options, seeds):
    title = f"top-1 in percent on classes 5-9: {options.epochs} epochs on them, after {options.source_epochs} on 0-4"
    top1 = {}
    for row, name in FOLDERS.items():
        for measure in MEASURES:
            results = {seed: result_of(f"{options.runs}/seed{seed}/{name}-{measure}") for seed in seeds}
            shares = {seed: result["top1"] for seed, result in results.items() if result}
            top1[f"{row} | {measure}"] = shares
    return "\n".join([title, "", *seeds_table("encoder | measure", top1, seeds)])


def main(argv=None):
    options = read_flags(argv)
    seeds = [int(word) for word in options.seeds.split(",")]
    if not options.table_only:
        write_halves(options)
        for seed in seeds:
            for folder, name, words in commands(options, seed):
                run_unless_finished(folder, name, seed, words)
    print(f"\n{table(options, seeds)}")


if __name__ == "__main__":
    main()
