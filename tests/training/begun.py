"""Run directories that were begun, and what they hold."""

import tensorflow as tf

from simclr_keras.runs.run_dir import RunDir
from tests.training.tiny import make_config


def files(path):
    """What a directory holds beside its lock; None where there is none."""
    return (
        sorted({*tf.io.gfile.listdir(path)} - {"run.lock", "run.lock.holder"})
        if tf.io.gfile.exists(path)
        else None
    )


def config(**settings):
    return make_config("digits", "run", **settings)


def begin(path, mode="pretrain", **settings):
    """A run that was opened and bound to its settings, and has not saved anything; it is closed when dropped."""
    run_dir = RunDir(path)
    run_dir.open_for(mode, config(**settings))
    run_dir.bind(mode, config(**settings))
    return run_dir


def begin_and_save(path, mode="pretrain", **settings):
    """As `begin`, with a checkpoint, which other settings would lose."""
    run_dir = begin(path, mode, **settings)
    tf.io.gfile.makedirs(run_dir.checkpoints)
    run_dir.write("checkpoints/step-1.index", "")
    return run_dir
