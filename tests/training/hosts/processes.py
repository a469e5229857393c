"""Starts the hosts of a run as processes on 127.0.0.1."""

import json
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[3]


def free_ports(count):
    """Ports that nothing listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tf_config(addresses, index):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def start(stages, folder, count, only=None):
    """Starts one process per host, or those of `only`.

    Args:
        stages: see host_program.py. folder: for its file and the outputs.
    """
    file = folder / "stages.json"
    file.write_text(json.dumps(stages))
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    processes = []
    for index in range(count) if only is None else only:
        environment = {**os.environ, "TF_CONFIG": tf_config(addresses, index), "PYTHONPATH": str(ROOT)}
        del environment[
            "TF_CPP_MIN_LOG_LEVEL"
        ]  # of the suite: the program itself hides what users need not see
        command = [sys.executable, "-m", "tests.training.hosts.host_program", str(file)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
    return processes


def outputs(processes, timeout=300):
    """Waits for the processes; returns [(exit code, standard output, standard error)]."""
    ends = [process.communicate(timeout=timeout) for process in processes]
    return [(process.returncode, *end) for process, end in zip(processes, ends)]
