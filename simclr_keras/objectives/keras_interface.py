"""KerasInterface: what Keras users do with a model besides training it, and what of it a learner refuses."""

import os
from typing import Any

import keras

from simclr_keras.errors import InputError

OWN_LOSS = ("loss", "loss_weights", "metrics", "weighted_metrics")  # arguments of compile


class KerasInterface(keras.Model):
    """A Keras model that defines its own loss, and is trained and evaluated on dicts; see docs/keras.md."""

    def fit(self, x: Any = None, *args: Any, class_weight: Any = None, **kwargs: Any) -> Any:
        """Train as `keras.Model.fit` does, on a tf.data.Dataset of dicts or on a dict of arrays.

        Raises:
            InputError: class_weight is given, or a batch is not a dict.
        """
        _refuse_class_weight(class_weight)
        return super().fit(x, *args, **kwargs)

    def train_on_batch(
        self, x: dict, y: Any = None, sample_weight: Any = None, class_weight: Any = None, **kwargs: Any
    ) -> Any:
        """Take one step as `keras.Model.train_on_batch` does.

        Raises:
            InputError: class_weight is given, or the batch is not a dict.
        """
        _refuse_class_weight(class_weight)
        return super().train_on_batch(x, y, sample_weight, **kwargs)

    def save(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Save the network as `learner.model.save` does, also for ModelCheckpoint: a file contains no learner.

        Loading it gives the network, a SimCLRModel; construct a learner of it to continue.
        """
        self.model.save(filepath, *args, **kwargs)

    def get_config(self) -> dict:
        """Raise NotImplementedError: neither its functions nor its teacher can be written into a file."""
        raise NotImplementedError(
            f"a {type(self).__name__} has no config: save or copy its network, learner.model, and construct a new one"
        )

    def _check_compile(self, settings: dict) -> None:
        """Raise InputError if `compile` was asked for what a learner does not do."""
        for name in OWN_LOSS:
            if settings.get(name) is not None:
                raise InputError(
                    f"a {type(self).__name__} has its own loss and metrics: leave {name} out of compile; for others, "
                    f"override `objective`. Received: {name}={settings[name]!r}"
                )
        steps = settings.get("steps_per_execution", 1)
        if steps != 1 and self.distribute_strategy.num_replicas_in_sync > 1:
            raise InputError(
                "Keras fails with several steps per execution on several replicas: leave steps_per_execution out, or "
                f"train with train.py --steps_per_execution. Received: steps_per_execution={steps!r}"
            )


def batch_of(data: Any) -> Any:
    """Return the batch in what Keras passes to a step: the batch, or (batch, targets, sample weights).

    Raises:
        InputError: there are targets or sample weights, which would have no effect.
    """
    batch, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    if targets is not None or weights is not None:
        raise InputError(
            'a learner takes one dict, such as {"views": images[:, None], "label": labels}, and no y or '
            f"sample_weight. Received: {'y' if targets is not None else 'sample_weight'}"
        )
    return batch


def _refuse_class_weight(class_weight):
    if class_weight is not None:
        raise InputError(
            "a learner has no class_weight: repeat the images of rare classes in the dataset instead "
            f"(tf.data.Dataset.sample_from_datasets). Received: class_weight={class_weight!r}"
        )
