"""`simclr doctor`: what this machine and this installation can do, and what is missing for which feature."""

import dataclasses
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator

from simclr_keras import packages
from simclr_keras.backend import has_nvidia_gpu, start_tensorflow_quietly
from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings
from simclr_keras.errors import InputError
from simclr_keras.files import is_remote
from simclr_keras.formatting import counted
from simclr_keras.interop.fetching.addresses import cache_folder
from simclr_keras.version import __version__

INTRODUCTION = """\
Lists versions, devices, the precision and the reason for it, caches, free disk space, and the
packages that are missing for a feature. Put its output into a bug report. It sends nothing.

Exit codes: 0 everything that training needs is there; 2 something is missing."""

REQUIRED = ("keras", "numpy", "absl-py", "filelock", "h5py")


@dataclasses.dataclass(frozen=True)
class DoctorConfig(Settings):
    """The flags of doctor: none of its own."""


def doctor(config: DoctorConfig) -> None:
    """Print the findings.

    Raises:
        InputError: TensorFlow or a package that training needs is missing.
    """
    absent = packages.missing()
    for heading, lines in (
        ("versions", versions(absent)),
        ("missing", missing(absent)),
        ("files", folders()),
    ):
        _print(heading, lines)
    if "tensorflow" in absent:
        raise InputError(packages.remedy("tensorflow"))
    start_tensorflow_quietly()
    for heading, lines in (("devices", devices()), ("numbers", numbers())):
        _print(heading, lines)
    needed = [module for module in packages.TRAINING if module in absent]
    if needed:
        raise InputError(packages.remedy(needed[0]))


def _print(heading: str, lines: Iterator[str]) -> None:
    for number, line in enumerate(lines):
        print(f"{heading if number == 0 else '':<10}{line}", flush=True)


def versions(absent: list[str]) -> Iterator[str]:
    """Yield the system and the versions of all packages. absent: modules that are not installed."""
    yield f"simclr_keras {__version__}, Python {platform.python_version()} ({sys.executable})"
    yield f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} processors"
    optional = [package.name for module, package in packages.PACKAGES.items() if module not in absent]
    # A version stays with its name.
    whole = ", ".join(f"{name}\u00a0{_version(name)}" for name in [*REQUIRED, *optional])
    yield from (line.replace("\u00a0", " ") for line in textwrap.wrap(whole, 88, break_on_hyphens=False))


def _version(name: str) -> str:
    import importlib.metadata  # help is quicker without

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # tensorflow has several distributions
        return "(version unknown)".replace(" ", "\u00a0")


def missing(absent: list[str]) -> Iterator[str]:
    """Yield a line for every missing package. absent: modules that are not installed."""
    yield from (packages.remedy(module) for module in absent)
    if not absent:
        yield "no package"


def folders() -> Iterator[str]:
    """Yield the folders that are written, with the free space of their disks."""
    home = os.path.expanduser("~")
    for what, path in (
        ("this folder", os.getcwd()),
        ("cache", cache_folder()),
        ("TensorFlow Datasets", os.environ.get("TFDS_DATA_DIR") or os.path.join(home, "tensorflow_datasets")),
        ("Keras", os.environ.get("KERAS_HOME") or os.path.join(home, ".keras")),
        ("temporary files", tempfile.gettempdir()),
    ):
        folder = pathlib.Path(path).expanduser().absolute()
        existing = next((parent for parent in (folder, *folder.parents) if parent.exists()), None)
        if is_remote(path) or existing is None:
            yield f"{what}: {path}"
            continue
        free = shutil.disk_usage(existing).free / 2**30
        state = "" if existing == folder else ", not made yet"
        state += "" if os.access(existing, os.W_OK) else ", not writable: choose another folder"
        yield f"{what}: {path}{state}, {free:,.1f} GB free"


def devices() -> Iterator[str]:
    """Yield the devices that TensorFlow uses, the precision for them, and why a GPU is not used."""
    import tensorflow as tf

    from simclr_keras.training.engine import strategy as strategies

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, details.get("compute_capability", ("unknown",))))
        yield f"{gpu.name}: {details.get('device_name', 'GPU')}, compute capability {capability}"
    if not gpus:
        yield "no GPU; the CPU is used"
        if reason := unused_gpu(tf.test.is_built_with_cuda()):
            yield reason
    used = tf.distribute.get_strategy()
    precision, reason = strategies.fastest_precision(used)
    yield f"--precision=auto is {precision}: {reason}"


def unused_gpu(has_cuda: bool) -> str | None:
    """Return why TensorFlow does not use the NVIDIA GPU, and what to do; None if there is no GPU."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1", "NoDevFiles"):
        return f"CUDA_VISIBLE_DEVICES={hidden} hides all GPUs from TensorFlow: unset it to use one"
    if sys.platform == "win32" and shutil.which("nvidia-smi"):
        return (
            "an NVIDIA GPU is unused: TensorFlow has no GPU support on Windows; use its Linux subsystem, WSL2"
        )
    if not has_nvidia_gpu():
        return None
    command = 'pip install "tensorflow[and-cuda]"'
    if not has_cuda:
        return f"an NVIDIA GPU is unused: this TensorFlow is built without CUDA; replace it with: {command}"
    return (
        f"an NVIDIA GPU is unused: the CUDA libraries are missing or do not fit the driver; run {command}, then "
        "nvidia-smi to see whether the driver works"
    )


def numbers() -> Iterator[str]:
    """Yield the libraries that multiply matrices, and their threads."""
    import tensorflow as tf

    one_dnn = "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "on"
    threads = tf.config.threading.get_intra_op_parallelism_threads() or "one per processor"
    yield f"TensorFlow: threads {threads}, oneDNN {one_dnn} (TF_ENABLE_ONEDNN_OPTS)"
    if "threadpoolctl" not in packages.missing(("threadpoolctl",)):
        import threadpoolctl

        for library in threadpoolctl.threadpool_info():
            name = " ".join(filter(None, (library["internal_api"], library["version"])))
            yield f"{library['user_api']}: {name}, {counted(library['num_threads'], 'thread')}"


COMMAND = Command("doctor", INTRODUCTION, DoctorConfig, doctor, tensorflow=False)
