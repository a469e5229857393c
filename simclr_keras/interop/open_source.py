"""Open whatever a flag accepts in place of a run directory: the one place that knows these addresses."""

import dataclasses
import glob
from typing import Any

from simclr_keras.config.modes import make_config
from simclr_keras.errors import InputError
from simclr_keras.interop import imported_run
from simclr_keras.interop.fetching.addresses import HUGGING_FACE, PUBLISHED, TORCH, published_name
from simclr_keras.interop.fetching.cache import fetch_published
from simclr_keras.interop.fetching.hugging_face import fetch_repository
from simclr_keras.interop.keras_file import open_keras
from simclr_keras.interop.published import Published, open_published
from simclr_keras.interop.torch_files.open_torch import open_torch
from simclr_keras.runs.ancestors import UNKNOWN
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.open_run import OpenRun, open_run
from simclr_keras.runs.records import ConfigRecord, ResultRecord, SplitRecord
from simclr_keras.runs.run_files import RunFiles, is_run_dir
from simclr_keras.runs.weights import ArrayWeights, checkpoint_option, ema_option
from simclr_keras.version import __version__

KERAS_ENDING = ".keras"


def is_address(address: str) -> bool:
    """Return whether a value is one of the addresses below, rather than a path."""
    return address.startswith((PUBLISHED, TORCH, HUGGING_FACE))


def open_source(
    address: str,
    checkpoint: str = "last",
    flag: str = "init",
    *,
    finished: bool = False,
    ema: bool = False,
) -> OpenRun:
    """Open a run directory, or weights from elsewhere as if they were those of a finished run.

    - published:NAME: a network of the release, downloaded once
    - torch:FILE: a ResNet of PyTorch, see `torch_files.open_torch`
    - FILE.keras: a SimCLRModel saved by Keras, or by simclr export --format=keras
    - hf://USER/REPO: a run directory, or a ResNet of PyTorch in one safetensors file, on the Hugging Face Hub
    - else the path of a run directory

    The other arguments are those of `open_run`.

    Raises:
        InputError: one line: see `open_run`, `open_published` and `fetch_repository`; or weights from elsewhere are
            asked for another checkpoint or a momentum network.
    """
    if not is_address(address) and not address.endswith(KERAS_ENDING):
        return open_run(address, checkpoint, flag, finished=finished, ema=ema)
    if address.startswith(HUGGING_FACE):
        folder = fetch_repository(address, f"--{flag}")
        if is_run_dir(folder):
            run = open_run(folder, checkpoint, flag, finished=finished, ema=ema)
            return dataclasses.replace(run, address=address)
        _check_one_network(address, checkpoint, flag, ema)
        return _of_torch(_only_safetensors(folder, address, flag), address, flag)
    _check_one_network(address, checkpoint, flag, ema)
    if address.startswith(TORCH):
        return _of_torch(address.removeprefix(TORCH), address, flag)
    if not address.startswith(PUBLISHED):
        return _of_keras(address, flag)
    published = open_published(fetch_published(published_name(address, f"--{flag}")))
    return _of_published(published, address, flag)


def _only_safetensors(folder: str, address: str, flag: str) -> str:
    """Return the path of the only safetensors file in the folder of a repository."""
    paths = sorted(glob.glob(f"{glob.escape(folder)}/*.safetensors"))
    if len(paths) != 1:
        raise InputError(
            f"--{flag}={address} contains no run directory, and {len(paths)} safetensors files instead of one. Import "
            f"weights of the release with simclr import --path={address} "
            "--name=pretrained/r50_1x_sk0 or the like; give a file of several as torch:FILE."
        )
    return paths[0]


def _check_one_network(address: str, checkpoint: str, flag: str, ema: bool) -> None:
    """Raise InputError if a choice is made among the networks of a run, of which there is one here."""
    if checkpoint != "last":
        option = checkpoint_option(flag)
        raise InputError(
            f"{option}={checkpoint}: --{flag}={address} has one set of weights; leave {option} out."
        )
    if ema:
        raise InputError(f"--{flag}={address} has no momentum network; leave {ema_option(flag)} out.")


