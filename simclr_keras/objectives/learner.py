"""Learner: the one train_step (decay, loss scaling over replicas, optimizers, metrics); subclasses give the losses."""

import keras
import tensorflow as tf


class Learner(keras.Model):
    """Trains a SimCLRModel. A subclass says what to minimise by overriding `objective`.

    `train_step` runs unchanged on one device, under `strategy.run` and in `fit`: static shapes, no host callbacks,
    collectives in replica context only.

    Args:
        model: a built SimCLRModel.
        weight_decay: coefficient of the L2 term 0.5 * weight_decay * ||w||^2 added to the loss for the variables in
            `decayed_in_loss`; the rest of the decay, if any, is the optimizer's own.
        decayed_in_loss: function of a variable's path to bool: whether the L2 term covers it.
        name: name of the learner.
    """

    def __init__(self, model, *, weight_decay=0.0, decayed_in_loss=None, name="learner"):
        super().__init__(name=name)
        self.model = model
        self.weight_decay = weight_decay
        self.decayed_in_loss = decayed_in_loss or (lambda path: False)
        self.probe_optimizer = None
        self.built = True

    def compile(self, optimizer, probe_optimizer=None, **kwargs):
        """Sets the optimizers and builds their slots.

        Args:
            optimizer: updates all trainable variables but those in `probe_variables`.
            probe_optimizer: updates `probe_variables`; needed when there are any.
        """
        super().compile(optimizer=optimizer, jit_compile=kwargs.pop("jit_compile", False), **kwargs)
        self.probe_optimizer = probe_optimizer
        optimizer.build(self.main_variables)
        if self.probe_variables:
            if probe_optimizer is None:
                raise ValueError("The model has a probe, so compile needs a probe_optimizer. Received: None")
            probe_optimizer.build(self.probe_variables)

    @property
    def probe_variables(self):
        """Trainable variables that the probe optimizer updates."""
        return []

    @property
    def main_variables(self):
        """Trainable variables that the main optimizer updates."""
        probe = {id(variable) for variable in self.probe_variables}
        return [variable for variable in self.model.trainable_variables if id(variable) not in probe]

    def call(self, images, training=False):
        """Returns the model's dict of endpoints."""
        return self.model(images, training=training)

    def objective(self, batch):
        """Returns this replica's mean loss for one batch and updates the metrics.

        Args:
            batch: dict as made by `data.pipeline`.

        Returns:
            scalar tensor, float32 or float64.
        """
        raise NotImplementedError("A Learner subclass defines objective(batch).")

    def decay_loss(self):
        """Returns the L2 term over the variables in `decayed_in_loss`."""
        terms = [
            tf.reduce_sum(tf.square(tf.convert_to_tensor(variable)))
            for variable in self.model.trainable_variables
            if self.decayed_in_loss(variable.path)
        ]
        if not terms or not self.weight_decay:
            return None
        return 0.5 * self.weight_decay * tf.add_n(terms)

    def train_step(self, batch):
        """Takes one optimizer step on this replica's share of the batch and returns the running metrics."""
        main, probe = self.main_variables, self.probe_variables
        with tf.GradientTape() as tape:
            loss = self.objective(batch)
            decay = self.decay_loss()
            if decay is not None:
                loss += tf.cast(decay, loss.dtype)
            # Optimizers sum gradients over replicas; the loss wanted is the mean over the global batch.
            loss /= tf.distribute.get_strategy().num_replicas_in_sync
        gradients = tape.gradient(loss, main + probe)
        self.optimizer.apply_gradients(zip(gradients[: len(main)], main))
        if probe:
            self.probe_optimizer.apply_gradients(zip(gradients[len(main) :], probe))
        return self.get_metrics_result()

    def state(self):
        """Returns every variable a checkpoint must hold, as a dict of unique name to Keras variable."""
        groups = {
            "model": self.model.variables,
            "optimizer": self.optimizer.variables,
            "probe_optimizer": self.probe_optimizer.variables if self.probe_optimizer else [],
        }
        named = {}
        for group, variables in groups.items():
            for variable in variables:
                key = f"{group}/{variable.path}"
                if key in named:
                    raise ValueError(
                        f"Two variables share a path, so a checkpoint could mix them up. Received: {key}"
                    )
                named[key] = variable
        for metric in self.metrics:
            for variable in metric.variables:
                named[f"metrics/{metric.name}/{variable.name}"] = variable
        return named


def global_mean(values, weights):
    """Weighted mean over the *global* batch, as this replica's summand times the number of replicas.

    The learner divides by the number of replicas and optimizers sum, so that N replicas with unevenly spread weights
    (labels on some images only) equal one device.

    Args:
        values: [b] float.
        weights: [b] float, not negative; their global sum may be zero, which gives 0.

    Returns:
        scalar.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    total = tf.reduce_sum(weights)
    if replicas > 1:
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)
    return replicas * tf.reduce_sum(values * weights) / tf.maximum(total, 1)
