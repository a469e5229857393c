"""Open a run directory: the one way to read a run, for later stages, exports and tools."""

import dataclasses
from typing import Any

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.records import AncestorEntry, ConfigRecord, ResultRecord, SplitRecord
from simclr_keras.runs.run_files import CONFIG, MODEL, PYTHON, SPLIT, RunFiles
from simclr_keras.runs.weights import StoredWeights, Weights


@dataclasses.dataclass(frozen=True)
class OpenRun:
    """A run directory with weights.

    Attributes:
        files: its files.
        record: the content of config.json. config: the config of its stage.
        split: the content of split.json.
        result: the content of result.json, an empty record if the run has not ended.
        architecture: of its network.
        weights: of the checkpoint that was asked for. checkpoint: its name, "last" or "best".
        ema: whether they are those of the momentum network.
        address: what the user gave instead of a path, such as published:NAME; None for a path.
        notes: what is not as the user may expect, such as arrays that were left out.

    Raises:
        InputError: the run names more or fewer classes than its classifier has.
    """

    files: RunFiles
    record: ConfigRecord
    config: Any
    split: SplitRecord
    result: ResultRecord
    architecture: Architecture
    weights: StoredWeights
    checkpoint: str
    ema: bool = False
    address: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names, classes = self.class_names, self.weights.num_classes
        if names and classes and len(names) != classes:
            name = SPLIT if self.split.class_names else CONFIG
            raise self.files.damaged(name, f"it names {len(names)} classes, the checkpoint has {classes}")

    @property
    def path(self) -> str:
        """Path of the run directory, or the address that stands for it."""
        return self.address or self.files.path

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes in the order of the logits; None if they are unknown."""
        names = self.split.class_names or self.record.class_names
        return None if names is None else tuple(names)

    @property
    def image_size(self) -> int:
        """Side of the training images in pixels."""
        size: int = self.config.image_size or self.architecture.image_size
        return size

    @property
    def eval_antialias(self) -> bool:
        """Whether its evaluation images are antialiased when they shrink."""
        return bool(self.config.eval_antialias)

    def model(self, dtype: str = "float32") -> Any:
        """Return the network, a SimCLRModel. dtype: as in `create_model`."""
        model = self.architecture.build(dtype)
        self.weights.load_into(model)
        if model.classifier is not None:
            model.class_names = self.class_names
        return model

    def as_ancestors(self) -> list[AncestorEntry]:
        """Return the runs from the first to this one, as the result of a run after it lists them."""
        entry: Any = {
            "run": self.path,
            "mode": self.record.mode,
            "dataset": self.config.dataset,
            **({"place": self.record.place} if self.record.place else {}),
            **self.result.inherited(),
            "checkpoint": self.checkpoint,
            **({"ema": True} if self.ema else {}),
        }
        return [*self.result.ancestors, entry]


def open_run(
    path: str,
    checkpoint: str = "last",
    flag: str = PYTHON,
    *,
    finished: bool = False,
    ema: bool = False,
) -> OpenRun:
    """Open a run directory.

    Args:
        path: local path or any that tf.io.gfile knows.
        checkpoint: "last" or "best".
        flag: name of the flag that gave the path, for messages; PYTHON if a Python call gave it.
        finished: whether the run must have ended.
        ema: whether to take the weights of its momentum network, beside the classifier.

    Raises:
        InputError: there is no run, it is damaged or not finished, or has no such readable checkpoint or network.
    """
    files = RunFiles(path, flag)
    files.check_path()
    record, split = files.read_config(), files.read_split()
    if record is None or split is None:
        reason = (
            f"it has no {SPLIT if record else CONFIG}"
            if tf.io.gfile.isdir(files.path)
            else "no such directory"
        )
        raise InputError(
            f"{files.option}={files.path} is not a run directory ({reason}); give the directory of an earlier run."
        )
    config = record.config(files.file(CONFIG))
    result = files.read_result() or ResultRecord()
    if finished and not result.has_ended(config):
        raise InputError(
            f"{files.option}={path} is not finished; repeat its own command until it ends, then this one."
        )
    _check_has_network(files, config)
    weights = Weights(files, checkpoint, ema)
    architecture = files.read_architecture() or Architecture.of_pretraining(config, weights.num_classes)
    if weights.num_classes != architecture.num_classes:
        raise files.damaged(
            MODEL, f"it has {architecture.num_classes} classes, the checkpoint {weights.num_classes}"
        )
    return OpenRun(files, record, config, split, result, architecture, weights, checkpoint, ema)


def load_run(path: str, checkpoint: str = "last", dtype: str = "float32", *, ema: bool = False) -> Any:
    """Return the model of a run with its newest readable weights, as a SimCLRModel.

    The classifier of a pretraining run with labels is the online probe. The run need not be finished, and may have
    trained in any precision and on any number of replicas.

    >>> from simclr_keras import load_run
    >>> model = load_run("runs/digits")
    >>> model.classifier.num_classes
    10

    Args:
        path: run directory, local or any that tf.io.gfile knows.
        checkpoint: "last", or "best" for the weights that did best on the run's evaluation split.
        dtype: as in `create_model`.
        ema: whether to take the momentum network of a pretraining run with --memory=queue. Its classifier is the online
            probe all the same, which was trained on the features of the other network.

    Raises:
        InputError: there is no run, its settings are damaged, or it has no readable checkpoint or momentum network.
    """
    return open_run(path, checkpoint, ema=ema).model(dtype)


def _check_has_network(files: RunFiles, config: Any) -> None:
    """Raise InputError if a run belongs to a stage that only evaluates another run's network."""
    if config.trains or steps_in(files.checkpoints):
        return
    if config.NAME == "linear_eval":
        raise InputError(
            f"{files.option}={files.path} was evaluated by an earlier version, which did not save its classifier; "
            "rerun its command, or give another run."
        )
    raise InputError(
        f"{files.option}={files.path} is a run of --mode={config.NAME}, with no network of its own; give the one "
        f"that it evaluated, {files.option}={config.init}."
    )
