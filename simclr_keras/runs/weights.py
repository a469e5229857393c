"""The weights that a later stage loads: those in a checkpoint of a run, or arrays that come from elsewhere."""

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.runs.checkpoints import CheckpointReader, model_variables, newest_readable
from simclr_keras.runs.run_files import PYTHON, RunFiles

ATTEMPTS = 3  # to read a checkpoint of a run that is still training and keeps only the newest


def checkpoint_option(flag: str | None) -> str:
    """Return the option that chooses a checkpoint of the run in a flag, as messages name it."""
    return {PYTHON: "checkpoint", "run": "--checkpoint"}.get(str(flag), f"--{flag}_checkpoint")


def ema_option(flag: str | None) -> str:
    """Return the option that chooses the momentum network of the run in a flag, as messages name it."""
    return {PYTHON: "ema=True", "run": "--ema"}.get(str(flag), "--use_ema")


class StoredWeights:
    """Arrays by their path within a SimCLRModel. A subclass defines the three members below and `source`.

    Attributes:
        source: what contains them, for messages.
        step: training step they were saved at; 0 if it is unknown.
    """

    source: str
    step: int

    def shapes(self) -> Mapping[str, Collection[int]]:
        """Return the shape of every array by its path within the model."""
        raise NotImplementedError

    def read(self, path: str) -> Any:
        """Return an array by its path within the model."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the classifier; None if there is no classifier."""
        shape = self.shapes().get("classifier/bias")
        return next(iter(shape)) if shape else None

    def of_momentum_network(self) -> "StoredWeights | None":
        """Return the weights of the momentum network that was trained beside these; None if there is none."""
        return None

    def load_into(self, model: Any, parts: Collection[str] | None = None) -> None:
        """Assign the weights to a model.

        Args:
            model: a built SimCLRModel.
            parts: first words of the paths to load ("encoder", ...), of which there may be more than in the model;
                None for all, if both must contain the same.

        Raises:
            InputError: names or shapes are not those of the model, or an array is unreadable.
        """
        variables = model_variables(model)
        stored = {path: [*shape] for path, shape in self.shapes().items()}
        if parts is not None:
            variables = {path: v for path, v in variables.items() if path.split("/")[0] in parts}
            stored = {path: shape for path, shape in stored.items() if path in variables}
        shapes = {path: list(variable.shape) for path, variable in variables.items()}
        if shapes != stored:
            differing = sorted(path for path in shapes | stored if shapes.get(path) != stored.get(path))
            raise InputError(
                f"{self.source} is not of the model of this run. Differing: {', '.join(differing[:3])}"
            )
        for path, variable in variables.items():
            variable.assign(self.read(path))


class ArrayWeights(StoredWeights):
    """Weights that are no checkpoint of a run.

    Args:
        source: what contains them, for messages.
        shapes: shape of every array by its path within the model.
        read: function of such a path to the array.
        step: training step they were saved at; 0 if it is unknown.
    """

    def __init__(
        self,
        source: str,
        shapes: Mapping[str, Collection[int]],
        read: Callable[[str], Any],
        step: int = 0,
    ) -> None:
        self.source, self.step = source, step
        self._shapes, self._read = shapes, read

    def shapes(self) -> Mapping[str, Collection[int]]:
        return self._shapes

    def read(self, path: str) -> Any:
        return self._read(path)


class Weights(StoredWeights):
    """The weights of the model in a checkpoint of a run.

    Args:
        files: of the run.
        checkpoint: "last" or "best".
        ema: whether to take encoder and projection head from the momentum network.

    Raises:
        InputError: there is no readable checkpoint, or no momentum network.
    """

    def __init__(self, files: RunFiles, checkpoint: str = "last", ema: bool = False) -> None:
        self._files, self._checkpoint, self._ema = files, checkpoint, ema
        self._reader = self._newest()
        if ema and not self._reader.has_ema:
            raise InputError(
                f"{files.path} has no momentum network, which only runs of --mode=pretrain with --memory=queue keep; "
                f"leave {ema_option(files.flag)} out, or give another {files.option}."
            )

    def _newest(self) -> CheckpointReader:
        files = self._files
        directory = files.best if self._checkpoint == "best" else files.checkpoints
        step, damage = newest_readable(directory, f"give another {files.option}")
        if step is None and self._checkpoint == "best":
            raise InputError(
                f"{files.path} has no best checkpoint, which only runs that evaluate a classifier keep; leave "
                f"{checkpoint_option(files.flag)} out."
            )
        if step is None:
            raise InputError(
                f"{files.path} has no checkpoint; let the run finish an epoch, restore the folder, or give another "
                f"{files.option}."
            )
        for bad, reason in damage.items():
            warnings.warn(
                f"the checkpoint of step {bad} is damaged ({reason}): taking that of step {step}",
                stacklevel=4,
            )
        return CheckpointReader(directory, step)

    @property
    def source(self) -> str:  # type: ignore[override]
        return f"the checkpoint {self._reader.path}"

    @property
    def step(self) -> int:  # type: ignore[override]
        return self._reader.step

    def of_momentum_network(self) -> StoredWeights | None:
        if self._ema or not self._reader.has_ema:
            return None
        return Weights(self._files, self._checkpoint, ema=True)

    def shapes(self) -> Mapping[str, Collection[int]]:
        return self._reader.model_shapes()

    def read(self, path: str) -> Any:
        return self._reader.read_of_model(path, self._ema)

    def load_into(self, model: Any, parts: Collection[str] | None = None) -> None:
        """Assign the weights, see `StoredWeights`; newer ones if a training run has deleted these meanwhile."""
        failure: Exception | None = None
        for _ in range(ATTEMPTS):
            if failure:
                self._reader = self._newest()
            try:
                return super().load_into(model, parts)
            except tf.errors.OpError as error:
                failure = error
        raise InputError(
            f"the checkpoint {self._reader.path} is unreadable ({one_line(failure)}); try again."
        ) from failure
