"""Checkpoints: exact save and resume, and the names of variables in them, which are known here alone."""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, one_line, some
from simclr_keras.files import to_disk

# In the names of files until all of a checkpoint is written; a killed run leaves such files behind.
PARTIAL = ".partial"
_INDEX = re.compile(r"step-(\d+)\.index")
# The state of a learner names the variables of its model so, see `objectives.learner.Learner.state`.
_MODEL = "model/"
# So does the momentum network of a pretraining run, an average of encoder and projection head.
_MOMENTUM = "momentum/"


class Checkpoints:
    """Checkpoints of a learner in a directory.

    A checkpoint counts from the moment its index file has its final name, which is the last thing to be written.
    TensorFlow keeps a checksum of every tensor and of the index, so that later damage is found when it is read.

    Args:
        directory: path of the directory.
        state: dict of unique name to Keras variable, see `Learner.state`.
        keep: number of the newest checkpoints to keep.
        writes: see `RunFiles`.
    """

    def __init__(self, directory: str, state: Mapping[str, Any], keep: int, writes: bool = True) -> None:
        self._directory = directory
        self._writes = writes
        self._keep = keep
        self._state = state
        variables = {name: state[name].value for name in sorted(state)}
        self._checkpoint = tf.train.Checkpoint(state=variables)
        self._damaged: set[int] = set()

    def restore(self, say: Callable[[str], object] = print) -> int:
        """Load the newest readable checkpoint and return its step; 0 if there is no checkpoint.

        A damaged one is skipped, and a line is printed about it.

        Raises:
            InputError: the checkpoint is of another network, or all of them are unreadable.
        """
        if self._writes:
            self._remove_partial()
        step, damage = newest_readable(self._directory)
        if step is None:
            return 0
        path = path_of(self._directory, step)
        self._check_fits(CheckpointReader(self._directory, step))
        try:
            self._checkpoint.read(path).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise InputError(
                f"the checkpoint {path} does not fit this run ({one_line(error)}); give another --model_dir."
            ) from error
        for bad, why in damage.items():
            say(f"the checkpoint of step {bad} is damaged ({why}): continuing from step {step}")
        self._damaged |= damage.keys()
        return step

    def _check_fits(self, checkpoint: "CheckpointReader") -> None:
        """Raise InputError if a checkpoint has variables of other names or shapes than this run."""
        own = {name: list(variable.shape) for name, variable in self._state.items()}
        differing = [
            f"{name} is {checkpoint.shapes.get(name, 'missing')} there and {own.get(name, 'missing')} here"
            for name in sorted(own | checkpoint.shapes)
            if own.get(name) != checkpoint.shapes.get(name)
        ]
        if differing:
            raise InputError(
                f"the checkpoint {checkpoint.path} does not fit this run ({some(differing)}); give another "
                "--model_dir, or the settings that the run began with."
            )

    def save(self, step: int) -> None:
        """Write a checkpoint of this step, then delete the oldest ones beyond those kept.

        Raises:
            TrainingError: it cannot be written; the earlier ones stay good.
        """
        if not self._writes:
            return
        try:
            self._write(step)
            self._damaged.discard(step)
            good = [saved for saved in steps_in(self._directory) if saved not in self._damaged]
            for saved in {*steps_in(self._directory)} - {*good[-self._keep :]}:
                self._delete(saved)
            self._name_newest(good[-self._keep :])
        except (tf.errors.OpError, OSError) as error:
            self._remove_partial()
            raise TrainingError(
                f"cannot save the checkpoint of step {step} ({one_line(error)}); free space or change its "
                "permissions, then repeat the command: it continues from the previous checkpoint."
            ) from error

    def forget(self, step: int, unless_only: bool = False) -> None:
        """Delete the checkpoint of a step; unless_only: only if there is another one."""
        left = [other for other in steps_in(self._directory) if other != step]
        if not self._writes or (unless_only and not left):
            return
        self._delete(step)
        if left:
            self._name_newest(left)
        else:
            tf.io.gfile.remove(f"{self._directory}/checkpoint")

    def _write(self, step: int) -> None:
        path = path_of(self._directory, step)
        if "://" in path:
            # Object stores have no cheap renaming, and show a file only when all of it is written.
            self._checkpoint.write(path)
            return
        self._checkpoint.write(path + PARTIAL)
        parts = [name for name in _names_in(self._directory) if name.startswith(f"step-{step}{PARTIAL}.")]
        for name in parts:
            to_disk(f"{self._directory}/{name}")
        index = path + ".index"
        if tf.io.gfile.exists(index):  # first, or an old index would describe new data
            tf.io.gfile.remove(index)
        for name in sorted(parts):  # the index last
            whole = name.replace(PARTIAL, "")
            tf.io.gfile.rename(f"{self._directory}/{name}", f"{self._directory}/{whole}", overwrite=True)
        to_disk(self._directory)

    def _delete(self, step: int) -> None:
        # The index first: without it the rest does not count.
        tf.io.gfile.remove(path_of(self._directory, step) + ".index")
        for name in _names_in(self._directory):
            if name.startswith(f"step-{step}.data-"):
                tf.io.gfile.remove(f"{self._directory}/{name}")

    def _name_newest(self, steps: list[int]) -> None:
        """Write the file that tf.train.latest_checkpoint reads; this package lists the directory instead."""
        lines = [f'model_checkpoint_path: "step-{steps[-1]}"']
        lines += [f'all_model_checkpoint_paths: "step-{step}"' for step in steps]
        path = f"{self._directory}/checkpoint"
        with tf.io.gfile.GFile(path + PARTIAL, "w") as file:
            file.write("\n".join(lines) + "\n")
        tf.io.gfile.rename(path + PARTIAL, path, overwrite=True)

    def _remove_partial(self) -> None:
        for name in _names_in(self._directory):
            if PARTIAL not in name:
                continue
            path = f"{self._directory}/{name}"
            remove = tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove
            with contextlib.suppress(tf.errors.OpError):  # it only takes up space
                remove(path)


