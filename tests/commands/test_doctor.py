"""simclr doctor: what it finds, and its reasons for an unused GPU."""

import importlib.util
import sys

import pytest

from simclr_keras.commands import doctor
from simclr_keras.config import command_line
from simclr_keras.version import __version__


def run(capsys):
    code = command_line.run(doctor.COMMAND.main, ["doctor"], "doctor")
    return code, *capsys.readouterr()


def without(monkeypatch, *names):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find(name))


def test_findings(capsys, monkeypatch):
    without(monkeypatch, "pyarrow")
    code, out, error = run(capsys)
    assert (code, error) == (0, "")
    for words in (
        f"simclr_keras {__version__}, Python 3.",
        "tensorflow 2.",
        'pyarrow is missing (embed to Parquet); install it with: pip install "simclr_keras[parquet]"',
        "GB free",
        "no GPU; the CPU is used",
        "--precision=auto is ",
        "bfloat16 instructions",
        "oneDNN",
        "blas: ",
    ):
        assert words in out


def test_folders_that_are_remote_or_relative(monkeypatch, tmp_path):
    for path, words in (("gs://bucket/data", "gs://bucket/data"), ("no/such", "no/such, not made yet, ")):
        monkeypatch.setenv("TFDS_DATA_DIR", path)
        assert any(line.startswith(f"TensorFlow Datasets: {words}") for line in doctor.folders())


def test_exit_code_if_training_cannot_run(capsys, monkeypatch):
    without(monkeypatch, "matplotlib")
    code, out, error = run(capsys)
    assert (code, error.count("\n")) == (2, 1)
    assert "matplotlib is missing (training, report and visualize: pictures); install it with: pip" in error
    assert "--precision" in out


@pytest.mark.parametrize(
    ("hidden", "platform", "has_gpu", "has_cuda", "words"),
    [
        ("-1", "linux", True, True, "CUDA_VISIBLE_DEVICES=-1 hides all GPUs"),
        (None, "linux", False, True, None),
        (
            None,
            "linux",
            True,
            False,
            'built without CUDA; replace it with: pip install "tensorflow[and-cuda]"',
        ),
        (None, "linux", True, True, 'run pip install "tensorflow[and-cuda]", then nvidia-smi'),
        (None, "win32", True, False, "no GPU support on Windows; use its Linux subsystem"),
    ],
)
def test_reasons_of_an_unused_gpu(hidden, platform, has_gpu, has_cuda, words, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(doctor, "has_nvidia_gpu", lambda: has_gpu)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name)
    reason = doctor.unused_gpu(has_cuda)
    assert words in reason if words else reason is None
