"""The names in a TF1 checkpoint of the release: base_model/conv2d_7/kernel, head_contrastive/..., head_supervised/...

Convolutions and normalizations are numbered apart from 0, in the order of creation. ema_model/ holds a moving average
of the same tree; */Momentum, memory* and global_step belong to training.
"""

import re

from simclr_keras.interop.keys import ROLES, Entry, Sorted, fits, number, of_one_head, same_shape
from simclr_keras.interop.layers import CLASSIFIER, CONV, HEAD_DENSE, HEAD_NORM, NORM

NAME = "TF1 checkpoint"
EMA = "ema_model/"
_ENCODER = re.compile(rf"base_model/(conv2d|batch_normalization)(?:_(\d+))?/{ROLES}")
_HEAD = re.compile(rf"head_contrastive/(nl_\d+|l_0)/(dense|batch_normalization)/{ROLES}")
_CLASSIFIER = re.compile(r"head_supervised/linear_layer/dense/(kernel|bias)")
_SLOT = re.compile(r"(.+?)(?:/LARSOptimizer)?/(?:Momentum|Adam|Adam_1)")
_TRAINING = re.compile(r"global_step|beta[12]_power|memory.*")


def sort_keys(shapes: dict, ema: bool = False) -> Sorted:
    """Return the Sorted of the keys of a file, whose shapes are given by key.

    An optimizer's slot is left out if the file holds its variable, of the same shape; so is a moving average that is
    not wanted, whose tree may be incomplete. The network itself is not looked at if the average (`ema`) is wanted.
    """
    result = Sorted([], {}, [])
    for key in sorted(shapes):
        slot = _SLOT.fullmatch(key)
        bare = key.removeprefix(EMA)
        if _TRAINING.fullmatch(key):
            result.skipped[key] = "training"
        elif slot and _entry(slot[1].removeprefix(EMA), key) and same_shape(key, slot[1], shapes):
            result.skipped[key] = "optimizer"
        elif not (entry := _entry(bare, key)):
            result.unknown.append(key)
        elif ema == key.startswith(EMA):
            result.entries.append(entry)
        elif ema:
            # The average has no classifier of its own in some files; the one there is was trained on the other network.
            result.skipped[key] = "network itself"
        elif same_shape(key, bare, shapes):
            result.skipped[key] = "moving average"
        else:
            result.unknown.append(key)
    return of_one_head(result)


def _entry(name, key):
    """Return the Entry of a name without ema_model/, None if it is no variable of the network."""
    if match := _ENCODER.fullmatch(name):
        kind = CONV if match[1] == "conv2d" else NORM
        return Entry(kind, number(match[2]), match[3], key) if fits(kind, match[3]) else None
    if match := _HEAD.fullmatch(name):
        kind, role = (HEAD_DENSE if match[2] == "dense" else HEAD_NORM), match[3]
        return Entry(kind, int(match[1].rpartition("_")[2]), role, key) if fits(kind, role) else None
    if match := _CLASSIFIER.fullmatch(name):
        return Entry(CLASSIFIER, 0, match[1], key)
    return None


def numberings(entries: list, layers: tuple) -> list[dict]:
    """Return the ways to read the places of one kind as indices into its layers: here the place is the index."""
    return [{entry.place: entry.place for entry in entries}]