def _of_published(published: Published, address: str, flag: str) -> OpenRun:
    """Return the OpenRun of weights of the release."""
    run = imported_run.make(published, address, origin=PUBLISHED)
    weights = ArrayWeights(address, published.shapes(), published.read, run.result.get("step", 0))
    files, architecture = RunFiles(published.source.path, flag), Architecture(**published.architecture)
    return as_run(address, files, run.config, run.result, architecture, weights)


def _of_torch(path: str, address: str, flag: str) -> OpenRun:
    """Return the OpenRun of weights of PyTorch: supervised with a classifier, else pretrained without a head."""
    file = open_torch(path)
    architecture, mode, settings = file.architecture, "supervised", {}
    if architecture.num_classes is None:
        mode, settings = "pretrain", {"proj_mode": "none"}
    config, result = _records(mode, settings, architecture, address, "PyTorch")
    result["left_out"] = file.left_out or None
    weights = ArrayWeights(address, file.shapes, file.read)
    return as_run(address, RunFiles(path, flag), config, result, architecture, weights, file.notes)


def _of_keras(path: str, flag: str) -> OpenRun:
    """Return the OpenRun of a SimCLRModel in a .keras file: supervised with a trained classifier, else pretrained."""
    architecture, arrays, class_names = open_keras(path, flag)
    mode, settings = "supervised", {}
    if architecture.dense_layers:
        settings["dense_layers"] = ",".join(map(str, architecture.dense_layers))
    if architecture.num_classes is None or architecture.stop_gradient:
        mode = "pretrain"
        names = ("proj_mode", "proj_dim", "proj_hidden_dim")
        settings |= {name: getattr(architecture, name) for name in names}
        settings["proj_layers"] = max(architecture.proj_layers, 1)
    config, result = _records(mode, settings, architecture, path, "Keras")
    weights = ArrayWeights(path, {name: array.shape for name, array in arrays.items()}, arrays.__getitem__)
    return as_run(path, RunFiles(path, flag), config, result, architecture, weights, class_names=class_names)


def _records(
    mode: str, settings: dict[str, Any], architecture: Architecture, address: str, kind: str
) -> tuple[Any, dict]:
    """Return the config of a stage that trains such networks, and the result of a file that does not tell its training.

    `settings` come beside those of the encoder; `kind` is that of the file.
    """
    own = {name: getattr(architecture, name) for name in ("image_size", "se_ratio")}
    own |= {"model": architecture.name, "dataset": UNKNOWN, "model_dir": address, "precision": "float32"}
    config = make_config(mode, {}, {**own, **settings})
    return config, {
        "mode": mode,
        "finished": True,
        "imported": True,
        "imported_from": address.rpartition("/")[2],
        "imported_format": kind,
        "version": __version__,
        "model": architecture.name,
        "dataset": UNKNOWN,
        "image_size": architecture.image_size,
        "epochs": config.epochs,
        "classes": architecture.num_classes,
    }


def as_run(
    address: str,
    files: RunFiles,
    config: Any,
    result: dict,
    architecture: Architecture,
    weights: ArrayWeights,
    notes: tuple[str, ...] = (),
    class_names: tuple[str, ...] | None = None,
) -> OpenRun:
    """Return the OpenRun of weights that are in no run directory.

    Args:
        address: what stands for the run directory. files: of the folder or file with the weights.
        config: of the stage that trains such networks. result: content of a result.json.
    """
    record = ConfigRecord(config.NAME, dataclasses.asdict(config), ancestors=[])
    return OpenRun(
        files,
        record,
        config,
        SplitRecord(class_names=None if class_names is None else list(class_names)),
        ResultRecord.from_json(result),
        architecture,
        weights,
        checkpoint="last",
        address=address,
        notes=notes,
    )
