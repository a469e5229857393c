"""Read a file of PyTorch's arrays: safetensors, or a .pth file without running what is in it."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from simclr_keras import packages
from simclr_keras.errors import InputError, one_line

PICKLES = (".pt", ".pth", ".ckpt", ".tar", ".bin")
METADATA = "simclr_keras"  # entry of a safetensors file with what the arrays do not show, as JSON
# Parts of a checkpoint that are no network.
NO_NETWORK = (
    "optimizer",
    "optimizers",
    "optimizer_states",
    "lr_schedulers",
    "scheduler",
    "callbacks",
    "loops",
    "args",
)
CONVERT = (
    "convert it where it was made: safetensors.torch.save_file({name: array.contiguous() for name, array in "
    "model.state_dict().items()}, 'model.safetensors')"
)


def read_arrays(path: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays of a file by name, and what the entry simclr_keras of its metadata contains.

    Floating-point arrays become float32. Nested dicts of a .pth file become names with dots.

    Args:
        path: local .safetensors file; or .pt, .pth, .ckpt, .tar or .bin, which are pickles: they are read by
            torch.load(weights_only=True), if PyTorch is installed.

    Raises:
        InputError: one line: it is missing, damaged, of another kind, or contains more than arrays.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path} is not found; give a .safetensors file.")
    if path.endswith(".safetensors"):
        arrays, about = _of_safetensors(path)
    elif path.endswith(PICKLES):
        arrays, about = _of_pickle(path), {}
    else:
        raise InputError(f"{path} must end in .safetensors, or in {', '.join(PICKLES)}.")
    # NumPy does not count bfloat16 among its floats.
    floats = {name: value for name, value in arrays.items() if value.dtype.kind not in "iub"}
    others = {name: value for name, value in arrays.items() if name not in floats}
    return {**{name: value.astype(np.float32) for name, value in floats.items()}, **others}, about


def _of_safetensors(path: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    safetensors = packages.require("safetensors")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except Exception as error:  # of the package's own kinds
        raise InputError(f"{path} is damaged ({one_line(error)}); fetch or write it again.") from error
    return arrays, about if isinstance(about, dict) else {}


def _of_pickle(path: str) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{path} is a pickle, which is not read without PyTorch; {CONVERT}.") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, depending on the file
        reason = one_line(str(error).partition(". ")[0], 150)
        raise InputError(f"{path} contains more than arrays, or is damaged ({reason}); {CONVERT}.") from error
    arrays: dict[str, np.ndarray] = {}
    _collect(content, "", arrays)
    return arrays


def _collect(content: Any, prefix: str, arrays: dict[str, np.ndarray]) -> None:
    """Add the arrays of nested dicts under names with dots."""
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        if hasattr(value, "detach"):
            value = value.detach()
            arrays[f"{prefix}{name}"] = (value.float() if value.is_floating_point() else value).numpy()
        elif name not in NO_NETWORK:
            _collect(value, f"{prefix}{name}.", arrays)
