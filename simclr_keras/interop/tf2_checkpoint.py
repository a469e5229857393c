"""The keys in a TF2 training checkpoint of the release: object paths, model/resnet_model/.../kernel/.ATTRIBUTES/..."""

import re

from simclr_keras.interop.keys import ROLES, Entry, Sorted, fits, same_shape
from simclr_keras.interop.layers import CLASSIFIER, CONV, HEAD_DENSE, HEAD_NORM, NORM

NAME = "TF2 training checkpoint"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ENCODER = re.compile(rf"model/resnet_model/((?:initial_conv_relu_max_pool|block_groups)/.+)/{ROLES}")
_HEAD = re.compile(rf"model/_projection_head/linear_layers/(\d+)/(dense|bn_relu/bn)/{ROLES}")
_CLASSIFIER = re.compile(r"model/supervised_head/linear_layer/dense/(kernel|bias)")
_SLOT = re.compile(r"(.+)/\.OPTIMIZER_SLOT/optimizer/\w+")
_TRAINING = re.compile(
    r"global_step|save_counter|optimizer/(iter|learning_rate|decay|momentum|beta_1|beta_2|epsilon)"
)


def sort_keys(shapes: dict, ema: bool = False) -> Sorted:
    """Return the Sorted of the keys of a file; this format has no moving average, and `ema` is ignored.

    An optimizer's slot is left out if the file holds its variable, of the same shape.
    """
    result = Sorted([], {}, [])
    for key in sorted(shapes):
        name = key.removesuffix(VALUE)
        slot = _SLOT.fullmatch(name)
        if key == GRAPH or (name != key and _TRAINING.fullmatch(name)):
            result.skipped[key] = "training"
        elif name != key and slot and _entry(slot[1], key) and same_shape(key, f"{slot[1]}{VALUE}", shapes):
            result.skipped[key] = "optimizer"
        elif name != key and not slot and (entry := _entry(name, key)):
            result.entries.append(entry)
        else:
            result.unknown.append(key)
    return result


def _entry(name, key):
    if match := _ENCODER.fullmatch(name):
        kind = NORM if match[1].endswith("/bn") else CONV
        return Entry(kind, match[1], match[2], key) if fits(kind, match[2]) else None
    if match := _HEAD.fullmatch(name):
        kind = HEAD_DENSE if match[2] == "dense" else HEAD_NORM
        return Entry(kind, int(match[1]), match[3], key) if fits(kind, match[3]) else None
    if match := _CLASSIFIER.fullmatch(name):
        return Entry(CLASSIFIER, 0, match[1], key)
    return None


def numberings(entries: list, layers: tuple) -> list[dict]:
    """Return the ways to read the places of one kind as indices into its layers; an encoder's are object paths."""
    if layers and layers[0].path:
        return [{layer.path: index for index, layer in enumerate(layers)}]
    return [{entry.place: entry.place for entry in entries}]
