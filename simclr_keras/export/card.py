"""card.json, the card of an export for programs: what it is, its preprocessing, and the results of its training."""

import json
import re

import keras
import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.endpoints import OF_CLASSES
from simclr_keras.export.export_folder import CARD, FORMAT
from simclr_keras.export.formats.names import CLASS_NAMES
from simclr_keras.preprocess import CROP_PROPORTION, LARGEST_SIZE_WITHOUT_CROP
from simclr_keras.version import __version__

FORMAT_VERSION = 1
_FROM_RUN = ("class_names", "stage", "run", "checkpoint", "step")
_FROM_RUN += ("results", "training", "history", "ancestors", "license")
_REMOVABLE = ("num_classes", "head_layer", "kept_head_layers")


def make_card(model: keras.Model, about: dict, endpoints: dict, files: list[dict]) -> dict:
    """Return the content of card.json.

    Args:
        model: the exported SimCLRModel.
        about: dict of architecture (arguments of `create_model`), image_size, antialias (of the evaluation images),
            class_names, stage, run, checkpoint, step, results, training (settings), history (rows of metrics.csv),
            ancestors and license; and ema, if the
            weights are those of the momentum network. The results remain those of the trained network, and
            `results_of_ema` on the card states this.
        endpoints: dict of name to (endpoint, shape).
        files: list of dicts, one for each file: format, file, and the result of its check.
    """
    size, config = about["image_size"], model.get_config()
    encoder_range = getattr(model.encoder, "pixel_range", None)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "model": about["architecture"]["name"],
        # Layers that no endpoint needs may have been removed.
        "architecture": about["architecture"] | {name: config[name] for name in _REMOVABLE},
        "parameters": model.count_params(),
        "encoder_parameters": model.encoder.count_params(),
        "image_size": size,
        "preprocessing": {
            "channels": "RGB",
            "range": [0, 1],
            "resize": "bicubic",
            "antialias": about["antialias"],
            "crop_proportion": CROP_PROPORTION if size > LARGEST_SIZE_WITHOUT_CROP else None,
            # What the network makes of [0, 1] itself, before its first layer.
            **({"encoder_range": encoder_range} if encoder_range else {}),
        },
        "endpoints": {
            name: {"output": endpoint, "shape": shape, "dtype": "float32"}
            | ({"stop_gradient": True} if name in OF_CLASSES and model.stop_gradient else {})
            for name, (endpoint, shape) in endpoints.items()
        },
        **{name: about[name] for name in _FROM_RUN},
        **({"ema": True, "results_of_ema": False} if about.get("ema") else {}),
        "files": files,
    }


def as_json(card: dict) -> str:
    return json.dumps(card, indent=2) + "\n"


def read_card(folder: str) -> dict:
    """Return the content of an export's card.json; empty if there is none, or another program wrote it.

    Raises:
        InputError: it is damaged.
    """
    path = f"{folder}/{CARD}"
    if not tf.io.gfile.exists(path):
        return {}
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            card = json.loads(file.read())
        if not isinstance(card, dict) or card.get("format") != FORMAT:
            return {}
        wrong = next((name for name, is_right in _CHECKS.items() if not is_right(card.get(name))), None)
        if wrong:
            raise ValueError(f"{wrong} has the wrong type")
    except (ValueError, RecursionError, tf.errors.OpError) as error:
        raise InputError(f"{path} is damaged ({one_line(error)}); export the run again.") from error
    if "licence" in card:  # cards of earlier versions
        card["license"] = card.pop("licence")
    return card


def read_class_names(folder: str, card: dict) -> tuple[str, ...] | None:
    """Return the class names on an export's card, or in its asset; None if neither has them.

    Raises:
        InputError: the asset is damaged.
    """
    if card.get("class_names") is not None:
        return tuple(card["class_names"])
    asset = f"{folder}/assets/{CLASS_NAMES}"
    if not tf.io.gfile.exists(asset):
        return None
    try:
        with tf.io.gfile.GFile(asset, "rb") as file:
            lines = file.read().decode()
    except (UnicodeDecodeError, tf.errors.OpError) as error:
        raise InputError(f"{asset} is damaged ({one_line(error)}); export the run again.") from error
    return tuple(re.split(r"\r?\n", lines.rstrip("\r\n")))


def is_antialiased(card: dict) -> bool:
    """Return whether evaluation images were antialiased when they shrank."""
    return bool((card.get("preprocessing") or {}).get("antialias"))


def _is_architecture(value):
    return not value or (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("image_size"), int)
    )


def _are_names(value):
    return value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value))


_CHECKS = {
    "image_size": lambda value: value is None or (type(value) is int and value > 0),
    "class_names": _are_names,
    "architecture": _is_architecture,
    "preprocessing": lambda value: isinstance(value, dict | None),
    "results": lambda value: isinstance(value, dict | None),
    "stage": lambda value: isinstance(value, str | None),
    "checkpoint": lambda value: isinstance(value, str | None),
}
