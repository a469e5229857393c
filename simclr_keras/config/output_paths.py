"""Checks of the files that a command will write, made before any work. Imports no TensorFlow."""

import os
import pathlib

from simclr_keras.errors import InputError


def check_file(path: str, endings: str | tuple[str, ...], overwrite: bool, flag: str = "out") -> None:
    """Raise InputError unless a local file can be written.

    Args:
        endings: those it may have. flag: that gives the path, for messages.
    """
    endings = (endings,) if isinstance(endings, str) else endings
    if not path.lower().endswith(endings):
        raise InputError(f"--{flag}={path} must end in {' or '.join(endings)}.")
    check_local(path, "file", flag)
    check_parent(path, flag)
    if os.path.isdir(path):
        raise InputError(f"--{flag}={path} is a folder; give a file.")
    if os.path.exists(path) and not overwrite:
        raise InputError(f"--{flag}={path} exists; give another name, or --overwrite to replace it.")


def check_local(path: str, kind: str, flag: str = "out") -> None:
    """Raise InputError if a path is remote. `kind` is what the path names: file or folder."""
    if "://" in path:
        raise InputError(f"--{flag}={path} is remote; give a local {kind}, and copy it afterwards.")


def check_parent(path: str, flag: str = "out") -> None:
    """Raise InputError unless the parent folder of a path exists and is writable."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise InputError(
            f"--{flag}={path}: the folder {folder} does not exist; create it, or give another path."
        )
    if not os.access(folder, os.W_OK):
        raise InputError(f"--{flag}={path}: the folder {folder} is not writable; give another path.")


def check_no_pattern(path: str, argument: str) -> None:
    """Raise InputError, naming the argument, if TensorFlow could not read variables below a path."""
    separators = {os.sep, os.altsep}  # Windows writes paths with the backslash
    if any(character in path for character in {*"*?[]\\"} - separators):
        raise InputError(
            f"{argument}={path} contains one of * ? [ ] \\, which TensorFlow takes for a pattern when it reads "
            "checkpoints; give a path without them."
        )


def path_inside(folder: str, dataset: str) -> tuple[str, ...] | None:
    """Return the parts of a path within the local folder of a dataset; None if it is outside, or for other data."""
    kind, _, path = dataset.partition(":")
    if kind != "folder" or "://" in path or "://" in folder:
        return None
    images, inner = (pathlib.Path(os.path.realpath(place)) for place in (path, folder))
    return inner.relative_to(images).parts if inner.is_relative_to(images) else None


def check_outside(folder: str, dataset: str, flag: str) -> None:
    """Raise InputError, naming the flag, if a folder is inside that of a dataset: its pictures would become images."""
    if path_inside(folder, dataset) is not None:
        raise InputError(
            f"--{flag}={folder} is inside the folder of --dataset={dataset}, where its pictures would become images; "
            "give a folder outside of it."
        )


def check_run_dir(path: str | None, flag: str, stage: str) -> None:
    """Raise InputError if a local run directory does not exist; remote ones are checked when they are read.

    The message names the flag and the stage that makes such a run.
    """
    if path and "://" not in path and not os.path.exists(path):
        raise InputError(
            f"--{flag}={path} is not a run directory (not found); give the --model_dir of {stage}."
        )
