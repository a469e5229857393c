"""Leaf: starts TensorFlow: says so in one line when Keras is set to another backend, and starts it quietly."""

import contextlib
import json
import logging
import os
import pathlib
import sys
import tempfile

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


def start_tensorflow_quietly():
    """Imports TensorFlow without its start-up chatter, which it writes before any setting of its own is heard.

    A user who sets TF_CPP_MIN_LOG_LEVEL gets everything that level gives. If the import fails, what was held back
    is shown.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        import tensorflow  # noqa: F401

        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with tempfile.TemporaryFile() as held:
        try:
            with standard_error_into(held):
                import tensorflow as tf

                tf.config.list_logical_devices()
                # Or it warns, in a hundred words, of functions that are traced again for another network.
                logging.getLogger("tensorflow").setLevel(logging.ERROR)
        except Exception:
            held.seek(0)
            if sys.stderr is not None:
                sys.stderr.write(held.read().decode(errors="replace"))
            raise


@contextlib.contextmanager
def standard_error_into(file):
    """Sends file descriptor 2 to `file`: TensorFlow's C++ writes there, past sys.stderr.

    A process without a standard error is left alone: its descriptor 2 is closed, or that of any other file.
    """
    if sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
