"""KerasInterface: the methods of a Keras model that a learner supports or refuses, besides its training step."""

import inspect
import os
from typing import Any

import keras

from simclr_keras.errors import InputError

OWN_LOSS = ("loss", "loss_weights", "metrics", "weighted_metrics")  # arguments of compile


class KerasInterface(keras.Model):
    """A Keras model that defines its own loss, and is trained and evaluated on dicts; see docs/keras.md."""

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `keras.Model.fit` does, on a tf.data.Dataset, a generator or the like of dicts, or a dict of arrays.

        Raises:
            InputError: weights of classes or examples are given, or a batch is not a dict.
        """
        _refuse_weights(kwargs)
        if "validation_data" in kwargs:
            kwargs["validation_data"] = _in_tuples(kwargs["validation_data"])
        return super().fit(_in_tuples(x), *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return the figures as `keras.Model.evaluate` does, of what `fit` takes.

        Raises:
            InputError: weights of examples are given, or a batch is not a dict.
        """
        _refuse_weights(kwargs)
        return super().evaluate(_in_tuples(x), *args, **kwargs)

    def train_on_batch(self, x: dict, *args: Any, **kwargs: Any) -> Any:
        """Take one step as `keras.Model.train_on_batch` does.

        Raises:
            InputError: weights of classes or examples are given, or the batch is not a dict.
        """
        _refuse_weights(kwargs)
        return super().train_on_batch(x, *args, **kwargs)

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
            if settings.get(name):
                raise InputError(
                    f"a {type(self).__name__} has its own loss and metrics: leave {name} out of compile; for others, "
                    f"override `objective`. Received: {name}={settings[name]!r}"
                )
        steps = settings.get("steps_per_execution", 1)
        if steps != 1 and self.distribute_strategy.num_replicas_in_sync > 1:
            raise InputError(
                "Keras fails with several steps per execution on several replicas: leave steps_per_execution out, or "
                f"train with simclr pretrain --steps_per_execution. Received: steps_per_execution={steps!r}"
            )


def batch_of(data: Any) -> Any:
    """Return the batch in what Keras passes to a step: the batch, or (batch, targets, sample weights).

    Raises:
        InputError: there are targets or sample weights, which would have no effect.
    """
    batch, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    if targets is not None or weights is not None:
        raise InputError(
            'a learner takes one dict, such as {"views": images[:, None], "label": labels} for a Classifier, and no y '
            f"or sample_weight. Received: {'y' if targets is not None else 'sample_weight'}"
        )
    return batch


def _refuse_weights(settings):
    for name in ("class_weight", "sample_weight"):
        if settings.get(name) is not None:
            raise InputError(
                f"a learner has no {name}: repeat images in the dataset instead, for instance those of rare classes "
                f"with tf.data.Dataset.sample_from_datasets. Received: {name} of type {type(settings[name]).__name__}"
            )


def _in_tuples(x):
    """Return what Keras takes: of a generator's batches it takes tuples alone."""
    if not inspect.isgenerator(x):
        return x
    return ((batch,) if isinstance(batch, dict) else batch for batch in x)
