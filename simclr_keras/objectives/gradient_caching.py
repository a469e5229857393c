"""Gradient caching: the loss of a large batch, with the memory of a micro-batch.

Source: Gao et al. 2021, arXiv 2101.06983, section 3.

Letters in the shapes: b = examples on this replica, m = those of a micro-batch, k = b / m = micro-batches, d = width of
an output of the network.
"""

import keras
import tensorflow as tf

from simclr_keras.objectives.learner import Learner
from simclr_keras.objectives.replica_loop import loop_on_replicas
from simclr_keras.replicas import rows_of_replica

VIEWS = 2


def cached_gradients(learner: Learner, batch: dict, rows: int) -> tuple[tf.Tensor, dict, list]:
    """Return what `Learner.loss_and_gradients` does, with the activations of one micro-batch at a time in memory.

    The network runs over all micro-batches, and stores its outputs alone. The loss over all of them gives their
    gradients. A second run over the micro-batches, with the same views, takes these back to the variables. Batch
    normalization has the statistics of a micro-batch, on all replicas or on each. The first run writes nothing: moving
    statistics are updated once per micro-batch, and random layers draw the same in both runs.

    Args:
        learner: a ContrastiveLearner; this takes its `endpoints`, `momentum_outputs` and `loss_of`.
        batch: as for `learner.objective`, of a static size.
        rows: m, which divides b.
    """
    views = tf.convert_to_tensor(batch["views"])
    count = views.shape[0] // rows
    first, everywhere = rows_of_replica(views.shape[0])
    variables = learner.main_variables + learner.probe_variables

    def images(index, inputs):
        start = index * rows
        part = tf.slice(inputs["views"], [start, *[0] * (views.shape.rank - 1)], [rows, *views.shape[1:]])
        return learner.images(part, VIEWS, position=(inputs["first"] + start, everywhere))

    inputs = {"views": views, "first": tf.convert_to_tensor(first)}
    outputs = _all_outputs(learner, images, count, rows, inputs)
    watched = {name: outputs[name] for name in learner.endpoints}
    with tf.GradientTape() as tape:
        tape.watch(watched)
        joined = {name: _join(values) for name, values in outputs.items()}
        loss, figures = learner.loss_of(joined, batch)
        loss, scaled = learner.share_of_loss(loss)
    # The decay reaches the variables directly.
    cached, direct = tape.gradient(scaled, [watched, variables])
    gradients = _sum_gradients(learner, images, count, {**inputs, "cached": cached}, variables, direct)
    return loss, figures, gradients


def _all_outputs(learner, images, count, rows, inputs):
    """Return a dict of endpoints, and keys if there is memory, of all micro-batches: [k, 2m, d] each.

    The model stays as it is. The momentum network's own moving statistics are updated here.
    """
    model = learner.model
    changing = model.non_trainable_variables  # moving statistics, and what random layers draw from
    dtype = model.projection_head.compute_dtype

    def forward(index, inputs, outputs, values):
        views = images(index, inputs)
        keys = learner.momentum_outputs(views)
        scope = keras.StatelessScope(list(zip(changing, values)))
        with scope:
            new = model(views, training=True) | keys
        outputs = {
            name: tf.tensor_scatter_nd_update(stored, [[index]], new[name][tf.newaxis])
            for name, stored in outputs.items()
        }
        return outputs, [scope.get_current_value(variable) for variable in changing]

    widths = [model.projection_head.width] + (
        [] if model.classifier is None else [model.classifier.num_classes]
    )
    outputs = {
        name: tf.zeros([count, VIEWS * rows, width], dtype) for name, width in zip(learner.endpoints, widths)
    }
    if learner.momentum is not None:
        outputs["keys"] = tf.zeros_like(outputs[learner.endpoints[0]])
    values = [tf.convert_to_tensor(variable) for variable in changing]
    return loop_on_replicas(forward, count, inputs, (outputs, values))[0]


def _join(values):
    """Return [2b, d], all first views first, of the micro-batches' [k, 2m, d]."""
    count, rows, width = values.shape
    parts = tf.reshape(values, [count, VIEWS, rows // VIEWS, width])
    return tf.reshape(tf.transpose(parts, [1, 0, 2, 3]), [count * rows, width])


def _sum_gradients(learner, images, count, inputs, variables, direct):
    """Return the sums of `direct` and of the gradients of all micro-batches; None if a variable has none."""

    def backward(index, inputs, *sums):
        views = images(index, inputs)
        with tf.GradientTape() as tape:
            endpoints = learner.model(views, training=True)
            outputs = [endpoints[name] for name in learner.endpoints]
        upstream = [tf.gather(inputs["cached"][name], index) for name in learner.endpoints]
        gradients = tape.gradient(outputs, variables, upstream)
        return [
            gradient if gradient is None else total + gradient for total, gradient in zip(sums, gradients)
        ]

    zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
    start = [zero if gradient is None else gradient for zero, gradient in zip(zeros, direct)]
    sums = loop_on_replicas(backward, count, inputs, tuple(start))
    return [gradient if total is None else total for gradient, total in zip(direct, sums)]
