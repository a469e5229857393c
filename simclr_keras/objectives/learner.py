"""Learner: the one train_step (decay, loss scaling over replicas, optimizers, metrics). Subclasses define the loss."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.foreign.layers import set_views
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.keras_interface import KerasInterface, batch_of
from simclr_keras.objectives.loss_scale import LossScale
from simclr_keras.objectives.nonfinite import Guard
from simclr_keras.optim.apply_gradients import (
    apply_gradients,
    call_count,
    check_optimizer,
    loss_scale,
    own_variables,
    variable_groups,
)
from simclr_keras.preprocess import largest_pixel, to_float
from simclr_keras.replicas import Average, sum_over_replicas


class Learner(KerasInterface):
    """Train a SimCLRModel. Subclasses define the loss by overriding `objective`.

    `train_step` runs unchanged on one device, under `strategy.run` and in `fit`: static shapes, no host callbacks,
    collectives in replica context only.

    Args:
        model: a built SimCLRModel.
        augment: callable of (views [b, n, h, w, 3], step) to [n * b, h, w, 3] float in [0, 1], first views first, where
            n is how many views of an image the objective takes; None: the views are taken as they are. `evaluate`
            does without, except that of a ContrastiveLearner.
        figures: names of what `objective` reports; each becomes a metric, its mean since `reset_metrics`. The first
            is what `loss` in Keras' logs and history is.
        weight_decay: coefficient of the L2 term 0.5 * weight_decay * ||w||^2 added to the loss for the variables in
            `decayed_in_loss`; the rest of the decay, if any, is the optimizer's own.
        decayed_in_loss: function of a variable's path to bool: whether the L2 term covers it.
        on_nan: "stop" changes nothing: the training loop stops at a loss that is not finite. "skip_batch" undoes a
            batch if, on any replica, the loss, a gradient or any new value is not finite: weights, slots, moving
            statistics and metrics stay. The optimizers' `iterations` still advance, and with them schedule and
            randomness; `skipped` counts the batch. A float16 model undoes a step that overflows in the same way, with
            both settings, see `LossScale`; `on_nan` is for what the smallest loss scale does not prevent.
        name: name of the learner.

    Attributes:
        VIEWS: of each image, in a batch that the model gets in training.
        loss_scale: the LossScale of a float16 model, once it is compiled; else None.
    """

    VIEWS = 1

    def __init__(
        self,
        model: SimCLRModel,
        *,
        augment: Callable | None = None,
        figures: Sequence[str] = (),
        weight_decay: float = 0.0,
        decayed_in_loss: Callable[[str], bool] | None = None,
        on_nan: str = "stop",
        name: str | None = "learner",
    ):
        # Keras scales the loss by this policy, so it is not the global one.
        super().__init__(name=name, dtype=model.dtype_policy)
        self.model = model
        set_views(model, self.VIEWS)
        self.augment = augment
        # Float32 or float64, as the heads.
        self.averages = {name: Average(name, model.projection_head.compute_dtype) for name in figures}
        self.weight_decay = weight_decay
        self.decayed_in_loss = decayed_in_loss or (lambda path: False)
        if on_nan not in ("stop", "skip_batch"):
            raise InputError(f"on_nan must be 'stop' or 'skip_batch'. Received: on_nan={on_nan!r}")
        self.on_nan = on_nan
        self._guard = Guard()
        self.probe_optimizer = self.loss_scale = None
        self.built = True

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer,
        probe_optimizer: str | keras.optimizers.Optimizer | None = None,
        **kwargs,
    ) -> None:
        """Set the optimizers and build their slots.

        Loss scales (`loss_scale_factor`, LossScaleOptimizer), clipping and `use_ema` have the same effect on several
        replicas as on one device. `gradient_accumulation_steps` is for one device; the negatives of a contrastive
        loss stay within the micro-batch, so that it does not replace a larger batch.

        Args:
            optimizer: updates all trainable variables but those in `probe_variables`; a Keras optimizer or a name.
            probe_optimizer: updates `probe_variables`; needed if there are any.
            **kwargs: run_eagerly, steps_per_execution (on one replica), auto_scale_loss and jit_compile of
                `keras.Model.compile`. `jit_compile` is False by default. A model of policy mixed_float16 gets a
                `LossScale`, unless auto_scale_loss is False or the optimizer is a LossScaleOptimizer.

        Raises:
            InputError: there is a probe, but no optimizer for it; a loss or metrics are given; or an optimizer has an
                option that does not work on several replicas.
        """
        self._check_compile(kwargs)
        scales = kwargs.pop("auto_scale_loss", True) and self.dtype_policy.name == "mixed_float16"
        jit_compile = kwargs.pop("jit_compile", False)
        super().compile(optimizer=optimizer, jit_compile=jit_compile, auto_scale_loss=False, **kwargs)
        scales = scales and not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        self.loss_scale = LossScale() if scales else None
        if probe_optimizer is not None:
            try:
                probe_optimizer = keras.optimizers.get(probe_optimizer)
            except ValueError:
                raise InputError(
                    "the second argument of compile is `probe_optimizer`, an optimizer or its name: a learner has its "
                    f"own loss. Received: probe_optimizer={probe_optimizer!r}"
                ) from None
        self.probe_optimizer = probe_optimizer
        self.optimizer.build(self.main_variables)
        # `fit` ends with this method and all trainable weights, of which the main optimizer has only its own.
        self.optimizer.finalize_variable_values = self._finalize
        if self.probe_variables:
            if probe_optimizer is None:
                raise InputError(
                    "The model has a classifier, so `compile` needs a `probe_optimizer`. "
                    "Received: probe_optimizer=None"
                )
            probe_optimizer.build(self.probe_variables)
        for optimizer, _ in self._optimizers():
            check_optimizer(optimizer, self.distribute_strategy.num_replicas_in_sync)

    @property
    def metrics(self) -> list:
        # Keras adds a "loss" that only its own compute_loss would feed.
        return [metric for metric in super().metrics if isinstance(metric, Average)]

    def _maybe_symbolic_build(self, *_, **__):
        """Build nothing: a learner is built, and Keras fails here if replicas have different numbers of images."""

    @property
    def probe_variables(self) -> list:
        """Return the trainable variables that the probe optimizer updates."""
        return []

    @property
    def unused_variables(self) -> list:
        """Return the trainable variables on which the objective does not depend: nothing updates or decays them."""
        return []

    @property
    def main_variables(self) -> list:
        """Return the trainable variables that the main optimizer updates."""
        others = {id(variable) for variable in self.probe_variables + self.unused_variables}
        return [variable for variable in self.model.trainable_variables if id(variable) not in others]

    def _optimizers(self):
        """Return pairs of an optimizer and its variables, the main one first."""
        pairs = [(self.optimizer, self.main_variables), (self.probe_optimizer, self.probe_variables)]
        return [(optimizer, variables) for optimizer, variables in pairs if optimizer and variables]

    def _finalize(self, _=None):
        """Write the averages of optimizers with `use_ema` to the variables."""
        for optimizer, variables in self._optimizers():
            type(optimizer).finalize_variable_values(optimizer, variables)

    @property
    def skipped(self) -> tuple[int, int]:
        """Return the number of skipped batches: in total, and in a row up to the last one."""
        return tuple(int(variable.numpy()) for variable in self._guard.variables)

    def call(self, images: tf.Tensor, training: bool = False) -> dict:
        """Return the model's dict of endpoints."""
        return self.model(images, training=training)

    def objective(self, batch: dict, training: bool = True) -> tuple[tf.Tensor, dict]:
        """Return this replica's mean loss for one batch, and the figures to report.

        Args:
            batch: dict as made by `data.pipeline`.
            training: False for the model in inference mode, in `test_step`.

        Returns:
            (loss, figures): a scalar, float32 or float64, whose mean over the replicas is to be minimized; and a
            dict of name to (sum, weight), scalars of this replica, to report sum / weight over all replicas.
        """
        raise NotImplementedError("A Learner subclass defines objective(batch).")

    def figures(self) -> dict[str, float | None]:
        """Return the running metrics by name as numbers; None if nothing was counted, as after skipped steps alone."""
        return {
            name: float(average.result()) if tf.convert_to_tensor(average.count) > 0 else None
            for name, average in self.averages.items()
        }

    def training_images(self, batch: dict, step: int | tf.Tensor) -> tf.Tensor:
        """Return the images [n, h, w, 3] that the model gets together in a training step on this batch.

        step: on which the randomness of `augment` depends.
        """
        return self.images(batch["views"], batch["views"].shape[1], step)

    def images(
        self,
        views: tf.Tensor,
        count: int,
        step: int | tf.Tensor | None = None,
        training: bool = True,
        position: tuple | None = None,
    ) -> tf.Tensor:
        """Return the model's input for a batch: [count * b, h, w, 3] float in [0, 1], first views first.

        Args:
            views: [b, count, h, w, 3], uint8 or float in [0, 1].
            count: views of each image that the objective needs.
            step: on which the randomness of `augment` depends; None for the count of the optimizer's micro-batches.
            training: False leaves `augment` out.
            position: of a micro-batch: the row of its first example in the global batch, and the global batch's size.

        Raises:
            InputError: views of another shape or type.
        """
        if not tf.TensorShape(views.shape).is_compatible_with([None, count, None, None, 3]):
            raise InputError(
                f"Views must be [batch, {count}, height, width, 3]. Received: {list(views.shape)}"
            )
        largest_pixel(views.dtype)  # or refuse
        if self.augment is not None and training:
            step = call_count(self.optimizer) if step is None else step
            return self.augment(views, step) if position is None else self.augment(views, step, position)
        images = tf.concat(tf.unstack(views, axis=1), axis=0)
        return to_float(images) if images.dtype.is_integer else images

    def decay_loss(self) -> tf.Tensor | None:
        """Return the L2 term over the variables in `decayed_in_loss`."""
        terms = [
            tf.reduce_sum(tf.square(tf.convert_to_tensor(variable)))
            for variable in self.model.trainable_variables
            if self.decayed_in_loss(variable.path)
        ]
        if not terms or not self.weight_decay:
            return None
        return 0.5 * self.weight_decay * tf.add_n(terms)

    def train_step(self, data: dict) -> dict:
        """Take one optimizer step on this replica's share of the batch and return the running metrics."""
        batch = batch_of(data)
        skips = self.on_nan == "skip_batch"
        if skips or self.loss_scale is not None:
            self._guard.run(lambda: self._step(batch), self._guarded_variables(), skips, self.loss_scale)
        else:
            self._step(batch)
        return self._logs()

    def test_step(self, data: dict) -> dict:
        """Return the running metrics, with this replica's share of an evaluation batch, in inference mode."""
        _, figures = self.objective(batch_of(data), training=False)
        self._report(*sum_over_replicas([self._table(figures)]))
        return self._logs()

    def _logs(self):
        """Return the figures, and `loss`, which Keras' callbacks expect, if it is not among them."""
        figures = self.get_metrics_result()
        return {"loss": figures[next(iter(self.averages))], **figures} if self.averages else figures

    def loss_and_gradients(self, batch: dict) -> tuple[tf.Tensor, dict, list]:
        """Return this replica's share of the loss, the figures, and the gradients of the scaled share.

        Returns:
            (loss, figures, gradients): a scalar, with the decay and divided by the number of replicas; figures as of
            `objective`; a tensor, or None, for each of `main_variables` and then `probe_variables`.
        """
        with tf.GradientTape() as tape:
            loss, figures = self.objective(batch)
            loss, scaled = self.share_of_loss(loss)
        return loss, figures, tape.gradient(scaled, self.main_variables + self.probe_variables)

    def share_of_loss(self, loss: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return this replica's share of the loss with its decay, and the same times all loss scales."""
        decay = self.decay_loss()
        if decay is not None:
            loss += tf.cast(decay, loss.dtype)
        # Gradients are summed over replicas; the loss wanted is the mean over the global batch.
        loss /= tf.distribute.get_strategy().num_replicas_in_sync
        scaled = self.optimizer.scale_loss(loss)
        return loss, scaled if self.loss_scale is None else self.loss_scale.multiply(scaled)

    def _step(self, batch):
        """Take one optimizer step and return [loss, *gradients], for the guard against non-finite batches."""
        main, probe = self.main_variables, self.probe_variables
        loss, figures, gradients = self.loss_and_gradients(batch)
        # All that replicas exchange after the backward pass, in one collective.
        *gradients, sums = sum_over_replicas([*gradients, self._table(figures)])
        if self.loss_scale is not None:
            gradients = self.loss_scale.divide(gradients)
        apply_gradients(self.optimizer, gradients[: len(main)], main)
        if probe:
            # From the scale of one optimizer to that of the other, in float32 as the heads.
            ratio = loss_scale(self.probe_optimizer) / loss_scale(self.optimizer)
            probe_gradients = [
                None if gradient is None else gradient * tf.cast(ratio, gradient.dtype)
                for gradient in gradients[len(main) :]
            ]
            apply_gradients(self.probe_optimizer, probe_gradients, probe)
        self.after_update()
        self._report(sums)
        return [loss, *gradients]

    def after_update(self) -> None:
        """Do what follows the optimizers' updates in a step, for instance move averages; here nothing."""

    def _guarded_variables(self):
        """Return the variables that a skipped batch must not change."""
        scale = [] if self.loss_scale is None else self.loss_scale.variables
        moving_on = {id(variable) for variable in self._guard.variables + scale}
        for optimizer, _ in self._optimizers():
            # With gradient accumulation this is no variable and the count stays: no step lacks a micro-batch.
            moving_on.add(id(optimizer.iterations))
            if hasattr(optimizer, "inner_optimizer"):  # a loss scale that overflows must sink
                moving_on |= {id(variable) for variable in own_variables(optimizer)}
        return [variable for variable in self.state().values() if id(variable) not in moving_on]

    def _table(self, figures):
        """Return the (sum, weight) of this replica as [figures, 2]; None if there are no figures."""
        if not self.averages:
            return None
        dtype = self.model.projection_head.compute_dtype
        return tf.stack([[tf.cast(value, dtype) for value in figures[name]] for name in self.averages])

    def _report(self, sums):
        """Add the table of all replicas to the averages."""
        for average, row in zip(self.averages.values(), tf.unstack(sums) if self.averages else []):
            average.add(*tf.unstack(row))

    def state(self) -> dict:
        """Return every variable a checkpoint must hold, as a dict of unique name to Keras variable.

        Raises:
            InputError: two variables share a name, so that a checkpoint could mix them up.
        """
        named = {}
        for group, variables in self._groups().items():
            for variable in variables:
                # Without the owner's name, to which Keras adds a number from the second in a process on.
                key = f"{group}/{variable.path.partition('/')[2]}"
                if key in named:
                    raise InputError(f"Variables must have names of their own. Received: {key} twice")
                named[key] = variable
        return named

    def _groups(self):
        """Return every variable of `state` in lists by group; those of the optimizers only once it is compiled."""
        groups = {"model": self.model.variables}
        groups |= {f"metrics/{name}": average.variables for name, average in self.averages.items()}
        groups["skipped"] = self._guard.variables
        if self.loss_scale is not None:
            groups["loss_scale"] = self.loss_scale.variables
        for name in ("optimizer", "probe_optimizer"):
            if (optimizer := getattr(self, name, None)) is not None:
                groups |= variable_groups(optimizer, name)
        return groups


def check_batch(batch: dict, needed: Sequence[str]) -> None:
    """Raise InputError unless a batch is a dict with these keys."""
    if not isinstance(batch, dict) or not set(needed) <= batch.keys():
        received = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise InputError(f"A batch is a dict of {' and '.join(sorted(needed))}. Received: {received}")
