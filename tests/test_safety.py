"""Nothing we read is run: no unpickling, no unpacking of archives, no code out of files."""

import gzip
import json
import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.files.manifest import Manifest
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.runs.history import read_metrics
from simclr_keras.runs.open_run import load_run
from simclr_keras.runs.run_dir import RunDir
from tests.dangers import dangers

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("simclr_keras", "benchmarks", "tools", "examples", "docs")
SCRIPTS = sorted(
    {*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))}
)


def test_there_is_something_to_look_through():
    names = {str(path.relative_to(ROOT)) for path in SCRIPTS}
    assert {
        "train.py",
        "simclr_keras/data/sources/npz.py",
        "benchmarks/comparisons/pretrain_step.py",
    } <= names


def test_no_code_of_ours_can_run_what_it_reads():
    offenders = {str(path): dangers(path.read_text(encoding="utf-8")) for path in SCRIPTS}
    assert not {path: lines for path, lines in offenders.items() if lines}


DANGEROUS = [
    "import pickle",
    "import dill as d",
    "from joblib import load",
    "def f():\n    from pickle import loads",
    "import shelve, os",
    "import marshal",
    "import numpy as np\nnp.load(path)",
    "import numpy\nnumpy.load(path, allow_pickle=True)",
    "import numpy as np\nnp.load(path, allow_pickle=flag)",
    "from numpy import load\nload(path)",
    "from numpy import load as read\nread(path, mmap_mode='r')",
    "tarfile.open(path).extractall(folder)",
    "zip.extract(member)",
    "import shutil\nshutil.unpack_archive(path)",
    "from shutil import unpack_archive",
    "keras.utils.get_file(url, extract=True)",
    "keras.utils.get_file(url, untar=wanted)",
    "eval(text)",
    "exec(open(path).read())",
    "compile(text, 'x', 'exec')",
    "__import__(name)",
    "import builtins\nbuiltins.eval(text)",
    "import yaml\nyaml.load(text)",
    "import yaml as y\ny.unsafe_load(text)",
    "import torch\ntorch.load(path)",
    "import torch\ntorch.load(path, weights_only=False)",
    "from torch import load\nload(path)",
    "keras.models.load_model(path, safe_mode=False)",
    "keras.config.enable_unsafe_deserialization()",
    "import os\nos.system(command)",
    "from os import system",
    "import subprocess\nsubprocess.run(command, shell=True)",
    "import subprocess as s\ns.getoutput(command)",
]
HARMLESS = [
    "import numpy as np\nnp.load(path, allow_pickle=False)",
    "learner.compile(optimizer)\nmodel.load(path)",
    "import re\nre.compile('x')",
    "import json\njson.load(file)",
    "features.extract_features(info)\nmodel.eval()",
    "import subprocess\nsubprocess.run([program], shell=False)",
    "keras.models.load_model(path, safe_mode=True)",
    "import yaml\nyaml.safe_load(text)",
]


def test_what_could_run_code_is_found():
    assert not [text for text in DANGEROUS if not dangers(text)]
    assert not [text for text in HARMLESS if dangers(text)]


class Bomb:
    """Unpickling makes a directory: the proof that code has run."""

    def __init__(self, path):
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "code-has-run"


def test_the_bomb_goes_off_when_it_is_unpickled(mark):
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test", "class_names"])
def test_an_archive_of_python_objects_is_refused_unopened(tmp_path, mark, name):
    arrays = {
        "x_train": np.zeros((4, 8, 8, 3), np.uint8),
        "y_train": np.array([0, 1, 0, 1]),
        "x_test": np.zeros((4, 8, 8, 3), np.uint8),
        "y_test": np.array([0, 1, 0, 1]),
        "class_names": np.array(["ant", "bee"]),
    }
    arrays[name] = np.array([Bomb(mark)] * len(arrays[name]), object)
    np.savez(tmp_path / "images.npz", **arrays)
    with pytest.raises(InputError, match=f"{name}.*unpickling can run code"):
        load_dataset(f"npz:{tmp_path / 'images.npz'}")
    assert not mark.exists()


@pytest.mark.parametrize("spec", ["npz:{}", "folder:{}"])
def test_a_pickle_under_another_name_is_refused(tmp_path, mark, spec):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.jpg", "b.png", "c.npz"):
        (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError):
        load_dataset(spec.format(folder if spec.startswith("folder") else folder / "c.npz"))
    assert not mark.exists()


