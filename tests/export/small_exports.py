"""SavedModels for tests: a small export of our own, and modules as others write them."""

import keras
import tensorflow as tf

from simclr_keras.export.saved_model import write_saved_model
from simclr_keras.models.zoo import create_model

SIZE = 12
SPEC = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")


def small_network(seed=0, **settings):
    """A float32 network with batch statistics that are away from where they start."""
    keras.utils.set_random_seed(seed)
    settings = {"num_classes": 5, "proj_layers": 2, "proj_dim": 6, "image_size": SIZE} | settings
    network = create_model("r18_0.125x_sk0", **settings)
    network(images(seed + 1, 8), training=True)
    return network


def write_export(path, seed=0, weight_decay=0.0, **settings):
    """Writes `small_network` to a folder and returns it."""
    network = small_network(seed, **settings)
    write_saved_model(network, str(path), image_size=SIZE, weight_decay=weight_decay)
    return network


def images(seed=0, count=8, size=SIZE):
    return tf.random.stateless_uniform([count, size, size, 3], [seed, 7])


class Foreign(tf.Module):
    """A module with a kernel, a running mean that training moves, and a dict of two outputs."""

    def __init__(self, bare=False):
        super().__init__()
        self.kernel = tf.Variable(tf.ones([3, 4]), name="kernel")
        self.mean = tf.Variable(tf.zeros([4]), trainable=False, name="mean")
        self.bare = bare

    @tf.function
    def __call__(self, images, training=False):
        features = tf.reduce_mean(images, [1, 2]) @ self.kernel
        if training:
            self.mean.assign(tf.reduce_mean(features, 0))
        return features if self.bare else {"features": features, "shifted": features - self.mean}


class Listed(tf.train.Checkpoint):
    """Holds a module's call with its variables listed, as reusable SavedModels do."""

    def __init__(self, module, weights, others=(), losses=()):
        super().__init__()
        self.__call__ = module.__call__
        self.trainable_variables = list(weights)
        self.variables = [*weights, *others]
        self.regularization_losses = list(losses)


def write_foreign(path, *, modes=(False, True), bare=False, listed=True):
    """Writes a `Foreign` as a SavedModel, traced for these modes; `listed` says whether variables are listed."""
    module = Foreign(bare)
    for training in modes:
        module.__call__.get_concrete_function(SPEC, training=training)
    tf.saved_model.save(Listed(module, [module.kernel], [module.mean]) if listed else module, str(path))
    return module
