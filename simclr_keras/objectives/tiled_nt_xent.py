"""The sums of NT-Xent from tiles of the similarities, which are computed again for the gradient.

Memory grows with the number of embeddings, not with its square. The log-sum-exp over the candidates is streamed: each
tile updates the largest similarity of an anchor, the sum of exponentials, and the sum of candidates weighted by them,
which becomes the gradient of the anchor (as in FlashAttention, Dao et al. 2022, arXiv 2205.14135).

Letters in the shapes: b = examples on this replica, B = b * replicas, n = anchors, k = candidates, d = dimensions.
"""

from collections.abc import Callable

import tensorflow as tf

TILE = 1024  # rows and columns: 4 MB of float32; on 2 CPU cores 512 took up to 1.4 times as long
ENTROPY_EPSILON = 1e-8
# In place of an id: no embedding in this place of a queue yet, and an embedding of an unknown example.
UNFILLED, UNKNOWN = -1, -2


def tiled_sums(
    anchors: tf.Tensor,
    candidates: list[tf.Tensor],
    rows: tf.Tensor,
    labels: list[tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the sums over this replica's examples of loss, accuracy and entropy.

    Args:
        anchors: [2b, d] embeddings of both views, divided by the temperature. All shapes must be static.
        candidates: embeddings of both views of the global batch, [B, d] each; if there is a queue, its rows, too.
        rows: int32 [b], the rows of this replica's examples in the global batch.
        labels: int [B] of the examples, and of the rows of the queue, see `is_left_out`; None if all differ.

    Returns:
        three scalars of the anchors' dtype.
    """
    examples, everywhere = rows.shape[0], candidates[0].shape[0]
    # The loss is softplus(negatives - positive): 0 or more, and exact if it is small.
    positives = tf.concat([tf.gather(candidates[1], rows), tf.gather(candidates[0], rows)], axis=0)
    positive = tf.reduce_sum(anchors * positives, axis=1)
    if labels is None:
        labels = [tf.range(everywhere), *(tf.fill([memory.shape[0]], UNKNOWN) for memory in candidates[2:])]
    negatives = log_sum_exp_of_others(
        anchors,
        tf.concat(candidates, axis=0),
        tf.tile(tf.gather(labels[0], rows), [2]),
        tf.concat([labels[0], *labels], axis=0),
    )
    loss = tf.reduce_sum(tf.nn.softplus(negatives - positive))
    hits, entropies = _tiled_hits_and_entropies(anchors[:examples], candidates[1], rows)
    return loss, tf.reduce_sum(hits), tf.reduce_sum(entropies)


def hits_and_entropies(logits: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return whether each view-1 anchor is nearest to its own image, and the entropy of its softmax.

    Args:
        logits: [n, B] similarities of view-1 anchors and view-2 keys, divided by the temperature.
        rows: int32 [n], the column of each anchor's own image.

    Returns:
        hits [n], 0 or 1, without a gradient; entropies [n] in nats.
    """
    nearest = tf.argmax(logits, axis=1, output_type=tf.int32)
    probability = tf.nn.softmax(logits)
    surprise = -tf.math.log(probability + ENTROPY_EPSILON)
    return tf.cast(nearest == rows, logits.dtype), tf.reduce_sum(probability * surprise, axis=1)


def is_left_out(anchor_labels: tf.Tensor, candidate_labels: tf.Tensor) -> tf.Tensor:
    """Return [n, k], whether a candidate is no negative: of the anchor's example, or in an unfilled place.

    Args:
        anchor_labels: int [n], never UNFILLED or UNKNOWN.
        candidate_labels: int [k].
    """
    return (anchor_labels[:, tf.newaxis] == candidate_labels) | (candidate_labels == UNFILLED)


def log_sum_exp_of_others(
    anchors: tf.Tensor, candidates: tf.Tensor, anchor_labels: tf.Tensor, candidate_labels: tf.Tensor
) -> tf.Tensor:
    """Return the log-sum-exp of each anchor's products with the candidates that are not left out.

    Args:
        anchors: [n, d] float. All shapes must be static.
        candidates: [k, d] of the same dtype.
        anchor_labels: int [n].
        candidate_labels: int [k]; see `is_left_out`.

    Returns:
        [n]; about half the most negative number of the dtype if nothing is left.
    """
    dimensions, dtype = anchors.shape[1], anchors.dtype
    # Finite, for a kernel may multiply it by 0; halved, for a maximum is subtracted from it.
    masked = tf.constant(dtype.min / 2, dtype)

    @tf.custom_gradient
    def log_sum_exp(anchors, candidates):
        def products(start, height, first, width):
            tile = tf.matmul(_part(anchors, start, height), _part(candidates, first, width), transpose_b=True)
            labels = _part(anchor_labels, start, height), _part(candidate_labels, first, width)
            return tf.where(is_left_out(*labels), masked, tile)

        def anchor_band(start, height):
            def add_tile(state, first, width):
                largest, total, weighted = state
                tile = products(start, height, first, width)
                top = tf.maximum(largest, tf.reduce_max(tile, axis=1))
                scale, weights = tf.exp(largest - top), tf.exp(tile - top[:, tf.newaxis])
                total = total * scale + tf.reduce_sum(weights, axis=1)
                added = tf.matmul(weights, _part(candidates, first, width))
                return top, total, weighted * scale[:, tf.newaxis] + added

            zeros = tf.zeros([height], dtype), tf.zeros([height, dimensions], dtype)
            state = (tf.fill([height], dtype.min), *zeros)
            largest, total, weighted = _fold(add_tile, state, candidates.shape[0], TILE)
            return largest + tf.math.log(total), weighted / total[:, tf.newaxis]

        values, mean_candidates = _bands(anchor_band, anchors.shape[0], TILE, dtype, [], [dimensions])

        def gradient(upstream):
            scaled = anchors * upstream[:, tf.newaxis]

            def candidate_band(first, width):
                def add_tile(state, start, height):
                    tile = products(start, height, first, width)
                    weights = tf.exp(tile - _part(values, start, height)[:, tf.newaxis])
                    return (state[0] + tf.matmul(weights, _part(scaled, start, height), transpose_a=True),)

                return _fold(add_tile, (tf.zeros([width, dimensions], dtype),), anchors.shape[0], TILE)

            (candidates_gradient,) = _bands(candidate_band, candidates.shape[0], TILE, dtype, [dimensions])
            return mean_candidates * upstream[:, tf.newaxis], candidates_gradient

        return values, gradient

    return log_sum_exp(anchors, candidates)


def _tiled_hits_and_entropies(anchors, keys, rows):
    """`hits_and_entropies` of [b, d] and [B, d], from bands of whole rows with the area of a tile."""
    dimensions, dtype = anchors.shape[1], anchors.dtype
    height = max(1, TILE**2 // keys.shape[0])

    def logits(anchors, keys, start, height):
        return tf.matmul(_part(anchors, start, height), keys, transpose_b=True)

    @tf.custom_gradient
    def statistics(anchors, keys):
        def band(start, height):
            return hits_and_entropies(logits(anchors, keys, start, height), _part(rows, start, height))

        values = _bands(band, anchors.shape[0], height, dtype, [], [])

        def gradient(_, upstream):
            def slopes(start, height):
                products = logits(anchors, keys, start, height)
                with tf.GradientTape() as tape:
                    tape.watch(products)
                    _, entropies = hits_and_entropies(products, _part(rows, start, height))
                return tape.gradient(entropies, products, _part(upstream, start, height))

            def anchor_band(start, height):
                return (tf.matmul(slopes(start, height), keys),)

            def add_band(state, start, height):
                added = tf.matmul(slopes(start, height), _part(anchors, start, height), transpose_a=True)
                return (state[0] + added,)

            (anchors_gradient,) = _bands(anchor_band, anchors.shape[0], height, dtype, [dimensions])
            (keys_gradient,) = _fold(add_band, (tf.zeros_like(keys),), anchors.shape[0], height)
            return anchors_gradient, keys_gradient

        return values, gradient

    return statistics(anchors, keys)


def _part(values, start, size):
    return tf.slice(values, [start, *[0] * (values.shape.rank - 1)], [size, *values.shape[1:]])


def _fold(step: Callable, state: tuple, rows: int, size: int) -> tuple:
    """Return the last state of state = step(state, start, size), over all rows; the last part may be smaller."""
    whole, rest = divmod(rows, size)
    if whole:
        _, *state = tf.while_loop(
            lambda i, *_: i < whole,
            lambda i, *state: (i + 1, *step(state, i * size, size)),
            (0, *state),
            parallel_iterations=1,
            maximum_iterations=whole,
        )
    return step(tuple(state), whole * size, rest) if rest else tuple(state)


def _bands(band: Callable, rows: int, size: int, dtype: tf.DType, *shapes) -> list[tf.Tensor]:
    """Return the outputs of band(start, size), of these shapes behind their rows, for all rows in one."""
    whole, rest = divmod(rows, size)
    outputs = [[] for _ in shapes]
    if whole:
        stacked = tf.map_fn(
            lambda i: tuple(band(i * size, size)),
            tf.range(whole),
            fn_output_signature=tuple(tf.TensorSpec([size, *shape], dtype) for shape in shapes),
            parallel_iterations=1,
        )
        outputs = [[tf.reshape(values, [whole * size, *shape])] for values, shape in zip(stacked, shapes)]
    if rest:
        for parts, values in zip(outputs, band(whole * size, rest)):
            parts.append(values)
    return [tf.concat(parts, axis=0) for parts in outputs]
