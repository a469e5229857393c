"""What commands that run models are tried on: one small network as a run directory, an export and a .keras file."""

import contextlib
import io

import numpy as np
import tensorflow as tf

from simclr_keras.config import command_line
from simclr_keras.export.formats.saved_model import write_saved_model
from simclr_keras.runs.checkpoints import Checkpoints, state_of_model
from simclr_keras.runs.open_run import load_run
from simclr_keras.runs.run_dir import RunDir
from tests.earlier_runs import DIGITS, finetuning, make_run, pretraining

SIZE = 8


def make_models(folder):
    """Fills a folder: run (a classifier of ten digits), export (of it, with signatures for files too), model.keras (of
    it), unlabeled (a run without classifier), plain (a SavedModel without signatures).
    """
    make_run(folder / "run", finetuning("digits", 10), DIGITS)
    make_run(folder / "unlabeled", pretraining("digits", None), None)
    model = load_run(folder / "run")
    random = np.random.default_rng(0)
    for variable in model.classifier.variables:  # fresh from the dice it finds all classes alike
        variable.assign(random.normal(size=variable.shape))
    Checkpoints(RunDir(folder / "run").checkpoints, state_of_model(model), keep=1).save(2)
    write_saved_model(model, str(folder / "export"), image_size=SIZE, class_names=DIGITS, decode_images=True)
    model.save(folder / "model.keras")
    tf.saved_model.save(tf.Module(), str(folder / "plain"))
    return folder


def run(module, *words):
    """Runs a command in this process.

    Returns:
        (exit code, what it wrote to standard output, what to standard error)
    """
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        command = module.COMMAND
        code = command_line.run(command.main, [command.name, *map(str, words)], command.name)
    return code, out.getvalue(), error.getvalue()
