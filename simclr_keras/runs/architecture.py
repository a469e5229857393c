"""A run's architecture: the arguments of `create_model` that rebuild its network, kept in model.json."""

import json

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import MIN_IMAGE_SIZE, check_name, create_model

FILE = "model.json"


def of_pretraining(config, num_classes):
    """The architecture a PretrainConfig stands for: encoder, whole head, and a probe where there are classes."""
    return {
        "name": config.model,
        "num_classes": num_classes,
        "proj_layers": config.proj_layers,
        "proj_dim": config.proj_dim,
        "proj_mode": config.proj_mode,
        "proj_hidden_dim": config.proj_hidden_dim,
        "image_size": config.image_size,
        "se_ratio": config.se_ratio,
        "head_layer": config.probe_layer,
        "stop_gradient": True,
    }


def of_classifier(config, num_classes):
    """The architecture of a network trained from scratch to classify: no projection head."""
    return {
        "name": config.model,
        "num_classes": num_classes,
        "proj_mode": "none",
        "image_size": config.image_size,
        "se_ratio": config.se_ratio,
        **({"dense_layers": config.dense_widths} if config.model.startswith("keras:") else {}),
    }


def with_classifier(architecture, num_classes, head_layer, *, keep_head=False, stop_gradient=False):
    """The same encoder with a classifier on a layer of its projection head; the layers above it are dropped.

    Args:
        architecture: of the run that is gone on from.
        num_classes: of the new classifier.
        head_layer: 0 .. `head_depth(architecture)`.
        keep_head: whether the layers above stay.
        stop_gradient: whether the classifier leaves the network alone.
    """
    kept = architecture.get("kept_head_layers") if keep_head else head_layer
    return {
        **architecture,
        "num_classes": num_classes,
        "head_layer": head_layer,
        "kept_head_layers": kept,
        "stop_gradient": stop_gradient,
    }


def head_depth(architecture):
    """Layers of the projection head, those that were dropped not counted."""
    mode = architecture.get("proj_mode", "nonlinear")
    whole = {"nonlinear": architecture.get("proj_layers", 3), "linear": 1, "none": 0}[mode]
    kept = architecture.get("kept_head_layers")
    return whole if kept is None else min(whole, kept)


def build(architecture, dtype="float32", **arguments):
    """Returns the network with fresh weights. arguments: of `create_model`, beside the architecture's."""
    return create_model(**{**architecture, **arguments}, dtype=dtype)


def write(run_dir, architecture):
    run_dir.write_text(FILE, json.dumps(architecture, indent=2) + "\n")


def read(run_dir):
    """Returns a run's architecture; None where it was written before there was a model.json.

    Raises:
        InputError: the file holds something else.
    """
    held = run_dir.read_json(FILE)
    if held is None:
        return None
    for name, value in held.items():
        if name not in _KNOWN or not _KNOWN[name](value):
            raise run_dir.damaged(FILE, f"{name} is {value!r}")
    if not {"name", "image_size"} <= held.keys():
        raise run_dir.damaged(FILE, "it has no name or image_size")
    if held.get("head_layer", 0) > head_depth(held):
        raise run_dir.damaged(FILE, f"head_layer is {held['head_layer']}, of {head_depth(held)} layers")
    return held


def _whole(least, optional=False):
    """A test for a whole number of at least so much, or None where it is optional."""
    return lambda value: (optional and value is None) or (type(value) is int and value >= least)


def _is_name(value):
    try:
        check_name(value)
    except InputError:
        return False
    return True


_KNOWN = {
    "name": _is_name,
    "num_classes": _whole(1, optional=True),
    "proj_layers": _whole(0),
    "proj_dim": _whole(1),
    "proj_mode": lambda value: value in ("nonlinear", "linear", "none"),
    "proj_hidden_dim": _whole(1, optional=True),
    "image_size": _whole(MIN_IMAGE_SIZE),
    "se_ratio": lambda value: type(value) in (int, float) and 0 <= value <= 1,
    "head_layer": _whole(0),
    "kept_head_layers": _whole(0, optional=True),
    "stop_gradient": lambda value: type(value) is bool,
    "dense_layers": lambda value: type(value) is list and all(map(_whole(1), value)),
}
