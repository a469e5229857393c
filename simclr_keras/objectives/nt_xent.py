"""NT-Xent, the contrastive loss of SimCLR: across replicas, and against memory keys.

Letters in the shapes: b = examples on this replica, B = b * replicas, d = dimensions, m = rows of the queue.
"""

import typing

import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.objectives.tiled_nt_xent import (
    UNKNOWN,
    hits_and_entropies,
    is_left_out,
    tiled_sums,
)
from simclr_keras.replicas import gather_rows, num_replicas, number_of_rows, rows_of_replica

NORM_EPSILON = 1e-12  # on the squared norm
DIRECTIONLESS_NORM = 1e-3
# Of one replica's anchors and all candidates. Up to this size one matrix, 64 MB of float32 and a few copies, is small
# beside the network, and one large product suits accelerators. Above it, tiles take less memory and less time.
MOST_DENSE_SIMILARITIES = 4096**2


class NTXent(typing.NamedTuple):
    """Scalars of one replica's anchors; their mean over replicas is that of the global batch.

    Attributes:
        loss: mean over the b examples of the sum of both directions, which is twice the mean over the
            2b anchors.
        accuracy: share of view-1 anchors that are nearest to their own image among the view-2 keys.
        entropy: mean entropy, in nats, of the softmax of view-1 anchors over the view-2 keys.
    """

    loss: tf.Tensor
    accuracy: tf.Tensor
    entropy: tf.Tensor


def nt_xent(
    view1: tf.Tensor,
    view2: tf.Tensor,
    *,
    temperature: float = 0.1,
    normalize: bool = True,
    keys: tuple[tf.Tensor, tf.Tensor] | None = None,
    queue: tf.Tensor | None = None,
    ids: tf.Tensor | None = None,
    queue_ids: tf.Tensor | None = None,
) -> NTXent:
    """Return the normalized temperature-scaled cross-entropy between two views of a batch.

    Letters: b = examples on this replica, B = b * replicas, d = dimensions, m = rows of the queue.

    Every embedding is an anchor: its positive is the other view of its image, its negatives are both views
    of all other images on all replicas. Inside `strategy.run` the views of the other replicas are gathered
    (one collective, differentiable) and the loss is the mean over this replica's anchors alone. Keras
    optimizers sum gradients over replicas, so divide the loss by `num_replicas_in_sync` there. If b is not known
    while tracing, replicas may have different numbers of examples, as in the last batch of Keras' `fit`. Then every
    scalar is this replica's sum divided by the mean number of examples, so that the mean over replicas stays right.

    With memory the anchors stay the online embeddings, view1 and view2, while all candidates come from a momentum
    network: `keys` and `queue`. The positive of an anchor is the key of the other view of
    its image; the key of its own view is left out. All other rows are negatives, except those of the anchor's own
    example by `ids` and `queue_ids`, and places of the queue that are not filled yet. No gradient flows into keys and
    queue.

    Above 4096 * 4096 similarities on this replica, of a static size, they are computed in tiles (`tiled_nt_xent`):
    memory grows with the number of embeddings alone. The values and gradients stay the same but for rounding.

    Source: SimCLR, https://arxiv.org/abs/2002.05709, eq. 1; SimCLRv2, https://arxiv.org/abs/2006.10029,
    appendix D, for the memory. The value is that of the released code, which sums the two directions.

    >>> import tensorflow as tf
    >>> from simclr_keras import nt_xent
    >>> result = nt_xent(tf.eye(4, 8), tf.eye(4, 8), temperature=0.5)
    >>> round(float(result.loss), 2), float(result.accuracy)
    (1.19, 1.0)

    Args:
        view1: [b, d] embeddings of the first views. float64 stays; every other type becomes float32 first.
        view2: [b, d] embeddings of the second views, in the same order.
        temperature: positive float, 0.1 to 0.5 as a rule.
        normalize: whether to scale all embeddings (keys and queue too) to unit length first.
        keys: None, or a pair of [B, d], the momentum embeddings of both views of the *global* batch, with the
            replicas' examples in order. The caller gathers them, since it needs them for the queue too.
        queue: None, or [m, d], momentum embeddings of past batches. Needs `keys`.
        ids: None, or int [B], ids of the examples of the *global* batch, in the order of `keys`, which they need. An
            id is 0 to 2**63 - 1; below 0 it is unknown. Past views of an anchor's example in the queue, and the keys
            of an example that occurs twice in the batch, are then no negatives.
        queue_ids: None, or int [m], ids of the examples in the queue: -1 for a place that is not filled yet, -2 for an
            unknown example. None: all places are filled, by unknown examples.

    Returns:
        NTXent(loss, accuracy, entropy): loss and entropy in nats, 0 or more; accuracy in [0, 1].

    Raises:
        InputError: shapes do not match, the batch is empty, temperature is not positive, a queue or ids come without
            keys, or ids are no integers.
        tf.errors.InvalidArgumentError: replicas have different numbers of examples, each known while tracing.
    """
    context = _replica_context()
    view1, view2 = _embeddings(view1), _embeddings(view2)
    keys = [tf.convert_to_tensor(key) for key in keys] if isinstance(keys, (tuple, list)) else keys
    queue = None if queue is None else tf.convert_to_tensor(queue)
    _check(view1, view2, temperature, keys, queue, context.num_replicas_in_sync)
    _check_ids("ids", ids, "keys", None if keys is None else keys[0])
    _check_ids("queue_ids", queue_ids, "queue", queue)
    if normalize:
        view1, view2 = _unit_length(view1), _unit_length(view2)
    anchors = tf.concat([view1, view2], axis=0)  # [2b, d]
    local = number_of_rows(view1)
    first, everywhere = rows_of_replica(local)

    if keys is not None:
        memories = [*keys] if queue is None else [*keys, queue]
        candidates = [tf.stop_gradient(_embeddings(memory, view1.dtype)) for memory in memories]
        if normalize:
            candidates = [tf.math.l2_normalize(c, axis=-1, epsilon=NORM_EPSILON) for c in candidates]
    else:
        candidates = _gather(view1, view2, everywhere)

    rows = tf.range(local) + first  # of this replica, in the global batch
    sums = tiled_sums if _similarities(anchors, candidates) > MOST_DENSE_SIMILARITIES else _dense_sums
    labels = None if ids is None and queue_ids is None else _labels(everywhere, candidates, ids, queue_ids)
    loss, hits, entropy = sums(anchors / temperature, candidates, rows, labels)
    share = tf.cast(everywhere / context.num_replicas_in_sync, loss.dtype)
    return NTXent(loss / share, hits / share, entropy / share)


