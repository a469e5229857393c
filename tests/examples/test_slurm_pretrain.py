"""examples/slurm_pretrain.sh with two tasks, in an environment that looks like Slurm's."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from simclr_keras.runs.checkpoints import steps_in
from tests.training.tiny import write_npz

ROOT = pathlib.Path(__file__).parents[2]
# Slurm's commands, as far as the script uses them.
SRUN = """#!/bin/bash
shift  # --kill-on-bad-exit
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=127.0.0.1 SLURM_STEP_TASKS_PER_NODE=2 SLURMD_NODENAME=127.0.0.1
for task in 0 1; do
  SLURM_PROCID=$task "$@" & pids[task]=$!
done
echo "${pids[@]}" > "$SLURM_SUBMIT_DIR/pids"
code=0
for pid in "${pids[@]}"; do wait "$pid"; ended=$?; [ "$ended" -gt "$code" ] && code=$ended; done
exit "$code"
"""
SCONTROL = '#!/bin/bash\necho "$@" > "$SLURM_SUBMIT_DIR/scontrol"\n'
# The real program with a network of two layers.
PROGRAM = f"""import runpy, pytest
from simclr_keras.backend import start_tensorflow_quietly
start_tensorflow_quietly(devices=False)
from tests.training.tiny import make_tiny
make_tiny(pytest.MonkeyPatch())
runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
"""


def free_job():
    """The number of a job whose two ports are free."""
    while True:
        job, sockets = random.randrange(20_000), []
        try:
            sockets = [socket.create_server(("", 10_000 + job + task)) for task in (0, 1)]
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
        return str(job)


def write_program(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.slow
def test_job_that_is_stopped_saves_and_requeues_itself(tmp_path):
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin" / "srun", SRUN)
    write_program(tmp_path / "bin" / "scontrol", SCONTROL)
    (tmp_path / "train.py").write_text(PROGRAM)
    job, run = free_job(), tmp_path / "run"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "TF_CONFIG"))},
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_ID": job,
        "SLURM_SUBMIT_DIR": str(tmp_path),
    }
    flags = [f"--dataset=npz:{write_npz(tmp_path / 'stripes.npz')}", f"--model_dir={run}", "--image_size=8"]
    flags += ["--model=r18_0.125x_sk0", "--batch_size=8", "--epochs=5000", "--checkpoint_every_steps=1"]
    process = subprocess.Popen(
        [ROOT / "examples" / "slurm_pretrain.sh", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not steps_in(f"{run}/checkpoints") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.poll() is None:
        os.kill(int((tmp_path / "pids").read_text().split()[1]), signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 143, said
    assert "(strategy multi_worker: Slurm names 2 hosts)" in said
    stopped = f"stopped by SIGTERM: step {max(steps_in(str(run / 'checkpoints')))} is saved"
    assert said.count(stopped) == 2  # both tasks, at one step
    assert (tmp_path / "scontrol").read_text() == f"requeue {job}\n"
