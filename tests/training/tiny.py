"""A pretraining run that takes seconds: striped images, a network of two layers, and what a run leaves behind."""

import csv
import io
import json
import pathlib

import numpy as np

from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.training import architecture
from simclr_keras.training.compare import TIMED
from simclr_keras.training.configs.pretrain import PretrainConfig
from simclr_keras.training.run_dir import RunDir
from tests.objectives.tiny_learner import TinyEncoder

TRAIN, TEST, CLASSES = 40, 12, 3


def write_npz(path, train=TRAIN, test=TEST, labels=True):
    """Writes noisy stripes, whose direction is the class; returns the path as a string."""
    rng = np.random.default_rng(7)

    def images(count):
        y = np.arange(count) % CLASSES
        row, column = np.meshgrid(np.arange(12), np.arange(12), indexing="ij")
        waves = np.stack([np.sin(row), np.sin(column), np.sin(row + column)])
        x = 128 + 80 * waves[y][..., None] + 20 * rng.normal(size=(count, 12, 12, 3))
        return x.clip(0, 255).astype(np.uint8), y.astype(np.int64)

    (x_train, y_train), (x_test, y_test) = images(train), images(max(test, 1))
    arrays = {"x_train": x_train}
    if labels:
        arrays |= {"y_train": y_train, "class_names": np.array(["rows", "columns", "slanted"])}
    if test:
        arrays |= {"x_test": x_test} | ({"y_test": y_test} if labels else {})
    np.savez(path, **arrays)
    return str(path)


def make_config(dataset, model_dir, **settings):
    """A PretrainConfig of 2 epochs and 5 steps each, the odd one beside them."""
    values = {
        "dataset": dataset,
        "model_dir": str(model_dir),
        "model": "r18_0.125x_sk0",
        "image_size": 8,
        "precision": "float32",
        "batch_size": 8,
        "epochs": 2,
        "optimizer": "momentum",
        "learning_rate": 0.5,
        "learning_rate_scaling": "linear",
        "warmup_epochs": 0.5,
        "temperature": 0.5,
        "proj_dim": 8,
        "proj_layers": 2,
        "eval_every": 1,
        "knn_k": 5,
    }
    config = PretrainConfig(**{**values, **settings})
    config.validate()
    return config


def create_tiny_model(name, *, image_size, dtype, se_ratio=0.0, **heads):
    """Stands in for `create_model`, to spare the tests a ResNet's tracing."""
    model = SimCLRModel(TinyEncoder(dtype=dtype), dtype=dtype, **heads)
    model.build((None, image_size, image_size, 3))
    return model


def metrics(model_dir, without=TIMED):
    """metrics.csv as rows of strings, less what no two runs share."""
    rows = csv.DictReader(io.StringIO((pathlib.Path(model_dir) / "metrics.csv").read_text()))
    return [{name: value for name, value in row.items() if name not in without} for row in rows]


def result(model_dir):
    return json.loads((pathlib.Path(model_dir) / "result.json").read_text())


def make_tiny(patch, draw=False):
    """Puts a network of two layers in place of the ResNet; pictures are not rendered unless `draw`."""
    patch.setattr(architecture, "create_model", create_tiny_model)
    if not draw:
        patch.setattr(
            RunDir, "save_figure", lambda run_dir, name, figure: run_dir.write_bytes(name, b"drawn")
        )


def checkpointed_steps(model_dir):
    paths = (pathlib.Path(model_dir) / "checkpoints").glob("*.index")
    return sorted(int(path.stem.removeprefix("step-")) for path in paths)


def silent(line):
    """Takes the place of print."""
