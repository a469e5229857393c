"""From a config to optimizers, schedule, and the weight decay that belongs in the loss."""

import dataclasses
from collections.abc import Callable

import keras

from simclr_keras.optim import step_arithmetic
from simclr_keras.optim.lars import DEFAULT_EXCLUSIONS, LARS
from simclr_keras.optim.schedules import WarmupCosine
from simclr_keras.training.engine.epochs import epoch_ends, warmup_steps

NOT_DECAYED = ("gamma", "beta", "bias")


@dataclasses.dataclass(frozen=True)
class Optimization:
    """Optimizers, schedule and decay for `Learner` and `Learner.compile`.

    Attributes:
        optimizer: Keras optimizer.
        probe_optimizer: likewise, of the online probe; None if there is none.
        schedule: learning rate of the main optimizer by step.
        decayed_in_loss: function of a variable path to bool, see `Learner`.
    """

    optimizer: keras.optimizers.Optimizer
    probe_optimizer: keras.optimizers.Optimizer | None
    schedule: WarmupCosine
    decayed_in_loss: Callable[[str], bool]


def make_optimization(config, num_examples: int, adapt_classifier: bool = False) -> Optimization:
    """Build the optimizers of a stage's config (SimCLRv2, appendix; SimCLR, section 2).

    Args:
        config: of a stage that trains.
        num_examples: images of an epoch.
        adapt_classifier: whether LARS treats the classifier as any other layer. Trained from scratch at the rates of
            a whole network, it diverges without trust ratio. Otherwise it has no trust ratio, and its decay is an L2
            term of the loss, as in the release.
    """
    steps = epoch_ends(config, num_examples)[-1]
    warmup = warmup_steps(config, num_examples)

    def schedule(base, scaling):
        peak = step_arithmetic.peak_learning_rate(base, config.batch_size, scaling)
        dtype = "float64" if config.precision == "float64" else "float32"
        return WarmupCosine(peak, warmup_steps=warmup, total_steps=steps, dtype=dtype)

    main, probe = schedule(config.learning_rate, config.learning_rate_scaling), None
    if config.probe_learning_rate is not None:
        # At the encoder's LARS rate the probe's loss would rise, as the probe has no trust ratio.
        probe = keras.optimizers.SGD(
            schedule(config.probe_learning_rate, "linear"), momentum=0.9, name="probe_sgd"
        )
    exclusions = DEFAULT_EXCLUSIONS[:1] if adapt_classifier else DEFAULT_EXCLUSIONS
    decayed = _decayed_in_loss(config.optimizer, adapt_classifier)
    return Optimization(_optimizer(config, main, exclusions), probe, main, decayed)


def _optimizer(config, schedule, exclusions):
    if config.optimizer == "lars":
        return LARS(
            schedule,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            exclude_from_weight_decay=exclusions,
            exclude_from_layer_adaptation=exclusions,
        )
    if config.optimizer == "momentum":
        return keras.optimizers.SGD(schedule, momentum=config.momentum, nesterov=True)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def _decayed_in_loss(optimizer, adapt_classifier):
    """Return whether the L2 term of the loss covers a variable path; never if the optimizer decays it."""
    if optimizer == "lars":
        return lambda path: not adapt_classifier and path.endswith("classifier/kernel")
    if optimizer == "momentum":
        return lambda path: not path.endswith(("/gamma", "/beta"))
    return lambda path: False
