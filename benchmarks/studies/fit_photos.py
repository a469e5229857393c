"""What `simclr fit` reaches with few labels, over seeds: with the network in --init, and with nothing but the photos.

    python benchmarks/studies/fit_photos.py --dataset=folder:data/photos --labels=data/labels.csv \
        --all_labels=data/all_labels.csv --init=keras:ResNet50 --backbone_weights=data/imagenet_resnet50.weights.h5
    python benchmarks/studies/fit_photos.py --cifar10=data/cifar10.npz --flags=--image_size=32

The seed changes the test images, the folds and the random weights. The first table has the cross-validated top-1 of
every candidate; fit judges trainings on two of five folds, so compare regressions with regressions. The second table
has the top-1 of the exported model, and of a color histogram with the same labels, on other photos: those that only
--all_labels labels, without near duplicates of photos that fit learned the labels of. Fit pretrains on these photos,
and never sees their labels. --cifar10 takes 2,000 images of CIFAR-10, of which 20 of each class are labeled.

If interrupted, rerun it to continue.
"""

import csv
import json
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import numpy as np
import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from benchmarks.studies.cifar10_method import result_of, seeds_table
from simclr_keras.config.command_line import read
from simclr_keras.config.fit import FitConfig
from simclr_keras.data.sources.digits import load_digits
from simclr_keras.evaluation.linear_probe import logistic_predict
from simclr_keras.export.card import read_card
from simclr_keras.fit.candidates.linear import View, outputs_of
from simclr_keras.fit.judge import share_of
from simclr_keras.fit.photos import open_photos
from simclr_keras.fit.run import run

NOTHING = "nothing"
BATCH = 16


def read_flags(argv):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="folder:PATH of the photos")
    parser.add_argument("--labels", help="CSV of the labels that fit gets")
    parser.add_argument("--all_labels", help="CSV of the labels of all photos, in any order")
    parser.add_argument("--cifar10", help="npz file of CIFAR-10, in place of these three")
    parser.add_argument("--init", help="network of a second fit [none]")
    parser.add_argument("--backbone_weights", help="weights of --init")
    parser.add_argument("--starts", default="init,nothing", help="which fits [%(default)s]")
    parser.add_argument("--minutes", type=float, default=10, help="of every fit [%(default)s]")
    parser.add_argument("--flags", default="", help="further flags of fit")
    parser.add_argument("--runs", default="runs/fit_photos", help="folder of the fits [%(default)s]")
    parser.add_argument("--seeds", default="0,1,2", help="[%(default)s]")
    parser.add_argument("--table_only", action="store_true", help="run nothing; print the tables")
    quick = {"seeds": "0", "minutes": 0.01, "flags": "--model=r18_0.05x_sk0 --image_size=8"}
    options = parse(parser, argv, **quick, runs="runs/fit_photos_quick")
    if not (options.cifar10 or options.quick or (options.dataset and options.labels and options.all_labels)):
        parser.error("give --dataset, --labels and --all_labels, or --cifar10")
    return options


def write_photos(options):
    """Write the images of --cifar10, or digits, as photos and labels into the folder of the fits."""
    folder = pathlib.Path(options.runs, "data")
    options.dataset, options.labels, options.all_labels = (
        f"folder:{folder}/photos",
        f"{folder}/labels.csv",
        f"{folder}/all_labels.csv",
    )
    if os.path.exists(options.all_labels):
        return
    images, labels, names, count, labeled = arrays(options)
    rows = np.random.default_rng(0).permutation(len(images))[:count]
    seen = dict.fromkeys(names, 0)
    lines = {options.labels: ["filename,label"], options.all_labels: ["filename,label"]}
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        name = names[labels[row]]
        seen[name] += 1
        (folder / f"photos/{number:04}.png").write_bytes(tf.io.encode_png(images[row]).numpy())
        for file in (options.labels, options.all_labels)[seen[name] > labeled :]:
            lines[file].append(f"{number:04}.png,{name}")
    for file, text in lines.items():
        pathlib.Path(file).write_text("\n".join(text) + "\n")


def arrays(options):
    """Return images, labels, class names, how many images to take, and how many to label of each class."""
    if options.cifar10:
        with np.load(options.cifar10.removeprefix("npz:"), allow_pickle=False) as data:
            names = [f"class {label}" for label in range(10)]
            return data["x_train"], data["y_train"].reshape(-1), names, 2000, 20
    digits = load_digits().train
    return digits.images, digits.labels, digits.class_names, 150, 8


