"""One step of SGD on the exported network, computed by hand."""

import numpy as np
import tensorflow as tf

from tests.export.networks import make_network, values_of


def step_by_hand(batches, *, rate, scale=1.0, weight_decay=0.0):
    """Return (weights, statistics for each batch) after a step towards 0 on the scaled sum of the representation.

    Each batch is normalized by itself, as on replicas, and its gradient is averaged with the others'.
    """
    network = make_network()
    weights = [v.value for v in network.trainable_variables]
    kernels = [v.value for v in network.trainable_variables if v.path.endswith("kernel")]
    before = values_of(network.variables)
    gradients, statistics = [], []
    for batch in batches:
        with tf.GradientTape() as tape:
            features = network(batch, training=True)["final_avg_pool"]
            loss = tf.reduce_mean(tf.square(scale * tf.reduce_sum(features, axis=-1)))
            loss += weight_decay * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])
        gradients.append(tape.gradient(loss, weights, unconnected_gradients="zero"))
        statistics.append(values_of(network.non_trainable_variables))
        for variable, value in zip(network.variables, before):
            variable.assign(value)
    means = [np.mean([g.numpy() for g in of_batches], axis=0) for of_batches in zip(*gradients)]
    return [w.numpy() - rate * mean for w, mean in zip(weights, means)], statistics
