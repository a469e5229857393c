"""Leaf: Keras must run on TensorFlow here; says so in one line when it is set to another backend."""

import json
import os
import pathlib
import sys

from simclr_keras.errors import InputError


def require_tensorflow():
    """Raises InputError when Keras is, or would be, started on another backend than TensorFlow.

    Reads Keras' own settings in Keras' own order (loaded module, KERAS_BACKEND, keras.json) without
    importing Keras, so the answer comes before the seconds an import takes.
    """
    backend = configured_backend()
    if backend != "tensorflow":
        raise InputError(
            f"simclr_keras needs Keras on TensorFlow, but Keras is set to the backend {backend!r}. "
            "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
        )


def configured_backend():
    """Returns the name of the backend Keras runs on, or would run on if it were imported now."""
    if "keras" in sys.modules and hasattr(sys.modules["keras"], "config"):
        return sys.modules["keras"].config.backend()
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras")
    try:
        return json.loads((home / "keras.json").read_text()).get("backend", "tensorflow")
    except (OSError, ValueError):
        return "tensorflow"
