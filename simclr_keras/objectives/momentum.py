"""Momentum: a slowly moving copy of encoder and projection head, and the queue of its past outputs.

Letters in the shapes: b = examples on this replica, B = b * replicas, d = dimensions of an embedding, m = rows of the
queue.
"""

from typing import Any

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.tiled_nt_xent import UNFILLED, UNKNOWN
from simclr_keras.replicas import OWN_COPIES, gather_rows, number_of_rows, rows_of_replica

# An int64 id travels as four floats of 16 bits each, which float32 and float64 represent.
SHIFTS, LOW_BITS = (48, 32, 16, 0), 2**16 - 1


class Momentum:
    """The momentum network of a model, and a first-in-first-out queue of its outputs with the ids of their examples.

    The network's weights are exponential moving averages (EMA) of the model's trainable variables, which start at the
    model's present values. All other variables belong to the momentum network alone: batch normalization uses the
    statistics of the momentum network's own batches, and its moving averages follow these.

    There is no second Keras model: the model's layers are called with other values of their Keras variables, also under
    rematerialization. Other state of an encoder, such as a tf.Variable, stays common to both networks. All variables
    are the same on every replica.

    Source: SimCLRv2, arXiv 2006.10029, appendix D; MoCo, arXiv 1911.05722.

    >>> import numpy as np
    >>> from simclr_keras import create_model
    >>> from simclr_keras.objectives.momentum import Momentum
    >>> momentum = Momentum(create_model("r18_0.125x_sk0", image_size=8), memory_size=64)
    >>> momentum.projections(np.zeros([2, 8, 8, 3], "float32"), training=False).shape
    TensorShape([2, 128])

    Args:
        model: a built SimCLRModel; to be made under the same strategy.
        ema_decay: share of the average that stays at each update, in [0, 1).
        memory_size: m, rows of the queue, two per example; 0 for no queue.

    Attributes:
        queue: [m, d] variable, the past outputs in the order of a ring; None without a queue.
        queue_ids: int64 [m] variable, the ids of their examples; -1 in places that are not filled yet.
        index: int64 variable, the place that is overwritten next.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, model: SimCLRModel, ema_decay: float = 0.999, memory_size: int = 65536):
        if not 0 <= ema_decay < 1:
            raise InputError(f"ema_decay must be at least 0 and below 1. Received: ema_decay={ema_decay}")
        if memory_size < 0:
            raise InputError(f"memory_size must be 0 or more. Received: memory_size={memory_size}")
        self.model, self.ema_decay = model, ema_decay
        online = [*model.encoder.variables, *model.projection_head.variables]
        with keras.name_scope("momentum"):
            self._pairs = [
                (v, keras.Variable(v.numpy(), dtype=v.dtype, name=v.name, **OWN_COPIES)) for v in online
            ]
        self.queue = self.queue_ids = self.index = None
        if memory_size:
            shape, dtype = (memory_size, model.projection_head.width), model.projection_head.compute_dtype
            integers = {"dtype": "int64", **OWN_COPIES}
            with keras.name_scope("queue"):
                self.queue = keras.Variable("zeros", shape, dtype, name="projections", **OWN_COPIES)
                unfilled = keras.initializers.Constant(UNFILLED)
                self.queue_ids = keras.Variable(unfilled, (memory_size,), name="ids", **integers)
                self.index = keras.Variable("zeros", (), name="index", **integers)

    def __str__(self):
        text = f"momentum network with decay {self.ema_decay:g}"
        if self.queue is None:
            return f"{text}, no queue"
        rows, dimensions = self.queue.shape
        megabytes = rows * dimensions * tf.as_dtype(self.queue.dtype).size / 1e6
        return f"{text}, queue of {rows:,} rows x {dimensions} ({megabytes:.3g} MB)"

    def state(self) -> dict:
        """Return every variable as a dict of unique name to Keras variable, for a checkpoint."""
        named = {f"momentum/{v.path.partition('/')[2]}": own for v, own in self._pairs}
        if self.queue is not None:
            variables = (self.queue, self.queue_ids, self.index)
            named |= {f"queue/{variable.name}": variable for variable in variables}
        return named

    def projections(self, images: tf.Tensor, training: bool = True) -> tf.Tensor:
        """Return the momentum network's embeddings [n, d] of images [n, h, w, 3], without a gradient.

        Args:
            images: float in [0, 1].
            training: whether batch normalization uses the statistics of these images, on all replicas, and moves the
                momentum network's averages; False for inference mode, which changes nothing.
        """
        head = self.model.projection_head
        scope = keras.StatelessScope([(v, tf.convert_to_tensor(own)) for v, own in self._pairs])
        with scope:
            features = self.model.encoder(images, training=training)["final_avg_pool"]
            outputs = head(features, training=training)[f"proj_head_{head.depth}"]
            moved = [scope.get_current_value(v) for v, _ in self._pairs]
        if training:
            for (v, own), value in zip(self._pairs, moved):
                if not v.trainable:
                    own.assign(tf.stop_gradient(value))
        return tf.stop_gradient(outputs)

    def update(self) -> None:
        """Move the averages towards the model's trainable variables; to be called after an optimizer's step."""
        for v, own in self._pairs:
            if v.trainable:
                average = tf.convert_to_tensor(own)
                own.assign(average + (tf.convert_to_tensor(v) - average) * (1 - self.ema_decay))

    def enqueue(self, keys: tuple[tf.Tensor, tf.Tensor], ids: tf.Tensor | None = None) -> None:
        """Overwrite the oldest rows of the queue with the keys of the global batch.

        Args:
            keys: a pair of [B, d], the embeddings of both views; the same on every replica.
            ids: int [B], the ids of their examples, 0 to 2**63 - 1; below 0, and None, if unknown.

        Raises:
            InputError: the queue is smaller than the 2B rows of a batch. If B is not known while tracing, only the
                newest rows are kept instead.
        """
        if self.queue is None:
            return
        rows, size = tf.concat(keys, axis=0), self.queue.shape[0]
        if rows.shape[0] is not None and rows.shape[0] > size:
            raise InputError(
                f"memory_size must be at least {rows.shape[0]}, the rows of a batch of {rows.shape[0] // 2} examples "
                f"with two views; or 0 for no queue. Received: memory_size={size}"
            )
        rows = rows[-size:]  # a batch of unknown size may have more
        count, first = number_of_rows(rows), tf.convert_to_tensor(self.index)
        places = (first + tf.range(count, dtype=tf.int64)) % size
        # In place, for the queue is large; by its handle, which is this replica's copy.
        tf.raw_ops.ResourceScatterUpdate(
            resource=self.queue.handle, indices=places, updates=tf.cast(rows, self.queue.dtype)
        )
        unknown = tf.constant(UNKNOWN, tf.int64)
        ids = tf.fill([count], unknown) if ids is None else tf.tile(tf.cast(ids, tf.int64), [2])[-size:]
        ids = tf.where(ids < 0, unknown, ids)
        # The whole of it, for scattering integers is not possible on every device.
        age = (tf.range(size, dtype=tf.int64) - first) % size
        new = tf.gather(ids, tf.minimum(age, tf.cast(count, tf.int64) - 1))
        self.queue_ids.assign(tf.where(age < tf.cast(count, tf.int64), new, self.queue_ids))
        self.index.assign((first + tf.cast(count, tf.int64)) % size)


def gather_keys(keys: tf.Tensor, ids: Any = None) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor | None]:
    """Return the keys and ids of the global batch, from all replicas by one collective.

    Args:
        keys: [2b, d] of this replica, first views first.
        ids: int [b], ids of this replica's examples, of any integer type; None if they are unknown.

    Returns:
        (keys, ids): a pair of [B, d], and int64 [B] or None.

    Raises:
        InputError: ids are not integers [b].
    """
    first, second = tf.split(keys, 2)
    if ids is not None:
        ids = tf.convert_to_tensor(ids)
        if not ids.dtype.is_integer or not ids.shape.is_compatible_with(first.shape[:1]):
            raise InputError(
                f'The "id" of a batch must be integers [{first.shape[0]}], one per example. '
                f"Received: {ids.dtype.name}{list(ids.shape)}"
            )
        ids = tf.cast(ids, tf.int64)
    _, everywhere = rows_of_replica(number_of_rows(first))
    columns = [first, second]
    if ids is not None:
        parts = [tf.bitwise.bitwise_and(tf.bitwise.right_shift(ids, shift), LOW_BITS) for shift in SHIFTS]
        columns += [tf.cast(part[:, tf.newaxis], first.dtype) for part in parts]
    dimensions = first.shape[1]
    rows = gather_rows(tf.concat(columns, axis=1), everywhere)
    first, second, parts = tf.split(rows, [dimensions, dimensions, len(columns) - 2], axis=1)
    if ids is not None:
        parts = tf.unstack(tf.cast(parts, tf.int64), axis=1)
        ids = tf.add_n([tf.bitwise.left_shift(part, shift) for part, shift in zip(parts, SHIFTS)])
    return (first, second), ids
