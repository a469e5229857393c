"""Networks whose arrays all differ from their initial values, and the arrays of such networks in PyTorch's names."""

import functools

import keras
import numpy as np

from simclr_keras.interop.torch_files.write import arrays_of
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.checkpoints import model_variables

MEAN_STD = {"pixel_mean": (0.485, 0.456, 0.406), "pixel_std": (0.229, 0.224, 0.225)}


def make(name="r18_0.125x_sk0", image_size=64, **arguments):
    """(SimCLRModel, its Architecture)."""
    keras.utils.set_random_seed(1)
    architecture = Architecture(name=name, image_size=image_size, **{"num_classes": 5, **arguments})
    model, random = architecture.build(), np.random.default_rng(2)
    for variable in model.variables:
        role = variable.path.rpartition("/")[2]
        if role in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif role in ("beta", "moving_mean", "bias"):
            variable.assign(random.normal(0, 0.2, variable.shape))
    return model, architecture


def torch_arrays(model, name):
    """Dict of name in PyTorch to array."""
    variables = model_variables(model)
    return {
        key: value
        for array in arrays_of(model, name)
        for key, value in array.to_torch(variables[array.ours].numpy()).items()
    }


@functools.cache
def small_arrays():
    """The arrays of a small ResNet-18."""
    model, architecture = make()
    return torch_arrays(model, architecture.name)
