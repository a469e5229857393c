"""From a run directory back to its model, for whoever builds on it: in float32, outside any strategy."""

import json
import types

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import create_model
from simclr_keras.training.checkpoints import newest_readable
from simclr_keras.training.data_binding import SPLIT
from simclr_keras.training.run_dir import CONFIG, RunDir
from simclr_keras.training.setup import model_arguments


def load_run(path):
    """Returns the model of a run, with the weights of its newest checkpoint that can be read, as a float32 SimCLRModel.

    Its classifier, where the run had labels, is the online probe. The run need not be finished, and may have trained
    in any precision and on any number of replicas.

    Args:
        path: run directory, local or any that tf.io.gfile knows.

    Raises:
        InputError: there is no run, or it has no checkpoint yet, or none that can be read.
    """
    run_dir = RunDir(path)
    config, split = (run_dir.read_text(name) for name in (CONFIG, SPLIT))
    if config is None or split is None:
        raise InputError(f"{path} is not a run directory: give the --model_dir of a training run.")
    newest = newest_readable(run_dir.checkpoints)
    if newest is None:
        raise InputError(f"{path} has no checkpoint yet: let the run finish an epoch.")
    config, split = json.loads(config), json.loads(split)
    reader = tf.train.load_checkpoint(newest)
    stored = {_name(key): key for key in reader.get_variable_to_shape_map() if key.startswith("state/model")}
    has_probe = any(name.startswith("classifier/") for name in stored)
    classes = len(split["class_names"]) if has_probe else None
    model = create_model(num_classes=classes, **model_arguments(types.SimpleNamespace(**config)))
    variables = {variable.path.partition("/")[2]: variable for variable in model.variables}
    if variables.keys() != stored.keys():
        differing = ", ".join(sorted(variables.keys() ^ stored.keys())[:3])
        raise InputError(
            f"the checkpoint {newest} is not of the model in config.json. Differing: {differing}"
        )
    for name, variable in variables.items():
        variable.assign(reader.get_tensor(stored[name]))
    return model


def _name(key):
    """The variable's path within the model, from its key in a checkpoint, where "/" is written ".S"."""
    return key.partition("/")[2].partition("/.ATTRIBUTES")[0].replace(".S", "/").removeprefix("model/")
