"""How long a user waits for help, an error, an import, the first training step and one prediction."""

import pathlib
import subprocess
import sys
import tempfile

from benchmarks.side_by_side.cases import BESIDE, OURS, Case, Side

ROOT = pathlib.Path(__file__).parents[2]
SIMCLR = ["-m", "simclr_keras"]
PRETRAIN = [
    "--dataset=digits",
    "--image_size=32",
    "--batch_size=64",
    "--optimizer=momentum",
    "--learning_rate=0.1",
]
# The command, whose process ends after its first training step.
FIRST_STEP = """
import os, sys
from simclr_keras.backend import start_tensorflow_quietly
start_tensorflow_quietly(devices=False)
from simclr_keras.training.engine import loop
make_step_function = loop.make_step_function

def make_and_leave(*arguments):
    take_steps = make_step_function(*arguments)
    def take_one(iterator, count):
        take_steps(iterator, 1)
        os._exit(0)
    return take_one

loop.make_step_function = make_and_leave
from simclr_keras.commands.main import main
main(["simclr", "pretrain", *sys.argv[1:]])
"""


def cases(quick: bool) -> list[Case]:
    """Return the cases; quick: those without TensorFlow."""
    model = "r18_1x_sk0"
    programs = {
        "simclr --help": ([*SIMCLR, "--help"], 0.3),
        "simclr pretrain --help": ([*SIMCLR, "pretrain", "--help"], 0.3),
        "a flag that does not exist": ([*SIMCLR, "pretrain", "--no_such_flag=1"], 0.3),
        "a value out of range": ([*SIMCLR, "pretrain", "--batch_size=1"], 0.3),
        "import simclr_keras": (["-c", "import simclr_keras"], 0.1),
    }
    bare = Side(program, {"words": ["-c", "pass"]}, BESIDE)
    quiet = (
        "from simclr_keras.backend import start_tensorflow_quietly; start_tensorflow_quietly(); import keras"
    )
    tensorflow = Side(program, {"words": ["-c", quiet]}, BESIDE)
    listed = [
        Case(
            name,
            {"ours": Side(program, {"words": words}, OURS), "python -c pass": bare},
            most_seconds=seconds,
        )
        for name, (words, seconds) in programs.items()
    ]
    if quick:
        return listed
    beside = {"import TensorFlow and Keras": tensorflow}
    works = {
        f"first training step of {model}": (first_step, 10),
        f"simclr predict of one image, {model}": (predict, 5),
    }
    for name, (prepare, seconds) in works.items():
        sides = {"ours": Side(prepare, {"model": model}, OURS), **beside}
        listed.append(Case(name, sides, rounds=5, most_seconds=seconds))
    return listed


def program(words):
    """Return a Run that starts Python with these words and waits for its end."""

    def run():
        subprocess.run([sys.executable, *words], cwd=ROOT, check=False, capture_output=True)

    return run


def first_step(model):
    """Return a Run of `simclr pretrain` to the end of its first training step."""

    def run():
        with tempfile.TemporaryDirectory() as folder:
            words = [*PRETRAIN, f"--model={model}", f"--model_dir={folder}/run"]
            subprocess.run(
                [sys.executable, "-c", FIRST_STEP, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
            )

    return run


def predict(model):
    """Return a Run of `simclr predict` with a classifier of one training step."""
    import numpy as np
    from PIL import Image

    folder = tempfile.TemporaryDirectory()
    words = [*SIMCLR, "supervised", *PRETRAIN, f"--model={model}", "--train_steps=1"]
    command = [sys.executable, *words, f"--model_dir={folder.name}/run"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(f"{folder.name}/image.png")

    def run():
        words = [*SIMCLR, "predict", f"--model={folder.name}/run", f"{folder.name}/image.png"]
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    return run
