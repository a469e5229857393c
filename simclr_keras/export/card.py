"""The card of an export for programs: what it is, how it wants its images, what came out of its training."""

import json

import keras
import tensorflow as tf

from simclr_keras.export.endpoints import LOGITS
from simclr_keras.export.export_folder import FORMAT
from simclr_keras.preprocess import CROP_PROPORTION, LARGEST_SIZE_WITHOUT_CROP
from simclr_keras.version import __version__

FORMAT_VERSION = 1
_TOLD = (
    "class_names",
    "stage",
    "run",
    "checkpoint",
    "step",
    "results",
    "training",
    "history",
    "ancestors",
    "license",
)
_CUT = ("num_classes", "head_layer", "kept_head_layers")


def make_card(model, about, endpoints, files):
    """Returns the card as card.json holds it.

    Args:
        model: the exported SimCLRModel.
        about: dict of architecture (arguments of `create_model`), image_size, class_names, stage, run, checkpoint,
            step, results, training (settings), history (rows of metrics.csv), ancestors and license.
        endpoints: dict of name to (endpoint, shape).
        files: list of dicts, one of each file: format, file, and what its check found.
    """
    size, config = about["image_size"], model.get_config()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "model": about["architecture"]["name"],
        # Layers may have been left out.
        "architecture": about["architecture"] | {name: config[name] for name in _CUT},
        "parameters": model.count_params(),
        "encoder_parameters": model.encoder.count_params(),
        "image_size": size,
        "preprocessing": {
            "channels": "RGB",
            "range": [0, 1],
            "resize": "bicubic",
            "crop_proportion": CROP_PROPORTION if size > LARGEST_SIZE_WITHOUT_CROP else None,
        },
        "endpoints": {
            name: {"output": endpoint, "shape": shape, "dtype": "float32"}
            | ({"stop_gradient": True} if name == LOGITS and model.stop_gradient else {})
            for name, (endpoint, shape) in endpoints.items()
        },
        **{name: about[name] for name in _TOLD},
        "files": files,
    }


def as_json(card):
    return json.dumps(card, indent=2) + "\n"
