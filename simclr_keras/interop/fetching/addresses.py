"""The addresses that stand for a run directory: published:NAME, torch:FILE, hf://USER/REPO. Imports no TensorFlow."""

import difflib
import os
import re

from simclr_keras.config.output_paths import check_run_dir
from simclr_keras.errors import InputError
from simclr_keras.interop.categories import CATEGORIES
from simclr_keras.models.zoo import PUBLISHED as MODELS

PUBLISHED, TORCH, HUGGING_FACE = "published:", "torch:", "hf://"
DEFAULT_CATEGORY = "pretrained"
NAMES = tuple(f"{category}/{model}" for category in CATEGORIES for model in MODELS)


def check_address(address: str | None, flag: str, stage: str) -> None:
    """Raise InputError if a flag contains an unknown name, or a local run directory that does not exist.

    The message names the flag and the stage that makes such a run.
    """
    if address and address.startswith(PUBLISHED):
        published_name(address, f"--{flag}")
    elif address and address.startswith(HUGGING_FACE):
        repository(address, f"--{flag}")
    elif address and address.startswith(TORCH):
        if not os.path.isfile(address.removeprefix(TORCH)):
            raise InputError(
                f"--{flag}={address} is not found; give torch:FILE.safetensors of PyTorch's weights."
            )
    else:
        check_run_dir(address, flag, stage)


def published_name(address: str, argument: str = "path") -> str:
    """Return CATEGORY/MODEL of published:NAME, in which the category may be missing: it is then pretrained.

    >>> from simclr_keras.interop.fetching.addresses import published_name
    >>> published_name("published:r50_1x_sk0")
    'pretrained/r50_1x_sk0'

    Raises:
        InputError: nothing of that name was published; the message gives the closest names.
    """
    name = address.removeprefix(PUBLISHED).strip("/")
    whole = find_published(name)
    if whole:
        return whole
    raise InputError(f"{argument}={address} is unknown: {closest(name)}")


def find_published(name: str) -> str | None:
    """Return CATEGORY/MODEL if a name is that of a published network, with or without its category, else None."""
    whole = name if "/" in name else f"{DEFAULT_CATEGORY}/{name}"
    return whole if whole in NAMES else None


def looks_published(name: str) -> bool:
    """Return whether a text is like a published name, right or misspelled: r50_1x_sk0, CATEGORY/r50_1x_sk0."""
    return re.fullmatch(r"([\w.-]+/)?r\d+_[\w.]*x?_?[\w.]*", name) is not None


def closest(name: str) -> str:
    """Return the published names that were probably meant, as the end of a message."""
    names = NAMES if "/" in name else (*MODELS, *NAMES)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if not close:
        return f"give a name such as {NAMES[0]} or finetuned_1pct/r50_1x_sk0."
    *first, last = close
    return f"did you mean {', '.join(first)}{' or ' if first else ''}{last}?"


def repository(address: str, argument: str = "path") -> tuple[str, str | None]:
    """Return (USER/REPO, revision or None) of hf://USER/REPO or hf://USER/REPO@REVISION.

    Raises:
        InputError: it is not of that form.
    """
    name, _, revision = address.removeprefix(HUGGING_FACE).strip("/").partition("@")
    parts = name.split("/")
    if len(parts) != 2 or not all(parts) or ("@" in address and not revision):
        raise InputError(
            f"{argument}={address} is not an address of the Hugging Face Hub; give hf://USER/REPO, or "
            "hf://USER/REPO@REVISION."
        )
    return name, revision or None


def cache_folder() -> str:
    """Return the folder of downloaded files: SIMCLR_KERAS_CACHE, or ~/.cache/simclr_keras/published."""
    own = os.environ.get("SIMCLR_KERAS_CACHE")
    if own:
        return os.path.abspath(os.path.expanduser(own))
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "simclr_keras", "published")
