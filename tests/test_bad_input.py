"""Bad input: one line that names what is wrong and what would be right, exit code 2, nothing written."""

import os
import pathlib
import subprocess
import sys
import types

import pytest
import tensorflow as tf

import train
from simclr_keras.config import command_line
from simclr_keras.runs import architecture
from tests.bad_chain_cases import CHAIN_CASES
from tests.bad_input_cases import CASES, FOLDER, GOOD, RUN, Case, flat_folder
from tests.earlier_runs import make_runs

ROOT = pathlib.Path(__file__).parent.parent


def command(case, folder, runs=None):
    values = {**GOOD, "model_dir": f"{folder}/{RUN}", **case.flags}
    flags = [f"--{name}={value}" for name, value in values.items() if value is not None]
    return ["train.py", *(filled(flag, folder, runs) for flag in flags), *case.words]


def filled(text, folder, runs):
    return text.replace("{tmp}", str(folder)).replace("{runs}", str(runs))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}, sorted(
        folder.rglob("*")
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of earlier runs."""
    folder = tmp_path_factory.mktemp("runs")
    make_runs(folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder outside the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def assert_refused(case, folder, capfd, runs=None):
    held = case.make(folder)
    before = contents(folder)
    capfd.readouterr()

    code = command_line.run(train.main, command(case, folder, runs), "train.py")

    out, error = capfd.readouterr()
    assert code == 2
    lines = error.splitlines()
    assert len(lines) == 1, error
    assert lines[0].startswith("train.py: error: ")
    for words in (*case.wrong, *case.right):
        assert filled(words, folder, runs) in lines[0]
    assert out == ""
    assert contents(folder) == before
    del held


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_is_refused_in_one_line_and_leaves_nothing_behind(case, tmp_path, capfd):
    assert_refused(case, tmp_path, capfd)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CHAIN_CASES])
def test_a_stage_that_goes_on_is_refused_in_one_line_and_leaves_nothing_behind(
    case, runs, tmp_path, monkeypatch, capfd
):
    def build(*args, **kwargs):
        raise AssertionError("a network is built before the refusal")

    monkeypatch.setattr(architecture, "create_model", build)
    before = stamps(runs)
    assert_refused(case, tmp_path, capfd, runs)
    assert stamps(runs) == before


def stamps(folder):
    found = {path: path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def test_every_case_asks_for_what_is_wrong_and_what_would_be_right():
    cases = [*CASES, *CHAIN_CASES]
    assert all(case.wrong and case.right for case in cases)
    assert len({case.name for case in cases}) == len(cases)


def test_an_unreadable_folder_is_refused(tmp_path, tmp_path_factory, monkeypatch, capfd):
    def listdir(path):
        # Not chmod: root may read everything, and the suite may run as root.
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

    monkeypatch.setattr(tf.io.gfile, "listdir", listdir)
    wrong = ("Cannot read the folder", "/images", "Permission denied")
    assert_refused(
        Case("unreadable folder", wrong, ("check its permissions",), FOLDER, make=flat_folder()),
        tmp_path,
        capfd,
    )


def test_another_backend_is_refused_where_keras_is_loaded_already(monkeypatch, tmp_path, capfd):
    loaded = types.ModuleType("keras")
    loaded.config = types.SimpleNamespace(backend=lambda: "torch")
    monkeypatch.setitem(sys.modules, "keras", loaded)
    assert command_line.run(train.main, command(Case("backend", (), ()), tmp_path), "train.py") == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "'torch'" in error
    assert "KERAS_BACKEND=tensorflow" in error


PROCESSES = {
    "before TensorFlow is imported": ({"model": "resnet50"}, {}, ("'resnet50'", "Did you mean")),
    "another backend": ({}, {"KERAS_BACKEND": "jax"}, ("'jax'", "KERAS_BACKEND=tensorflow")),
    "after TensorFlow is imported": ({"dataset": "npz:missing.npz"}, {}, ("missing.npz",)),
}


@pytest.mark.parametrize(
    "name",
    [
        "before TensorFlow is imported",
        "another backend",
        pytest.param("after TensorFlow is imported", marks=pytest.mark.slow),
    ],
)
def test_a_process_ends_with_one_line_and_code_2(name, tmp_path):
    flags, environment, words = PROCESSES[name]
    # Without the suite's own quieting: what a user's terminal shows.
    environment = {"TF_CPP_MIN_LOG_LEVEL": None, **environment}
    given = {key: value for key, value in {**os.environ, **environment}.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "train.py", *command(Case(name, (), (), flags), tmp_path)[1:]],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("train.py: error: ")
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.iterdir())
