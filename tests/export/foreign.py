"""SavedModels as others write them."""

import tensorflow as tf

SPEC = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")


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


def write_foreign(path, *, modes=(False, True), bare=False, listed=True, losses=False):
    """Writes a `Foreign` as a SavedModel, traced for these modes, and returns it.

    Args:
        path: of the folder. modes: values of `training`. bare: whether it gives one tensor without a name.
        listed: whether its variables are listed. losses: whether it has an L2 loss.
    """
    module = Foreign(bare)
    for training in modes:
        module.__call__.get_concrete_function(SPEC, training=training)
    decay = tf.function(lambda: 0.01 * tf.nn.l2_loss(module.kernel), input_signature=[])
    decay.get_concrete_function()
    holder = Listed(module, [module.kernel], [module.mean], [decay] * losses) if listed else module
    tf.saved_model.save(holder, str(path))
    return module
