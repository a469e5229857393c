"""Exact save and resume: every variable by name, the newest few kept."""

import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError, reason


class Checkpoints:
    """Checkpoints of a learner in a directory.

    Args:
        directory: where they go.
        state: dict of unique name to Keras variable, see `Learner.state`.
        keep: how many of the newest are kept.
    """

    def __init__(self, directory, state, keep):
        self._names = sorted(state)
        variables = {name: state[name].value for name in self._names}
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="checkpoint_step")
        self._checkpoint = tf.train.Checkpoint(state=variables, step=self._step)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, directory, max_to_keep=keep, checkpoint_name="step"
        )

    def restore(self):
        """Loads the newest checkpoint and returns its step; 0 when there is none.

        Raises:
            InputError: the checkpoint is of another network.
        """
        newest = self._manager.latest_checkpoint
        if newest is None:
            return 0
        try:
            self._checkpoint.restore(newest).assert_consumed()
        except (AssertionError, ValueError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
            raise InputError(
                f"the checkpoint {newest} does not fit this run ({reason(error)}); give another --model_dir."
            ) from error
        except tf.errors.OpError as error:
            raise TrainingError(
                f"the checkpoint {newest} cannot be read ({reason(error)}); repeat the command, or give another "
                "--model_dir."
            ) from error
        return int(self._step.numpy())

    def save(self, step):
        """Writes a checkpoint of this step, then forgets the oldest beyond those kept.

        Raises:
            TrainingError: it cannot be written; those already there stay good.
        """
        self._step.assign(step)
        try:
            self._manager.save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise TrainingError(
                f"cannot save the checkpoint of step {step} ({reason(error)}); free space, then repeat the command: it "
                "continues from the checkpoint before."
            ) from error