def fit(options, seed, start):
    """Fit, judge the export on the other photos, and write the figures."""
    folder = f"{options.runs}/seed{seed}-{start}"
    words = [f"--dataset={options.dataset}", f"--labels={options.labels}", f"--out={folder}/export"]
    words += [f"--seed={seed}", f"--minutes={options.minutes}", *options.flags.split()]
    if start != NOTHING:
        words += [f"--init={options.init}"]
        words += [f"--backbone_weights={options.backbone_weights}"] if options.backbone_weights else []
    if (result_of(folder) or {}).get("words") == words:
        return
    print(f"\n== seed {seed}\nsimclr fit {' '.join(words)}", flush=True)
    config = read(FitConfig, ["fit", *words])
    facts = run(config)
    pieces = pathlib.Path(read_card(config.out)["run"], "pieces")
    photos = open_photos(config, say=lambda line: None)
    result = {
        **facts,
        "words": words,
        "candidates": dict(cross_validated(pieces, photos)),
        "others": judge_others(options, config.out, pieces, photos),
    }
    pathlib.Path(folder, "result.json").write_text(json.dumps(result, indent=1))


def cross_validated(pieces, photos):
    """Yield name and accuracy of every candidate."""
    labels = photos.labels[photos.labeled]
    for path in sorted(pieces.glob("judged-*.npy"), key=os.path.getmtime):
        scores = np.load(path, allow_pickle=False)
        judged = ~np.isnan(scores[:, 0])
        yield path.stem.removeprefix("judged-"), share_of(scores[judged], labels[judged]).value


def judge_others(options, export, pieces, photos):
    """Return the accuracies of the export and of a color histogram on the other photos, and their count."""
    with open(options.all_labels, newline="") as file:
        classes = {line["filename"]: line["label"] for line in csv.DictReader(file)}
    truth = np.array(
        [photos.class_names.index(classes[name]) if name in classes else -1 for name in photos.ids]
    )
    is_near = np.isin(photos.groups, photos.groups[photos.labeled])
    rows = np.flatnonzero((truth >= 0) & (photos.labels < 0) & ~is_near)
    logits_of = tf.saved_model.load(export).signatures["logits_from_bytes"]
    files = [source.fetch(i) for source in photos.images.rows(rows) for i in range(len(source))]
    batches = [tf.stack(files[i : i + BATCH]) for i in range(0, len(files), BATCH)]
    logits = np.concatenate([logits_of(image_bytes=batch)["logits"] for batch in batches])

    (record,) = pieces.glob("piece-colors1-*.json")
    size, c = int(re.search(r"\d+$", record.stem).group()), json.loads(record.read_text())["c"]
    colors = View(size, colors=1.0).model(2)
    train, others = (outputs_of(colors, size, photos, of, "proj_head_0") for of in (photos.labeled, rows))
    count = len(photos.class_names)
    baseline = logistic_predict(train, photos.labels[photos.labeled], others, num_classes=count, c=c)
    scores = {"chosen": logits, "color histogram": baseline.scores}
    return {"count": len(rows)} | {name: share_of(of, truth[rows]).value for name, of in scores.items()}


def tables(options, starts, seeds):
    """Return both tables."""
    lines = []
    judged = {}
    for start in starts:
        results = {seed: result_of(f"{options.runs}/seed{seed}-{start}") for seed in seeds}
        results = {seed: result for seed, result in results.items() if result}
        names = dict.fromkeys(name for result in results.values() for name in result["candidates"])
        rows = {
            f"{start} | {name}": {
                seed: result["candidates"][name]
                for seed, result in results.items()
                if name in result["candidates"]
            }
            for name in names
        }
        lines += ["", *seeds_table("start | candidate, cross-validated", rows, seeds)]
        for seed, result in results.items():
            others = result["others"]
            lines.append(f"seed {seed}: {result['chosen']} was chosen; {others['count']} other photos")
            for name in ("chosen", "color histogram"):
                judged.setdefault(f"{start} | {name}", {})[seed] = others[name]
    return "\n".join([*lines, "", *seeds_table("start | model, on other photos", judged, seeds)])


def main(argv=None):
    options = read_flags(argv)
    seeds = [int(word) for word in options.seeds.split(",")]
    starts = [start for start in options.starts.split(",") if start == NOTHING or options.init]
    if options.cifar10 or (options.quick and not options.dataset):
        write_photos(options)
    if not options.table_only:
        for seed in seeds:
            for start in starts:
                fit(options, seed, start)
    print(tables(options, starts, seeds))


if __name__ == "__main__":
    main()
