"""Repositories of the Hugging Face Hub, by the package huggingface_hub if it is installed."""

from simclr_keras import packages
from simclr_keras.errors import InputError, one_line
from simclr_keras.interop.fetching.addresses import repository

# Pickles, which are never read from there, and what other programs read.
IGNORED = [
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.pickle",
    "*.msgpack",
    "*.onnx",
    "*.tflite",
    "*.gguf",
]


def fetch_repository(address: str, argument: str = "path") -> str:
    """Return the local folder of hf://USER/REPO[@REVISION], downloaded unless huggingface_hub has it in its cache.

    Raises:
        InputError: the package is missing, the address is of another form, or the repository cannot be downloaded.
    """
    name, revision = repository(address, argument)
    hub = packages.require("huggingface_hub")
    try:
        return hub.snapshot_download(name, revision=revision, ignore_patterns=IGNORED)
    except Exception as error:  # of many kinds: no network, no such repository, no rights
        raise InputError(
            f"{argument}={address} cannot be downloaded ({one_line(error)}); check the name and the network."
        ) from error