def _similarities(anchors, candidates):
    """Static number of similarities, 0 if it is not known while tracing."""
    columns = [rows.shape[0] for rows in candidates]
    return 0 if None in [anchors.shape[0], *columns] else anchors.shape[0] * sum(columns)


def _labels(everywhere, candidates, ids, queue_ids):
    """Return int64 labels of the global batch's examples [B], and of the queue's rows [m] if there is a queue.

    Equal ones belong to one example. Those of examples without an id are unlike any other.
    """
    own = UNKNOWN - 1 - tf.range(tf.cast(everywhere, tf.int64))
    ids = own if ids is None else tf.where(tf.cast(ids, tf.int64) < 0, own, tf.cast(ids, tf.int64))
    if len(candidates) == 2:
        return [ids]
    size = number_of_rows(candidates[2])
    unknown = tf.constant(UNKNOWN, tf.int64)
    return [ids, tf.fill([size], unknown) if queue_ids is None else tf.cast(queue_ids, tf.int64)]


def _dense_sums(anchors, candidates, rows, labels=None):
    """As `tiled_sums`, for any shapes, from one matrix of all similarities."""
    local, everywhere = number_of_rows(rows), number_of_rows(candidates[0])
    # Columns: B candidates of view 1, B of view 2, m of the queue.
    positive = tf.concat([rows + everywhere, rows], axis=0)

    logits = tf.matmul(anchors, tf.concat(candidates, axis=0), transpose_b=True)
    # Finite, for a kernel may multiply it by 0; halved, for a maximum is subtracted from it.
    masked = tf.constant(logits.dtype.min / 2, logits.dtype)
    columns = tf.range(logits.shape[1] or tf.shape(logits)[1])[tf.newaxis]
    if labels is None:
        itself = tf.concat([rows, rows + everywhere], axis=0)
        left_out = columns == itself[:, tf.newaxis]
    else:
        anchor_labels = tf.tile(tf.gather(labels[0], rows), [2])
        left_out = is_left_out(anchor_labels, tf.concat([labels[0], *labels], axis=0))
        left_out &= columns != positive[:, tf.newaxis]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(positive, tf.where(left_out, masked, logits))
    across = logits[:local, everywhere : 2 * everywhere]  # view-1 anchors, view-2 keys
    hits, entropies = hits_and_entropies(across, rows)
    return tf.reduce_sum(losses), tf.reduce_sum(hits), tf.reduce_sum(entropies)


