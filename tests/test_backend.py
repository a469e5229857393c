"""Which backend Keras is set to is known without importing it; TensorFlow starts quietly."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

from simclr_keras import backend
from simclr_keras.errors import InputError

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Keras as it is before its import: no module, no variable; returns a function that writes keras.json."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return lambda text: (tmp_path / "keras.json").write_text(text)


def test_tensorflow_is_the_default(settings):
    assert backend.configured_backend() == "tensorflow"
    backend.require_tensorflow()


def test_the_settings_file_is_read(settings):
    settings(json.dumps({"backend": "torch"}))
    assert backend.configured_backend() == "torch"


@pytest.mark.parametrize("text", ["{", json.dumps({"floatx": "float32"})])
def test_a_settings_file_without_a_backend_means_tensorflow(settings, text):
    settings(text)
    assert backend.configured_backend() == "tensorflow"


def test_the_variable_wins_over_the_file(settings, monkeypatch):
    settings(json.dumps({"backend": "torch"}))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert backend.configured_backend() == "jax"


def test_a_loaded_keras_wins_over_all(settings, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    loaded = types.ModuleType("keras")
    loaded.config = types.SimpleNamespace(backend=lambda: "tensorflow")
    monkeypatch.setitem(sys.modules, "keras", loaded)
    backend.require_tensorflow()


def test_another_backend_is_refused_in_one_line(settings, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(InputError, match=r"'jax'.*KERAS_BACKEND=tensorflow") as refusal:
        backend.require_tensorflow()
    assert "\n" not in str(refusal.value)


def test_public_names_refuse_another_backend_too():
    code = "import simclr_keras; simclr_keras.create_model"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr.splitlines()[-1].startswith("simclr_keras.errors.InputError: simclr_keras needs Keras")


def test_only_a_missing_plot_backend_is_unset(monkeypatch):
    backends = (
        "module://missing_inline.backend",
        "module://",
        "module://matplotlib.backends.backend_agg",
        "tkagg",
    )
    left = []
    for name in backends:
        monkeypatch.setenv("MPLBACKEND", name)
        backend.require_tensorflow()
        left.append(os.environ.get("MPLBACKEND"))
    assert left == [None, None, *backends[2:]]


def start(folder, tensorflow, **environment):
    """Starts a stand-in for TensorFlow, whose import runs the given code, in a process of its own."""
    (folder / "tensorflow.py").write_text(tensorflow)
    variables = {"TF_CPP_MIN_LOG_LEVEL": None, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **environment}
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; from simclr_keras import backend; backend.start_tensorflow_quietly(); "
            "print('up', os.environ.get('TF_CPP_MIN_LOG_LEVEL'))",
        ],
        env={key: value for key, value in {**os.environ, **variables}.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


CHATTER = """\
import os, types
os.write(2, b"a line from C++, past sys.stderr\\n")
def say():
    os.write(2, b"a line about devices\\n")
config = types.SimpleNamespace(list_logical_devices=say, list_physical_devices=say)
"""


def test_chatter_of_the_start_is_held_back(tmp_path):
    done = start(tmp_path, CHATTER)
    # No log level remains, so programs that this one starts hold their messages back, too.
    assert (done.returncode, done.stdout, done.stderr) == (0, "up None\n", "")


def test_tensorflow_starts_with_the_plot_backend_of_a_notebook(tmp_path):
    fake = CHATTER + "assert 'MPLBACKEND' not in os.environ\n"
    done = start(tmp_path, fake, MPLBACKEND="module://missing_inline.backend")
    assert (done.returncode, done.stderr) == (0, "")


def test_packages_that_keras_imports_are_missing_only_during_the_start(monkeypatch):
    import matplotlib

    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with backend._without_optional_packages():
        with pytest.raises(ImportError):
            importlib.import_module("sklearn")
        assert sys.modules["matplotlib"] is matplotlib  # imported before: it costs nothing
    assert "sklearn" not in sys.modules


def test_a_user_who_sets_the_log_level_sees_what_it_gives(tmp_path):
    done = start(tmp_path, CHATTER, TF_CPP_MIN_LOG_LEVEL="0")
    assert "a line from C++" in done.stderr


@pytest.mark.parametrize(("value", "seen"), [(None, "1"), ("0", "0")])
def test_one_dnn_is_used_unless_the_user_turns_it_off(tmp_path, value, seen):
    program = CHATTER + "print(os.environ['TF_ENABLE_ONEDNN_OPTS'])\n"
    assert start(tmp_path, program, TF_ENABLE_ONEDNN_OPTS=value).stdout == f"{seen}\nup None\n"


def test_a_failed_start_shows_what_was_held_back(tmp_path):
    done = start(tmp_path, CHATTER + "raise ImportError('no such library')\n")
    assert done.returncode != 0
    assert "a line from C++" in done.stderr
    assert "no such library" in done.stderr


def test_errors_after_the_start_are_shown_again(tmp_path):
    done = start(tmp_path, CHATTER + "import atexit\natexit.register(lambda: os.write(2, b'later'))\n")
    assert done.stderr == "later"


def test_without_a_standard_error_nothing_is_sent_anywhere(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", None)
    with open(tmp_path / "file", "wb") as file, backend.standard_error_into(file):
        os.write(2, b"to whatever has this number")
    assert capfd.readouterr().err == "to whatever has this number"
    assert (tmp_path / "file").read_bytes() == b""


def test_a_failed_start_without_a_standard_error_fails_as_it_would(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr("builtins.__import__", _no_tensorflow(__import__))
    with pytest.raises(ImportError, match="no such library"):
        backend.start_tensorflow_quietly()


def _no_tensorflow(real):
    def imported(name, *arguments, **keywords):
        if name == "tensorflow":
            raise ImportError("no such library")
        return real(name, *arguments, **keywords)

    return imported


def test_gpu_is_found_by_what_its_driver_leaves(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert not backend.has_nvidia_gpu(str(tmp_path))
    for name in ("proc/driver/nvidia/gpus/0000:01:00.0", "dev/nvidia0", "dev/dxg"):
        device = tmp_path / name.replace("/", "-") / name
        device.parent.mkdir(parents=True)
        device.touch()
        assert backend.has_nvidia_gpu(str(tmp_path / name.replace("/", "-"))), name
        for hidden in ("", "-1"):
            with monkeypatch.context() as patch:
                patch.setenv("CUDA_VISIBLE_DEVICES", hidden)
                assert not backend.has_nvidia_gpu(str(tmp_path / name.replace("/", "-")))


@pytest.mark.parametrize(("has_gpu", "used"), [(True, False), (True, True), (False, False)])
def test_gpu_that_tensorflow_does_not_use_is_named(has_gpu, used, monkeypatch, capsys):
    config = types.SimpleNamespace(list_physical_devices=lambda kind: [kind] * used)
    started = types.SimpleNamespace(config=config)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(
        backend, "_start_tensorflow", lambda: monkeypatch.setitem(sys.modules, "tensorflow", started)
    )
    monkeypatch.setattr(backend, "has_nvidia_gpu", lambda: has_gpu)
    backend.start_tensorflow_quietly()
    error = capsys.readouterr().err
    assert error.count("\n") == (has_gpu and not used)
    assert ('pip install "tensorflow[and-cuda]"' in error) == (has_gpu and not used)
