"""Files as the release writes them, in its three formats, filled with the golden weights or with those of a model."""

import functools
import json
import pathlib
import re

import numpy as np
import tensorflow as tf

from tests.models.released import load_recipe

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
RECIPE = load_recipe()
CASES = {"r18_cifar": "r18_1x_sk0", "r50_1x": "r50_1x_sk0", "r50_1x_sk": "r50_1x_sk1"}
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@functools.cache
def golden_keys():
    return json.loads((GOLDEN / "ckpt_keys.json").read_text())


@functools.cache
def golden_weights(case):
    """Dict of the release's TF2 variable name, without ":0", to its golden value, in the order of its variables."""
    variables = golden_keys()[case]["variables"]
    return {
        name.removesuffix(":0"): RECIPE.value(index, name, shape)
        for index, (name, shape) in enumerate(variables)
    }


def names_of(case):
    """Dict of the release's TF2 variable name to its shape."""
    return {name.removesuffix(":0"): tuple(shape) for name, shape in golden_keys()[case]["variables"]}


def tf1_name(name):
    """The name in a TF1 checkpoint of a variable with this name in the release's TF2 network."""
    *_, layer, role = name.split("/")
    layer = layer.replace("sync_", "")
    if name.startswith("resnet/"):
        return f"base_model/{layer}/{role}"
    if name.startswith("projection_head/"):
        return f"head_contrastive/{name.split('/')[1]}/{re.sub(r'_[0-9]+$', '', layer)}/{role}"
    return f"head_supervised/linear_layer/dense/{role}"


def tf1_tree(weights, ema=None):
    """What a TF1 checkpoint of pretraining with memory holds: a dict of key to value or shape, like those given.

    Args:
        weights: dict of TF2 variable name to value or shape. ema: the same of the moving average; None for none.
    """
    tree = {tf1_name(name): value for name, value in weights.items()}
    slots = {f"{name}/Momentum": value for name, value in tree.items() if "moving" not in name}
    averaged = {f"ema_model/{tf1_name(name)}": value for name, value in (ema or {}).items()}
    some = next(iter(weights.values()))
    empty = (lambda shape: shape) if isinstance(some, tuple) else (lambda shape: np.zeros(shape, np.float32))
    training = {"memory": empty((16, 128)), "memory_ptr": empty(()), "global_step": empty(())}
    return tree | slots | averaged | training


def tf2_key(name, case):
    """The key in a TF2 training checkpoint of a variable with this name."""
    return golden_keys()[case]["variable_to_ckpt_key"][f"{name}:0"][0]


def saved_names(weights, start=0, plain=False):
    """The same weights under the names of a process that had made `start` layers of each kind before.

    Args:
        weights: dict of TF2 variable name to value or shape. start: int.
        plain: whether batch normalization was not synchronized.
    """

    def renumbered(match):
        number = int(match[2] or 0) + start
        return f"{match[1]}_{number}" if number else match[1]

    def renamed(name):
        name = name.replace("sync_batch", "batch") if plain else name
        parts = r"\b(conv2d_fixed_padding|conv2d|batch_norm_relu|(?:sync_)?batch_normalization|dense)(?:_(\d+))?(?=/)"
        return re.sub(parts, renumbered, name)

    return {renamed(name): value for name, value in weights.items()}


def write_checkpoint(prefix, values):
    """Writes a checkpoint file with exactly these keys."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    keys = sorted(values)
    tensors = [tf.constant(values[key]) for key in keys]
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=tensors
    )
    return prefix


def write_tf2_checkpoint(prefix, case, momentum=False):
    """Writes a TF2 training checkpoint with the keys in tests/golden/ckpt_keys.json, and the golden weights.

    Args:
        prefix: path. case: key of CASES. momentum: whether the slots are there too.
    """
    values = {GRAPH: b"", **{tf2_key(name, case): value for name, value in golden_weights(case).items()}}
    for key, shape, dtype in golden_keys()[case]["keys"]:
        if key not in values and (momentum or "OPTIMIZER_SLOT" not in key):
            values[key] = np.ones(shape, dtype)
    return write_checkpoint(prefix, values)


def write_saved_model(path, values):
    """Writes a SavedModel whose variables have these names, held as the release's module holds its own."""

    def is_part(name, part):
        return name.startswith(part) and name.rpartition("/")[2].startswith("moving")

    variables = {name: tf.Variable(value, name=name) for name, value in values.items()}
    trainable = [v for name, v in variables.items() if "moving" not in name]
    module, module.model = tf.Module(), tf.Module()
    module.trainable_variables_list = trainable
    for part, root in (("resnet_model", "resnet/"), ("_projection_head", "projection_head/")):
        held = tf.__internal__.tracking.AutoTrackable()
        held.variables = [v for name, v in variables.items() if is_part(name, root)]
        setattr(module.model, part, held)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def call(inputs):
        return {"final_avg_pool": tf.reduce_mean(inputs) * trainable[0][0, 0, 0, 0]}

    module.__call__ = call
    tf.saved_model.save(module, str(path))
    return path


def weights_of(model):
    """The variables of a model of ours under the names of a TF1 checkpoint, as a dict of key to value.

    Its layers are numbered in the order in which it made them, as the release numbers its own.
    """
    numbers, tree, seen = {}, {}, {}
    for variable in model.weights:
        layer, _, role = variable.path.partition("/")[2].rpartition("/")
        if layer.startswith("encoder/"):
            kind = "conv2d" if role in ("kernel", "bias") else "batch_normalization"
            if layer not in seen:
                numbers[kind] = numbers.get(kind, -1) + 1
                seen[layer] = f"base_model/{kind}{f'_{numbers[kind]}' if numbers[kind] else ''}"
            name = seen[layer]
        elif layer.startswith("projection_head/"):
            word, j = re.fullmatch(r"projection_head/(dense|bn)(\d+)", layer).groups()
            part = "l_0" if model.projection_head.mode == "linear" else f"nl_{int(j) - 1}"
            name = f"head_contrastive/{part}/{'dense' if word == 'dense' else 'batch_normalization'}"
        else:
            name = "head_supervised/linear_layer/dense"
        value = variable.numpy()
        # Its squeeze-excitation has 1x1 convolutions.
        tree[f"{name}/{role}"] = value[None, None] if "/se/" in layer and role == "kernel" else value
    return tree
