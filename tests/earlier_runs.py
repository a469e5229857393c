"""Run directories made by hand, finished and otherwise, for commands that go on from them; training takes too long."""

import dataclasses
import json
import shutil

import keras

from simclr_keras.config.modes import MODES
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.checkpoints import Checkpoints, state_of_model
from simclr_keras.runs.run_dir import RunDir

MODEL, SIZE = "r18_0.125x_sk0", 8
DIGITS = tuple("0123456789")


def make_runs(folder):
    """Fills a folder with runs: good ones of several stages, and copies of them that are damaged each in its way."""
    pretrained = pretraining("digits", len(DIGITS))
    make_run(folder / "pretrained", pretrained, DIGITS)
    shallow = pretraining("digits", len(DIGITS), proj_mode="none")
    make_run(folder / "headless", shallow, DIGITS)
    make_run(folder / "unlabeled", pretraining("digits", None), None)
    finetuned = finetuning("digits", 10)
    make_run(folder / "finetuned", finetuned, DIGITS)
    make_run(folder / "of_three_classes", finetuning("npz:three.npz", 3), ("ant", "bee", "cat"))
    make_run(folder / "renamed", finetuned, tuple(f"digit {name}" for name in DIGITS))
    measured = MODES["knn"](dataset="digits", init="runs/pretrained", model=MODEL, image_size=SIZE)
    make_run(folder / "measured", (measured, None), DIGITS)
    backbone = MODES["supervised"](
        dataset="digits", model="keras:MobileNet", image_size=32, epochs=1, warmup_epochs=0.0
    )
    architecture = Architecture.of_classifier(backbone, 10)
    make_run(folder / "backbone", (backbone, architecture), DIGITS, checkpoint=finetuned[1])

    make_run(folder / "unfinished", pretrained, DIGITS, finished=False)
    make_run(folder / "extended", pretrained, DIGITS, epochs=9)
    make_run(folder / "without_checkpoint", pretrained, DIGITS, checkpoint=None)
    for name, file, text in (
        ("cut_config", "config.json", '{"mode": "pretr'),
        ("odd_config", "config.json", {"batch_size": "many"}),
        ("odd_mode", "config.json", {"mode": "pretend"}),
        ("cut_split", "split.json", "{"),
        ("odd_split", "split.json", {"held_out": 3}),
        ("cut_result", "result.json", "[]"),
        ("odd_result", "result.json", {"ancestors": "none"}),
        ("cut_model", "model.json", ""),
        ("odd_model", "model.json", {"proj_layers": "3"}),
        ("unknown_model", "model.json", {"name": "r51_1x_sk0"}),
        ("unknown_head", "model.json", {"proj_mode": "cubic"}),
        ("negative_model", "model.json", {"proj_dim": -1}),
        ("other_classes", "model.json", {"num_classes": 11}),
    ):
        shutil.copytree(folder / "pretrained", folder / name)
        path = folder / name / file
        path.write_text(
            text if isinstance(text, str) else json.dumps({**json.loads(path.read_text()), **text})
        )
    shutil.copytree(folder / "pretrained", folder / "cut_checkpoint")
    for path in (folder / "cut_checkpoint" / "checkpoints").glob("*.data-*"):
        path.write_bytes(path.read_bytes()[:100])
    shutil.copytree(folder / "pretrained", folder / "run[1]")
    (folder / "file").write_text("mine")
    (folder / "empty").mkdir()


def pretraining(dataset, num_classes, **settings):
    """(config, architecture) of a pretraining run."""
    config = MODES["pretrain"](
        dataset=dataset, model=MODEL, image_size=SIZE, batch_size=32, epochs=1, warmup_epochs=0.0, **settings
    )
    return config, Architecture.of_pretraining(config, num_classes)


def finetuning(dataset, num_classes):
    """(config, architecture) of a fine-tuning run from layer 1."""
    config = MODES["finetune"](dataset=dataset, init="runs/pretrained", head_layer=1, epochs=1)
    _, architecture = pretraining(dataset, num_classes)
    return config, architecture.with_classifier(num_classes, 1)


def make_run(path, stage, class_names, *, finished=True, epochs=None, checkpoint="its own"):
    """Writes a run directory.

    Args:
        path: of the directory. stage: (config, architecture or None where it trained nothing). class_names: or None.
        finished: whether it has a result. epochs: that its settings ask for by now.
        checkpoint: the architecture whose weights it holds, None for none.
    """
    config, architecture = stage
    path.mkdir()
    values = {"mode": config.NAME, **dataclasses.asdict(config), "extended_from": []}
    split = {"class_names": class_names, "training_images": 9}
    result = {
        "mode": config.NAME,
        "finished": True,
        "epochs": getattr(config, "epochs", None),
        "ancestors": [],
    }
    files = {"config.json": values | ({"epochs": epochs} if epochs else {}), "split.json": split}
    files |= {"result.json": result} if finished else {}
    files |= {"model.json": architecture.to_json()} if architecture else {}
    for name, held in files.items():
        (path / name).write_text(json.dumps(held))
    weights = architecture if checkpoint == "its own" else checkpoint
    if weights is not None:
        keras.utils.set_random_seed(0)
        state = state_of_model(weights.build())
        (path / "checkpoints").mkdir()
        Checkpoints(RunDir(path).checkpoints, state, keep=1).save(1)
