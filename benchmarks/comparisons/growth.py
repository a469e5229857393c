"""How ours grows: a start with the files of a folder, a step with the batch, a checkpoint with the network."""

import itertools
import os
import pathlib
import shutil
import tempfile
from unittest import mock

from benchmarks.side_by_side.cases import OURS, Case, Side
from benchmarks.sides.ours import make_learner, pretrain_step, start_tensorflow

FOLDERS, BATCHES = (1000, 10_000, 100_000, 1_000_000), (64, 256, 1024, 4096)
NETWORKS = {
    "r18_1x_sk0": 11,
    "r50_1x_sk0": 24,
    "r101_1x_sk0": 43,
    "r50_2x_sk0": 94,
    "r152_2x_sk0": 236,
}  # millions
FEW = {"rounds": 3, "warm_up": 1}


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: small sizes."""
    return [
        *(
            Case(
                f"{start} on a folder of {files:,} files",
                {"ours": Side(open_folder, {"files": files, "again": start != "first start"}, OURS)},
                size=files,
                series=f"{start} by files",
                rounds=1 if files > 100_000 else 3,
                warm_up=0,
            )
            for start in ("first start", "later start")
            for files in ((20, 40) if quick else FOLDERS)
        ),
        *(
            Case(
                f"step at batch {batch:,}, {model}, {side} px, float32",
                {
                    "ours": Side(
                        pretrain_step, {"model": model, "image_size": side, "batch_size": batch}, OURS
                    )
                },
                size=batch,
                series="step by batch",
                **FEW,
            )
            for model, side in ([("r18_0.05x_sk0", 8)] if quick else [("r18_0.25x_sk0", 32)])
            for batch in ((2, 4) if quick else BATCHES)
        ),
        *(
            Case(
                f"checkpoint of {model}",
                {"ours": Side(save_checkpoint, {"model": model}, OURS)},
                size=size,
                series="checkpoint by millions of parameters",
                **FEW,
            )
            for model, size in ({"r18_0.05x_sk0": 0.1} if quick else NETWORKS).items()
        ),
    ]


def open_folder(files, again):
    """Return a Run of opening a folder of small images: all are decoded and hashed; again: a manifest lists them."""
    start_tensorflow()
    import numpy as np
    from PIL import Image

    from simclr_keras.data.sources.load_dataset import load_dataset

    folder = tempfile.TemporaryDirectory()
    images = f"{folder.name}/images"
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for number in range(files):
        pixels.flat[:3] = number % 256, number // 256 % 256, number // 256**2  # all are different
        parent = pathlib.Path(images, f"class{number // 1000:03d}")
        parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(parent / f"{number:07d}.png")

    def open_it():
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=f"{folder.name}/cache"):
            return load_dataset(f"folder:{images}", eval_fraction=0.1)

    def run():
        if not again:
            shutil.rmtree(f"{folder.name}/cache", ignore_errors=True)
        splits = open_it()
        return {"images": len(splits.train)}

    if again:
        open_it()
    return run


def save_checkpoint(model):
    """Return a Run of saving a pretraining run's checkpoint: the network and the slots of LARS."""
    start_tensorflow()
    import tensorflow as tf

    from simclr_keras.config.modes import PretrainConfig
    from simclr_keras.runs.checkpoints import Checkpoints

    learner = make_learner(
        PretrainConfig(model=model, image_size=32), tf.distribute.get_strategy(), "float32"
    )
    folder = tempfile.TemporaryDirectory()
    checkpoints = Checkpoints(folder.name, learner.state(), keep=1)
    steps = itertools.count(1)

    def run():
        checkpoints.save(next(steps))
        return {"megabytes": sum(file.stat().st_size for file in pathlib.Path(folder.name).iterdir()) / 1e6}

    return run
