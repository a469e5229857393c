"""Training by train.py with the recipe cifar10_small, against lightly's CIFAR-10 example.

Both have the same network, augmentations and batch. A round of ours is a run of two epochs, of which the second counts,
without its evaluation. "ours, one batch" repeats its first batch: what that saves is the time in which steps wait for
input.
"""

import csv
import tempfile
from unittest import mock

from benchmarks.comparisons.input import WORKERS, arrays
from benchmarks.side_by_side.cases import BESIDE, OURS, PEER, Case, Side
from benchmarks.sides.lightly import import_lightly, make_network, make_trainer
from benchmarks.sides.ours import start_tensorflow


def cases(quick: bool) -> list[Case]:
    """Return the case; quick: a tiny network."""
    count, batch_size = (16, 8) if quick else (10_240, 512)
    settings = {"count": count, "batch_size": batch_size}
    ours_settings = {**settings, "model": "r18_0.05x_sk0" if quick else "r18_0.25x_sk0"}
    sides = {
        "ours": Side(ours, ours_settings, OURS),
        "ours, one batch": Side(ours, {**ours_settings, "one_batch": True}, BESIDE),
        "lightly": Side(lightly, settings, PEER, lightly=True),
    }
    name = f"cifar10_small, {count:,} images of 32 px, batch {batch_size}"
    return [Case(name, sides, count, "images", rounds=3, warm_up=0, least_ratio=2.0)]


def ours(count, batch_size, model, one_batch=False):
    """Return a Run of train.py that reports the seconds of its second epoch."""
    start_tensorflow()
    import numpy as np

    import train
    from simclr_keras.training.engine import inputs

    make_batches = inputs.make_batches

    def repeated_batch(*arguments, **settings):
        make = make_batches(*arguments, **settings)
        return lambda first, steps, context=None: make(first, 1, context).cache().repeat(steps)

    def run():
        with tempfile.TemporaryDirectory() as folder:
            np.savez(f"{folder}/images.npz", x_train=arrays(count))
            words = [
                "--mode=pretrain",
                "--recipe=cifar10_small",
                f"--dataset=npz:{folder}/images.npz",
                f"--model_dir={folder}/run",
                f"--model={model}",
                f"--batch_size={batch_size}",
                "--epochs=2",
            ]
            batches = repeated_batch if one_batch else make_batches
            with mock.patch.object(inputs, "make_batches", batches):
                train.main(["train.py", *words])
            with open(f"{folder}/run/metrics.csv", newline="") as file:
                row = list(csv.DictReader(file))[-1]
        return {"seconds": count / float(row["images_per_second"])}

    return run


def lightly(count, batch_size):
    """Return a Run of an epoch of the example."""
    import_lightly()
    import torch
    from lightly.transforms.simclr_transform import SimCLRTransform
    from PIL import Image

    transform = SimCLRTransform(input_size=32, cj_strength=0.5, min_scale=0.2, gaussian_blur=0.0)
    images = arrays(count)
    network = make_network(18, 32, width=0.25, hidden=512).train()
    train_step = make_trainer(network, "float32")

    class Images:
        def __len__(self):
            return count

        def __getitem__(self, row):
            return transform(Image.fromarray(images[row]))

    loader = torch.utils.data.DataLoader(
        Images(), batch_size, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True
    )

    def run():
        for first, second in loader:
            train_step(torch.cat([first, second]))

    return run