def _embeddings(values, dtype=None):
    values = tf.convert_to_tensor(values)
    # In bfloat16 the gradient of this loss is some 10 % off.
    return tf.cast(values, dtype or (tf.float64 if values.dtype == tf.float64 else tf.float32))


def _unit_length(vectors):
    """Scale the rows of [n, d] to length 1: x / sqrt(max(||x||^2, 1e-12)), with a bounded gradient."""
    # The true gradient grows as 1 / ||x||, to 1e6, for vectors that are zero but for rounding (a dead or
    # collapsed head), whose direction means nothing. Below a norm of 1e-3 it is faded out quadratically:
    # at most 1e3, and 0 at zero. All values, and the gradients of longer vectors, are exact.
    squared_norm = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    meaning = tf.stop_gradient(tf.minimum(squared_norm / DIRECTIONLESS_NORM**2, 1))
    vectors = meaning * vectors + tf.stop_gradient((1 - meaning) * vectors)
    return tf.math.l2_normalize(vectors, axis=-1, epsilon=NORM_EPSILON)


def _replica_context():
    context = tf.distribute.get_replica_context()
    if context is None:
        raise InputError(
            "nt_xent must be called inside strategy.run, on each replica. Received: a call in the scope of "
            f"{type(tf.distribute.get_strategy()).__name__}, outside run"
        )
    return context


def _gather(view1, view2, everywhere):
    """[B, d] of both views, from all replicas, by one collective."""
    if num_replicas() == 1:
        return [view1, view2]
    return tf.split(gather_rows(tf.concat([view1, view2], axis=1), everywhere), 2, axis=1)


def _check(view1, view2, temperature, keys, queue, replicas):
    if view1.shape.rank != 2 or not view1.shape.is_compatible_with(view2.shape) or view1.dtype != view2.dtype:
        raise InputError(
            "The views must both be [examples, dimensions], of one shape and dtype. "
            f"Received: view1={_describe(view1)}, view2={_describe(view2)}"
        )
    if view1.shape[0] == 0 and replicas == 1:
        raise InputError("The batch has no examples; give at least one.")
    if not temperature > 0:
        raise InputError(f"`temperature` must be positive. Received: temperature={temperature}")
    if keys is None:
        if queue is not None:
            raise InputError(
                "`queue` needs `keys`, the momentum embeddings of the current batch. "
                f"Received: keys=None, queue={_describe(queue)}"
            )
        return
    if not isinstance(keys, (tuple, list)) or len(keys) != 2:
        raise InputError(
            f"`keys` must be a pair, one tensor per view. Received: keys of {type(keys).__name__}"
        )
    examples = None if view1.shape[0] is None else view1.shape[0] * replicas
    for key in keys:
        if not tf.TensorShape([examples, view1.shape[1]]).is_compatible_with(key.shape):
            raise InputError(
                f"`keys` must be [{examples}, {view1.shape[1]}] each, for {replicas} replicas of "
                f"{view1.shape[0]} examples. Received: {_describe(keys[0])} and {_describe(keys[1])}"
            )
    if queue is not None and not tf.TensorShape([None, view1.shape[1]]).is_compatible_with(queue.shape):
        raise InputError(f"`queue` must be [rows, {view1.shape[1]}]. Received: queue={_describe(queue)}")


def _check_ids(name, ids, of, rows):
    """Raise InputError unless ids are None, or integers, one per row of what they belong to."""
    if ids is None:
        return
    if rows is None:
        raise InputError(f"`{name}` needs `{of}`. Received: {of}=None, {name}={_describe(ids)}")
    ids = tf.convert_to_tensor(ids)
    if not ids.dtype.is_integer or not tf.TensorShape(ids.shape).is_compatible_with(rows.shape[:1]):
        raise InputError(
            f"`{name}` must be integers [{rows.shape[0]}], one per row of `{of}`. Received: {_describe(ids)}"
        )


def _describe(tensor):
    tensor = tf.convert_to_tensor(tensor)
    return f"{tensor.dtype.name}{list(tensor.shape)}"
