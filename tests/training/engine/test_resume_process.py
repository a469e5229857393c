"""Real processes that are killed, or told to end, continue to the same end."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.compare_runs import differing
from tests.training.tiny import (
    make_config,
    write_npz,
)

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def start(tmp_path):
    """Starts the real program on a small run of a real network, in a directory of this name."""
    data = "npz:" + write_npz(tmp_path / "stripes.npz")

    def start(name):
        values = vars(make_config(data, tmp_path / name, checkpoint_every_steps=1, epochs=3))
        flags = [
            f"--{key}={value}" for key, value in values.items() if value is not None and value is not False
        ]
        command = [sys.executable, "train.py", "--mode=pretrain", *flags]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def wait_for(path, process):
    deadline = time.monotonic() + 600
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
def test_a_process_killed_by_the_system_and_one_told_to_end_continue_to_the_same_end(start, tmp_path):
    whole = start("whole")
    assert whole.communicate(timeout=600)[0].splitlines()[-1].startswith("done in")
    assert whole.returncode == 0
    for number in (signal.SIGKILL, signal.SIGTERM):
        name = number.name
        process = start(name)
        wait_for(tmp_path / name / "checkpoints" / "checkpoint", process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=600)
        assert not (tmp_path / name / "result.json").exists()
        if number == signal.SIGTERM:
            assert process.returncode == 143
            last = said.splitlines()[-1]
            assert last.startswith("train.py: stopped by SIGTERM: ")
            assert last.endswith("; rerun the same command to continue.")
        again = start(name)
        said, _ = again.communicate(timeout=600)
        assert again.returncode == 0
        assert "continued at step" in said
        assert not differing(tmp_path / name, tmp_path / "whole")
