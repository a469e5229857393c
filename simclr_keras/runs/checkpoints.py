"""Exact save and resume: every variable by name, the newest few kept, none in use that is half written or damaged."""

import contextlib
import re

import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.runs.durable import to_disk

# What is being written bears this until it is whole; a run that was killed meanwhile leaves it behind.
PARTIAL = ".partial"
_INDEX = re.compile(r"step-(\d+)\.index")


class Checkpoints:
    """Checkpoints of a learner in a directory.

    A checkpoint counts from the moment its index file bears its final name, which is the last thing that is written.
    TensorFlow keeps a checksum of every tensor and of the index, so that later damage is found when it is read.

    Args:
        directory: where they go.
        state: dict of unique name to Keras variable, see `Learner.state`.
        keep: how many of the newest are kept.
    """

    def __init__(self, directory, state, keep):
        self._directory = directory
        self._keep = keep
        variables = {name: state[name].value for name in sorted(state)}
        self._checkpoint = tf.train.Checkpoint(state=variables)
        self._damaged = set()

    def restore(self, say=print):
        """Loads the newest checkpoint that can be read and returns its step; 0 when there is none at all.

        Args:
            say: prints a line, where a damaged one had to be passed over.

        Raises:
            InputError: the checkpoint is of another network, or none of those there can be read.
        """
        self._remove_partial()
        step, damage = newest_readable(self._directory)
        if step is None:
            return 0
        path = path_of(self._directory, step)
        try:
            self._checkpoint.read(path).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise InputError(
                f"the checkpoint {path} does not fit this run ({one_line(error)}); give another --model_dir."
            ) from error
        for bad, why in damage.items():
            say(f"the checkpoint of step {bad} is damaged ({why}): going on from that of step {step}")
        self._damaged |= damage.keys()
        return step

    def save(self, step):
        """Writes a checkpoint of this step, then forgets the oldest beyond those kept.

        Raises:
            TrainingError: it cannot be written; those already there stay good.
        """
        try:
            self._write(step)
            self._damaged.discard(step)
            good = [found for found in steps_in(self._directory) if found not in self._damaged]
            for found in {*steps_in(self._directory)} - {*good[-self._keep :]}:
                self._delete(found)
            self._name_newest(good[-self._keep :])
        except (tf.errors.OpError, OSError) as error:
            self._remove_partial()
            raise TrainingError(
                f"cannot save the checkpoint of step {step} ({one_line(error)}); free space or mend its rights, "
                "then repeat the command: it continues from the checkpoint before."
            ) from error

    def forget(self, step):
        """Removes a checkpoint that turned out to be bad."""
        self._delete(step)
        left = steps_in(self._directory)
        if left:
            self._name_newest(left)
        else:
            tf.io.gfile.remove(f"{self._directory}/checkpoint")

    def _write(self, step):
        path = path_of(self._directory, step)
        if "://" in path:
            # Object stores have no cheap renaming, and show a file only when it is whole.
            self._checkpoint.write(path)
            return
        self._checkpoint.write(path + PARTIAL)
        parts = [name for name in _names_in(self._directory) if name.startswith(f"step-{step}{PARTIAL}.")]
        for name in parts:
            to_disk(f"{self._directory}/{name}")
        index = path + ".index"
        if tf.io.gfile.exists(index):  # first, or it would speak for data that is no longer its own
            tf.io.gfile.remove(index)
        for name in sorted(parts):  # the index last
            whole = name.replace(PARTIAL, "")
            tf.io.gfile.rename(f"{self._directory}/{name}", f"{self._directory}/{whole}", overwrite=True)
        to_disk(self._directory)

    def _delete(self, step):
        tf.io.gfile.remove(
            path_of(self._directory, step) + ".index"
        )  # first: without it the rest counts for nothing
        for name in _names_in(self._directory):
            if name.startswith(f"step-{step}.data-"):
                tf.io.gfile.remove(f"{self._directory}/{name}")

    def _name_newest(self, steps):
        """Writes the file by which tf.train.latest_checkpoint finds them; we ourselves go by what is there."""
        lines = [f'model_checkpoint_path: "step-{steps[-1]}"']
        lines += [f'all_model_checkpoint_paths: "step-{step}"' for step in steps]
        path = f"{self._directory}/checkpoint"
        with tf.io.gfile.GFile(path + PARTIAL, "w") as file:
            file.write("\n".join(lines) + "\n")
        tf.io.gfile.rename(path + PARTIAL, path, overwrite=True)

    def _remove_partial(self):
        for name in _names_in(self._directory):
            if PARTIAL not in name:
                continue
            path = f"{self._directory}/{name}"
            remove = tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove
            with contextlib.suppress(tf.errors.OpError):  # it only takes up space
                remove(path)


def steps_in(directory):
    """Steps of the checkpoints in a directory, ascending; empty where there is no directory."""
    found = (_INDEX.fullmatch(name) for name in _names_in(directory))
    return sorted(int(match[1]) for match in found if match)


def path_of(directory, step):
    """What TensorFlow calls a checkpoint: its path without the endings of its files."""
    return f"{directory}/step-{step}"


def damage_of(path):
    """Returns why a checkpoint cannot be read, None where every tensor in it can."""
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(path)
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)
    except (
        Exception
    ) as error:  # TensorFlow's reader raises IndexError, RuntimeError and others beside its own
        return one_line(error)
    return None


def newest_readable(directory, otherwise="start anew with another --model_dir"):
    """Finds the newest checkpoint that can be read.

    Args:
        directory: where they are. otherwise: what to do where none can be, for the message.

    Returns:
        its step, None where there is no checkpoint at all; and a dict of the newer ones' steps to what is wrong with
        them.

    Raises:
        InputError: there are checkpoints, but none of them can be read.
    """
    damage = {}
    for step in reversed(steps_in(directory)):
        why = damage_of(path_of(directory, step))
        if not why:
            return step, damage
        damage[step] = why
    if damage:
        newest, why = next(iter(damage.items()))
        raise InputError(
            f"none of the {len(damage)} checkpoints in {directory} can be read (step {newest}: {why}); bring one back, "
            f"or {otherwise}."
        )
    return None, damage


def _names_in(directory):
    if not tf.io.gfile.exists(directory):
        return []
    return [name.rstrip("/") for name in tf.io.gfile.listdir(directory)]
