"""Measure a pretraining step on two hosts, which are processes on this machine, against one process.

Each way runs train.py in processes of its own, and the ways take turns. The speed is that of result.json: a median over
epochs of two steps, without the steps that trace. "on the path of replicas" normalizes as several replicas do:
each batch once for the statistics and once with those of all.

    python benchmarks/two_hosts.py        # r18_1x_sk0, 32 px, global batch 128, float32
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.command_line import make_parser, parse

REPLICAS_PATH = "one process, on the path of replicas"
WAYS = {"one process": 1, REPLICAS_PATH: 1, "two processes": 2}
PROGRAM = """
import sys, train
from simclr_keras.config import command_line
if sys.argv.pop(1).endswith("path of replicas"):
    from simclr_keras.backend import start_tensorflow_quietly
    start_tensorflow_quietly(devices=False)
    from simclr_keras.models import batch_norm
    batch_norm.num_replicas = lambda: 2
command_line.leave(command_line.run(train.main, sys.argv, "train.py"))
"""


def run_hosts(way, flags):
    """Run train.py in the processes of a way."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [server.getsockname()[1] for server in (first, second)]
    workers = [f"127.0.0.1:{port}" for port in ports[: WAYS[way]]]
    processes = []
    for index in range(WAYS[way]):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(cluster)}
        command = [sys.executable, "-c", PROGRAM, way, *flags]
        processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL))
    if codes := [code for process in processes if (code := process.wait())]:
        raise SystemExit(f"{way} ended with exit code {codes[0]}")


def measure(way, arguments, folder):
    """Return the seconds of a step."""
    with tempfile.TemporaryDirectory(dir=folder) as run:
        flags = [
            "--mode=pretrain",
            f"--dataset=npz:{folder}/images.npz",
            f"--model_dir={run}",
            f"--model={arguments.model}",
            f"--image_size={arguments.image_size}",
            f"--batch_size={arguments.batch_size}",
            f"--epochs={arguments.epochs}",
            "--precision=float32",
        ]
        run_hosts(way, flags)
        result = json.loads(pathlib.Path(run, "result.json").read_text())
    return arguments.batch_size / result["images_per_second"]


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r18_1x_sk0")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6, help="of two steps each")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    arguments = parse(parser, argv, model="r18_0.05x_sk0", image_size=8, batch_size=8, epochs=2, rounds=1)
    seconds = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        size = (2 * arguments.batch_size, arguments.image_size, arguments.image_size, 3)
        np.savez(f"{folder}/images.npz", x_train=np.random.default_rng(0).integers(0, 256, size, np.uint8))
        for _ in range(arguments.rounds):
            for way in WAYS:
                seconds[way].append(measure(way, arguments, folder))
                print(f"{way}: {1000 * seconds[way][-1]:,.0f} ms a step", flush=True)
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    two = medians.pop("two processes")
    for way, median in medians.items():
        print(f"ratio of medians, two processes to {way}: {two / median:.2f}")


if __name__ == "__main__":
    main()
