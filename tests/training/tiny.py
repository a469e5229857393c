"""Runs that take seconds: striped images, networks of a few layers, and what a run leaves behind."""

import csv
import dataclasses
import importlib
import io
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from benchmarks.compare_runs import TIMED
from simclr_keras.config.modes import MODES
from simclr_keras.config.pretrain import PretrainConfig
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.evaluation import plots
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.blocks import Conv2D, spatial_mean
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import create_model
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs import architecture
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.engine import loop
from simclr_keras.training.stages import judging, pretrain
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
        "eval_every_epochs": 1,
        "knn_k": 5,
    }
    config = PretrainConfig(**{**values, **settings})
    config.validate()
    return config


def configure(mode, model_dir, **settings):
    """The config of a stage after pretraining: 2 epochs of a few steps, as far as the stage has such settings."""
    cls = MODES[mode]
    values = {
        "model_dir": str(model_dir),
        "precision": "float32",
        "batch_size": 16,
        "epochs": 2,
        "optimizer": "momentum",
        "learning_rate": 0.2,
        "learning_rate_scaling": "none",
        "warmup_epochs": 0.0,
        "eval_every_epochs": 1,
    }
    if mode == "supervised":
        values |= {"model": GROUPED, "image_size": 8}
    known = {field.name for field in dataclasses.fields(cls)}
    values = {name: value for name, value in values.items() if name in known}
    config = cls(**{**values, **settings})
    config.validate()
    return config


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its directory, the config it was started with, what it returned and what it said."""

    folder: pathlib.Path
    config: object
    result: dict
    lines: list


def run(config):
    """Goes through a stage, and returns the Run."""
    lines = []
    result = importlib.import_module(config.MODULE).run(config, say=lines.append)
    return Run(pathlib.Path(config.model_dir), config, result, lines)


def split_of(path):
    """What split.json of a run directory says."""
    return json.loads((path / "split.json").read_text())


def rows_of(path, part):
    """The rows of an archive that a run labeled, or held out: sorted ints.

    Args:
        path: of the run directory. part: "labeled" or "held_out".
    """
    config = json.loads((path / "config.json").read_text())
    if part == "labeled":
        ids = split_of(path)["labeled"]
    else:
        ids = load_dataset(config["dataset"], eval_fraction=config["eval_fraction"]).evaluation.ids
    return sorted(int(name.partition("/")[2]) for name in ids)


def change(path, name, **values):
    """Rewrites some of what a JSON file of a run directory says."""
    held = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps({**held, **values}))


class Begun(BaseException):
    """Ends a run where its training would begin.

    Attributes:
        learner, batches: as `loop.train` gets them.
        settings: its other arguments.
        lines: what the run has said.
    """

    def __init__(self, learner, batches, settings):
        super().__init__()
        self.learner, self.batches, self.settings, self.lines = learner, batches, settings, []


def begin(config, monkeypatch):
    """Returns a run as it is before its first step, a Begun."""
    lines = []

    def stop_here(learner, strategy, batches, **settings):
        raise Begun(learner, batches, settings)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", stop_here)
        try:
            importlib.import_module(config.MODULE).run(config, say=lines.append)
        except Begun as begun:
            begun.lines = lines
            return begun
    raise AssertionError("the run did not come to its training")


def variables(model):
    """A model's weights by their names, as `saved_variables` gives them."""
    return {variable.path.partition("/")[2]: variable.numpy() for variable in model.variables}


def saved_variables(path, checkpoint="last"):
    """The weights of the model in a run's checkpoint, by their names, read without our own reader."""
    folder = pathlib.Path(path) / ("best" if checkpoint == "best" else "checkpoints")
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(folder))
    found = {}
    for key in reader.get_variable_to_shape_map():
        name = key.replace(".S", "/").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
        if name.startswith("state/model/"):
            found[name.removeprefix("state/model/")] = reader.get_tensor(key)
    return found


