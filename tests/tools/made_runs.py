"""Run directories as the stages leave them, made by hand."""

import json

from simclr_keras.evaluation.metrics import accuracy_interval
from simclr_keras.tools.reporting.find_runs import find_runs
from simclr_keras.tools.reporting.rows import rows_of_runs

IMAGES = 1000
TOLD = (
    "mode",
    "model",
    "parameters",
    "dataset",
    "labels_used",
    "head_layer",
    "step",
    "epochs",
    "seed",
    "top1",
)


def begin(folder, mode, **config):
    """Makes a run directory as it is before the end of its run; returns its path."""
    folder.mkdir(parents=True)
    values = {
        "mode": mode,
        "model_dir": str(folder),
        "seed": 0,
        "dataset": "digits",
        "model": "r18_0.25x_sk0",
    }
    values |= {"epochs": 20, "extended_from": []} | config
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "metrics.csv").write_text("epoch,step\n1,10\n2,20\n3,30\n")
    return str(folder)


def finish(folder, mode, *, before=(), config=None, **result):
    """Makes a finished run; `before` are the paths of the runs it goes on from, which its result names."""
    config = {"seed": 0} | (config or {})
    path = begin(folder, mode, **config)
    values = {
        "mode": mode,
        "finished": True,
        "model": config.get("model", "r18_0.25x_sk0"),
        "dataset": "digits",
    }
    values |= {
        "parameters": 700_000,
        "evaluation_images": IMAGES,
        "epochs": 20,
        "step": 30,
        "seed": config["seed"],
    }
    if "top1" in result:
        values["top1_interval"] = accuracy_interval(round(result["top1"] * IMAGES), IMAGES)
    values["ancestors"] = [ancestor for run in before for ancestor in lineage(run)]
    (folder / "result.json").write_text(json.dumps(values | result))
    return path


def lineage(path):
    with open(f"{path}/result.json", encoding="utf-8") as file:
        result = json.load(file)
    told = {name: result[name] for name in TOLD if name in result}
    return [*result["ancestors"], {"run": path, **told, "checkpoint": "last"}]


def whole_method(root, seed=0, gain=0.0):
    """The runs of a whole method below root; returns {name: path}."""
    same = {"seed": seed}
    runs = {}
    runs["distilled"] = None  # a name that sorts before what it comes from
    runs["pretrain"] = finish(
        root / "p",
        "pretrain",
        config=same,
        knn_top1=0.7 + gain,
        knn_top5=0.95,
        probe_top1=0.72 + gain,
        probe_top5=0.96,
        raw_pixels_knn_top1=0.4,
        random_encoder_knn_top1=0.3,
        random_encoder_logistic_top1=0.5,
        pretrained_encoder_knn_top1=0.7 + gain,
        pretrained_encoder_logistic_top1=0.75 + gain,
    )
    labels = {"labels_used": 100, "top5": 0.9}
    runs["supervised"] = finish(root / "z_baseline", "supervised", config=same, top1=0.45 + gain, **labels)
    for layer, top1 in ((1, 0.66), (0, 0.64)):
        runs[f"layer {layer}"] = finish(
            root / f"b{layer}",
            "finetune",
            before=[runs["pretrain"]],
            config=same | {"init": runs["pretrain"], "head_layer": str(layer)},
            top1=top1 + gain,
            head_layer=layer,
            **labels,
        )
    runs["distilled"] = finish(
        root / "a",
        "distill",
        before=[runs["layer 1"]],
        config=same | {"teacher": runs["layer 1"], "alpha": 1.0, "distill_on": "all"},
        top1=0.69 + gain,
        **labels,
    )
    runs["small"] = finish(
        root / "0small",
        "distill",
        before=[runs["distilled"]],
        config=same | {"teacher": runs["distilled"], "model": "r18_0.125x_sk0", "alpha": 1.0},
        top1=0.65 + gain,
        **(labels | {"parameters": 180_000}),
    )
    return runs


def rows(paths):
    """Return the report's rows of the runs in and below directories."""
    return rows_of_runs(find_runs(paths))
