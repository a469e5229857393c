"""Start TensorFlow quietly, and refuse another Keras backend in one line."""

import contextlib
import importlib.util
import json
import logging
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from simclr_keras.errors import InputError

UNUSED_GPU = (
    "This machine has an NVIDIA GPU that TensorFlow does not use, so the work is done on the CPU; install its CUDA "
    'libraries with: pip install "tensorflow[and-cuda]" (if they are installed, update the NVIDIA driver). To hide '
    "this line, set CUDA_VISIBLE_DEVICES=-1."
)

_is_quiet = False  # whether TensorFlow was started quietly


def require_tensorflow() -> None:
    """Raise InputError if Keras is, or would be, started on another backend than TensorFlow.

    Reads Keras' own settings in Keras' own order (loaded module, KERAS_BACKEND, keras.json) without
    importing Keras, so the answer comes before the seconds an import takes.
    """
    ignore_missing_plot_backend()
    backend = configured_backend()
    if backend != "tensorflow":
        raise InputError(
            f"simclr_keras needs Keras on TensorFlow, but Keras is set to the backend {backend!r}. "
            "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
        )


def configured_backend() -> str:
    """Return the name of the backend that Keras runs on, or would run on if imported now."""
    if "keras" in sys.modules and hasattr(sys.modules["keras"], "config"):
        return sys.modules["keras"].config.backend()
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras")
    try:
        return json.loads((home / "keras.json").read_text()).get("backend", "tensorflow")
    except (OSError, ValueError):
        return "tensorflow"


def start_tensorflow_quietly(devices: bool = True) -> None:
    """Import TensorFlow without its start-up messages, which come before its own settings apply.

    If the user sets TF_CPP_MIN_LOG_LEVEL, that level applies instead. If the import fails, all messages are shown.
    oneDNN is used for convolutions on every processor, unless TF_ENABLE_ONEDNN_OPTS is 0.
    One line on the standard error names a GPU that TensorFlow does not use.

    Args:
        devices: whether to start its devices, too; False if they are still to be set, see `quiet_start`.

    Raises:
        InputError: Keras is set to another backend.
    """
    require_tensorflow()
    if "tensorflow" not in sys.modules:
        _start_tensorflow()
        if has_nvidia_gpu():
            import tensorflow as tf

            if not tf.config.list_physical_devices("GPU") and sys.stderr is not None:
                print(UNUSED_GPU, file=sys.stderr, flush=True)
    if devices and _is_quiet:
        with quiet_start():
            import tensorflow as tf

            tf.config.list_logical_devices()


def has_nvidia_gpu(root: str = "/") -> bool:
    """Return whether the NVIDIA driver lists a GPU that the user has not hidden from CUDA.

    Args:
        root: folder that contains proc/ and dev/.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles"):
        return False
    # /dev/dxg is the GPU of Windows, seen from its Linux subsystem.
    patterns = ("proc/driver/nvidia/gpus/*", "dev/nvidia[0-9]*", "dev/dxg")
    return any(path for pattern in patterns for path in pathlib.Path(root).glob(pattern))


def _start_tensorflow() -> None:
    global _is_quiet
    # TensorFlow itself does so on processors with AVX512-VNNI or newer; those with AVX2 train almost twice as fast.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        with _without_optional_packages():
            import tensorflow  # noqa: F401

        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with _hidden_messages(), _without_optional_packages():
        import tensorflow as tf

        tf.config.list_physical_devices()  # does not start them, but loads the libraries that write most
        # Or it warns, in a hundred words, of functions that are traced again for another network.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Programs that this one starts would take it for the user's choice, and not start quietly. Here it was read.
    del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    _is_quiet = True


@contextlib.contextmanager
def _without_optional_packages() -> Iterator[None]:
    """Make packages appear missing that Keras imports, if they are installed, for functions that are not used here.

    They are a third of the time that its import takes. Whoever needs them can import them after the block.
    """
    hidden = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def quiet_start() -> contextlib.AbstractContextManager:
    """Hide TensorFlow's messages while the block runs, if its import was quiet; show them if the block fails."""
    return _hidden_messages() if _is_quiet else contextlib.nullcontext()


@contextlib.contextmanager
def _hidden_messages() -> Iterator[None]:
    with tempfile.TemporaryFile() as messages:
        try:
            with standard_error_into(messages):
                yield
        except InputError:
            raise
        except Exception:
            messages.seek(0)
            if sys.stderr is not None:
                sys.stderr.write(messages.read().decode(errors="replace"))
            raise


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Compute in whole float32: newer GPUs round to the 10 bits of TF32, by 1e-3, which no comparison here allows."""
    import tensorflow as tf

    was_enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(was_enabled)


@contextlib.contextmanager
def custom_gradients_freed() -> Iterator[None]:
    """Free, at the end of the block, the graphs that were traced in it, with their networks.

    TensorFlow keeps every tf.custom_gradient that it has traced, and by it the whole graph, until the process ends.
    What was traced in the block can still be called afterwards, but no longer be differentiated.
    """
    from tensorflow.python.framework.ops import gradient_registry

    before = set(gradient_registry.list())
    try:
        yield
    finally:
        for name in set(gradient_registry.list()) - before:
            if name.startswith("CustomGradient-"):
                del gradient_registry._registry[name]


def ignore_missing_plot_backend() -> None:
    """Unset MPLBACKEND if it names a module that is missing: TensorFlow imports matplotlib, which would fail.

    Notebooks set it for all programs that they start, also for those in environments without their module.
    """
    kind, _, module = os.environ.get("MPLBACKEND", "").partition("://")
    package = module.partition(".")[0]
    if kind == "module" and not (package and importlib.util.find_spec(package)):
        del os.environ["MPLBACKEND"]


@contextlib.contextmanager
def standard_error_into(file: IO) -> Iterator[None]:
    """Send file descriptor 2 to `file`: TensorFlow's C++ writes there, past sys.stderr.

    Do nothing if the process has no standard error: its descriptor 2 is closed, or belongs to another file.
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