def features_of(run, layer):
    """What a run's network gives for the images it labeled and held out, by `load_run` alone.

    Args:
        run: Run on an archive without an evaluation split.
        layer: of the projection head.

    Returns:
        (features [n, d], labels [n]) of the labeled training images, then those of the held-out ones.
    """
    data = np.load(run.config.dataset.removeprefix("npz:"))
    model, found = load_run(str(run.folder)), []
    for part in ("labeled", "held_out"):
        rows = rows_of(run.folder, part)
        images = evaluation_view(data["x_train"][rows], run.config.image_size)
        found += [model(images, training=False)[f"proj_head_{layer}"].numpy(), data["y_train"][rows]]
    return found


GROUPED, OTHER_GROUPED, TINY = "r34_0.125x_sk0", "r34_0.25x_sk0", "r18_0.125x_sk0"


class ConvNorm(keras.layers.Layer):
    """A convolution, its normalization and ReLU."""

    def __init__(self, kernel, stride, **options):
        super().__init__(**options)
        self.conv = Conv2D(8, kernel, stride, name="conv", dtype=self.dtype_policy)
        self.norm = BatchNormalization(name="bn", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build((None, None, None, 8))

    def call(self, images, training=False):
        return tf.nn.relu(self.norm(self.conv(images), training=training))


class GroupedEncoder(keras.layers.Layer):
    """A stem and two block groups, which can be frozen by themselves."""

    def __init__(self, **options):
        super().__init__(name="encoder", **options)
        self.stem = ConvNorm(3, 2, name="stem", dtype=self.dtype_policy)
        self.block_groups = [ConvNorm(1, 1, name=f"block_group{i}", dtype=self.dtype_policy) for i in (1, 2)]

    def build(self, input_shape):
        self.stem.build(input_shape)
        for group in self.block_groups:
            group.build((None, None, None, 8))

    def call(self, images, training=False):
        for part in (self.stem, *self.block_groups):
            images = part(images, training=training)
        return {"final_avg_pool": spatial_mean(images)}

    def compute_output_shape(self, input_shape):
        return {"final_avg_pool": (input_shape[0], 8)}


def create_tiny_model(name, *, image_size, dtype, se_ratio=0.0, **arguments):
    """Stands in for `create_model`, to spare the tests a ResNet's tracing; backbones of Keras are the real ones."""
    if name.startswith("keras:"):
        return create_model(name, image_size=image_size, dtype=dtype, se_ratio=se_ratio, **arguments)
    encoder = GroupedEncoder if name.startswith("r34") else TinyEncoder
    model = SimCLRModel(encoder(dtype=dtype), dtype=dtype, **arguments)
    model.build((None, image_size, image_size, 3))
    return model


def metrics(model_dir, without=TIMED):
    """metrics.csv as rows of strings, less what no two runs share."""
    rows = csv.DictReader(io.StringIO((pathlib.Path(model_dir) / "metrics.csv").read_text()))
    return [{name: value for name, value in row.items() if name not in without} for row in rows]


def result(model_dir):
    return json.loads((pathlib.Path(model_dir) / "result.json").read_text())


def make_tiny(patch, draw=False):
    """Puts a network of two layers in place of the ResNet; nothing is drawn unless `draw`.

    Few held-out images are not cross-validated and colors are not compiled by XLA, which tests of other things would
    pay for.
    """
    patch.setattr(architecture, "create_model", create_tiny_model)
    patch.setattr(judging, "FEW", 0)
    patch.setattr(ColorBlur, "_use_xla", lambda augment: False)
    if not draw:
        patch.setattr(pretrain, "draw_views", lambda *arguments: None)
        patch.setattr(plots, "png_bytes", lambda figure: b"drawn")


def checkpointed_steps(model_dir):
    paths = (pathlib.Path(model_dir) / "checkpoints").glob("*.index")
    return sorted(int(path.stem.removeprefix("step-")) for path in paths)


def silent(line):
    """Takes the place of print."""
