"""A real process that gets SIGTERM continues to the same end; benchmarks/kill_and_resume.py --quick kills a process."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.compare_runs import differing
from simclr_keras.training.stages import pretrain
from tests.training.tiny import make_config, silent, write_npz

ROOT = pathlib.Path(__file__).parents[3]


def start(config):
    """Starts the real program with the settings of this config."""
    flags = [
        f"--{key}={value}" for key, value in vars(config).items() if value is not None and value is not False
    ]
    command = [sys.executable, "train.py", "--mode=pretrain", *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path, process):
    deadline = time.monotonic() + 600
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
def test_a_process_told_to_end_continues_to_the_same_end(tmp_path, rewritten_graphs):
    data = "npz:" + write_npz(tmp_path / "stripes.npz")
    settings = {"checkpoint_every_steps": 1, "epochs": 3}
    pretrain.run(make_config(data, tmp_path / "whole", **settings), say=silent)
    config = make_config(data, tmp_path / "run", **settings)
    process = start(config)
    wait_for(tmp_path / "run" / "checkpoints" / "checkpoint", process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=600)
    assert not (tmp_path / "run" / "result.json").exists()
    assert process.returncode == 143
    last = said.splitlines()[-1]
    assert last.startswith("train.py: stopped by SIGTERM: ")
    assert last.endswith("; rerun the same command to continue.")
    lines = []
    pretrain.run(config, say=lines.append)
    assert any("continued at step" in line for line in lines)
    assert not differing(tmp_path / "run", tmp_path / "whole")