def test_a_manifest_of_python_objects_counts_for_nothing(tmp_path, mark, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    manifest, stamps = Manifest(tmp_path), np.array([[10, 20]])
    os.makedirs(os.path.dirname(manifest.path))
    no = np.zeros(1, bool)
    assert manifest.write(["a.jpg"], stamps, np.array([7], np.uint64), no, no)
    assert manifest.read(["a.jpg"], stamps)[0].all()
    with np.load(manifest.path, allow_pickle=False) as stored:
        arrays = dict(stored)
    for name in arrays:
        np.savez(manifest.path, **{**arrays, name: np.array([Bomb(mark)], object)})
        assert not Manifest(tmp_path).read(["a.jpg"], stamps)[0].any()
    assert not mark.exists()


# A run that somebody else sent: settings, split, figures and checkpoints of a tiny model.
CONFIG = {
    "mode": "pretrain",
    "model": "r18_0.25x_sk0",
    "proj_layers": 2,
    "proj_dim": 8,
    "proj_mode": "nonlinear",
    "proj_hidden_dim": None,
    "image_size": 16,
    "se_ratio": 0.0,
    "probe_layer": 0,
}
FILES = (
    "config.json",
    "split.json",
    "metrics.csv",
    "result.json",
    "baselines.json",
    "training_images.tsv.gz",
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    state = {"model/classifier/dense/kernel": tf.Variable(tf.zeros([4, 2]))}
    tf.train.Checkpoint(state=state).write(str(folder / "step-3"))
    return folder


@pytest.fixture
def run(tmp_path, checkpoint):
    path = tmp_path / "run"
    shutil.copytree(checkpoint, path / "checkpoints")
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "split.json").write_text(json.dumps({"class_names": ["ant", "bee"], "held_out": []}))
    (path / "metrics.csv").write_text("step,loss\n3,1.0\n")
    return path


def _read_all(path):
    """Whatever is read of a run directory, going on after what is refused; returns the refusals."""
    refusals, run_dir = [], RunDir(str(path))
    for read in (
        lambda: load_run(str(path)),
        lambda: read_metrics(run_dir),
        lambda: run_dir.finished(type("Config", (), {"epochs": 1})),
        run_dir.read_baselines,
    ):
        try:
            read()
        except Exception as refused:  # which one is for the tests of each reader
            refusals.append(refused)
    return refusals


@pytest.mark.parametrize(
    "name", [*FILES, "checkpoints/step-3.index", "checkpoints/step-3.data-00000-of-00001"]
)
def test_a_pickle_in_a_run_directory_is_not_unpickled(run, mark, name):
    bomb = pickle.dumps(Bomb(mark))
    (run / name).write_bytes(gzip.compress(bomb) if name.endswith(".gz") else bomb)
    refusals = _read_all(run)
    assert refusals or name.endswith((".gz", "result.json"))
    assert not mark.exists()


@pytest.mark.parametrize("field", ["model", "proj_mode", "image_size", "se_ratio"])
def test_settings_of_a_foreign_run_are_values_and_never_code(run, mark, field):
    values = (
        f"__import__('os').mkdir({str(mark)!r})",
        f"$(mkdir {mark})",
        f"!!python/object/apply:os.mkdir ['{mark}']",
        {"class_name": "Lambda", "module": "os", "config": {"function": f"mkdir {mark}"}},
        [],
    )
    for value in values:
        (run / "config.json").write_text(json.dumps({**CONFIG, field: value}))
        with pytest.raises(Exception):  # noqa: B017, PT011 - any refusal will do here
            load_run(str(run))
    assert not mark.exists()


@pytest.mark.slow
def test_reading_a_foreign_run_writes_nothing(run):
    for value in ("../../elsewhere", "/elsewhere", "file:///elsewhere"):
        (run / "config.json").write_text(
            json.dumps({**CONFIG, "model_dir": value, "dataset": f"npz:{value}"})
        )
        (run / "split.json").write_text(json.dumps({"class_names": [value, value], "held_out": [value]}))
        before = {path: path.stat().st_mtime_ns for path in run.parent.rglob("*")}
        _read_all(run)
        assert {path: path.stat().st_mtime_ns for path in run.parent.rglob("*")} == before
