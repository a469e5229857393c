"""From a run directory back to its model, for whoever builds on it: in float32, outside any strategy."""

import warnings

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import create_model
from simclr_keras.training.checkpoints import newest_readable, path_of
from simclr_keras.training.config import config_of_run
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
        InputError: there is no run, its settings are damaged, or it has no checkpoint that can be read.
    """
    run_dir = RunDir(path)
    held, split = (run_dir.read_json(name) for name in (CONFIG, SPLIT))
    if held is None or split is None:
        raise InputError(f"{path} is not a run directory: give the --model_dir of a training run.")
    step, damage = newest_readable(run_dir.checkpoints)
    if step is None:
        raise InputError(f"{path} has no checkpoint yet: let the run finish an epoch.")
    for bad, why in damage.items():
        warnings.warn(
            f"the checkpoint of step {bad} is damaged ({why}): taking that of step {step}", stacklevel=2
        )
    newest = path_of(run_dir.checkpoints, step)
    config = config_of_run(held, run_dir.file(CONFIG))
    reader = tf.compat.v1.train.NewCheckpointReader(newest)
    shapes = reader.get_variable_to_shape_map()
    stored = {_name(key): key for key in shapes if key.startswith("state/model")}
    bias = stored.get("classifier/bias")
    model = create_model(num_classes=shapes[bias][0] if bias else None, **model_arguments(config))
    variables = {variable.path.partition("/")[2]: variable for variable in model.variables}
    wanted = {name: list(variable.shape) for name, variable in variables.items()}
    found = {name: shapes[key] for name, key in stored.items()}
    if wanted != found:
        differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        raise InputError(
            f"the checkpoint {newest} is not of the model in config.json. Differing: {', '.join(differing[:3])}"
        )
    for name, variable in variables.items():
        variable.assign(reader.get_tensor(stored[name]))
    return model


def _name(key):
    """The variable's path within the model, from its key in a checkpoint, where "/" is written ".S"."""
    return key.partition("/")[2].partition("/.ATTRIBUTES")[0].replace(".S", "/").removeprefix("model/")