def model_variables(model: Any) -> dict[str, Any]:
    """Return the variables of a SimCLRModel by their path within the model."""
    return {variable.path.partition("/")[2]: variable for variable in model.variables}


def state_of_model(model: Any) -> dict[str, Any]:
    """Return the variables of a SimCLRModel under the names that `Learner.state` gives them."""
    return {_MODEL + path: variable for path, variable in model_variables(model).items()}


def model_part(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a learner's state that is its model."""
    return {name: variable for name, variable in state.items() if name.startswith(_MODEL)}


class CheckpointReader:
    """The arrays of one checkpoint, by the names in the state that was saved.

    Raises:
        tf.errors.OpError: it is unreadable.
    """

    def __init__(self, directory: str, step: int) -> None:
        self.path, self.step = path_of(directory, step), step
        self._reader = tf.compat.v1.train.NewCheckpointReader(self.path)
        shapes = self._reader.get_variable_to_shape_map()
        self._keys = {
            _unescape(key.partition("/")[2].partition("/.ATTRIBUTES")[0]): key
            for key in shapes
            if key.startswith("state/")
        }
        self.shapes: dict[str, list[int]] = {name: shapes[key] for name, key in self._keys.items()}

    def read(self, name: str) -> Any:
        """Return an array."""
        return self._reader.get_tensor(self._keys[name])

    def model_shapes(self) -> dict[str, list[int]]:
        """Return the shapes of the model's variables by their path within the model."""
        return {name.removeprefix(_MODEL): shape for name, shape in model_part(self.shapes).items()}

    @property
    def has_ema(self) -> bool:
        """Return whether there is a momentum network."""
        return any(name.startswith(_MOMENTUM) for name in self.shapes)

    def read_of_model(self, path: str, ema: bool = False) -> Any:
        """Return the array at a path within the model, or within the momentum network, which has no classifier."""
        return self.read((_MOMENTUM if ema and _MOMENTUM + path in self.shapes else _MODEL) + path)


def _unescape(name: str) -> str:
    """Return the key of a dict, in which TensorFlow writes "/" as ".S" and "." as ".."."""
    return re.sub(r"\.([.S])", lambda escape: "." if escape[1] == "." else "/", name)


def steps_in(directory: str) -> list[int]:
    """Return the steps of the checkpoints in a directory, ascending; empty if there is none."""
    matches = (_INDEX.fullmatch(name) for name in _names_in(directory))
    return sorted(int(match[1]) for match in matches if match)


def path_of(directory: str, step: int) -> str:
    """Return the path of a checkpoint without the endings of its files, as TensorFlow wants it."""
    return f"{directory}/step-{step}"


def damage_of(path: str) -> str | None:
    """Return why a checkpoint is unreadable, None if every tensor in it can be read."""
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(path)
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)
    except Exception as error:  # TensorFlow's reader also raises IndexError, RuntimeError and others
        return one_line(error)
    return None


def newest_readable(
    directory: str, otherwise: str = "start a new run with another --model_dir"
) -> tuple[int | None, dict[int, str]]:
    """Return the step of the newest readable checkpoint, and the damage of newer ones by step.

    The step is None if there is no checkpoint.

    Raises:
        InputError: there are checkpoints, but all of them are unreadable. It ends in what to do `otherwise`.
    """
    damage: dict[int, str] = {}
    for step in reversed(steps_in(directory)):
        why = damage_of(path_of(directory, step))
        if not why:
            return step, damage
        damage[step] = why
    if damage:
        newest, why = next(iter(damage.items()))
        raise InputError(
            f"all {len(damage)} checkpoints in {directory} are unreadable (step {newest}: {why}); restore one, or "
            f"{otherwise}."
        )
    return None, damage


def _names_in(directory: str) -> list[str]:
    if not tf.io.gfile.exists(directory):
        return []
    return [name.rstrip("/") for name in tf.io.gfile.listdir(directory)]
