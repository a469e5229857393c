"""From a config to optimizers, schedule and the share of the decay that belongs in the loss."""

import dataclasses
from collections.abc import Callable

import keras

from simclr_keras.optim import step_arithmetic
from simclr_keras.optim.lars import LARS
from simclr_keras.optim.schedules import WarmupCosine

NOT_DECAYED = ("gamma", "beta", "bias")


@dataclasses.dataclass(frozen=True)
class Optimization:
    """What `Learner` and `Learner.compile` need.

    Attributes:
        optimizer, probe_optimizer: Keras optimizers.
        schedule: learning rate of the main optimizer by step.
        decayed_in_loss: function of a variable path to bool, see `Learner`.
    """

    optimizer: keras.optimizers.Optimizer
    probe_optimizer: keras.optimizers.Optimizer
    schedule: WarmupCosine
    decayed_in_loss: Callable[[str], bool]


def make_optimization(config, num_examples):
    """Builds the optimizers of a pretraining config; METHOD: SimCLRv2, appendix; SimCLR, section 2.

    Args:
        config: PretrainConfig.
        num_examples: training images.
    """
    steps = step_arithmetic.total_steps(num_examples, config.batch_size, config.epochs)
    warmup = step_arithmetic.warmup_steps(num_examples, config.batch_size, config.warmup_epochs)

    def schedule(base, scaling):
        peak = step_arithmetic.peak_learning_rate(base, config.batch_size, scaling)
        dtype = "float64" if config.precision == "float64" else "float32"
        return WarmupCosine(peak, warmup_steps=warmup, total_steps=steps, dtype=dtype)

    main = schedule(config.learning_rate, config.learning_rate_scaling)
    # The probe has a rate of its own: at the encoder's LARS rate its loss would rise (no trust ratio tames it).
    probe = keras.optimizers.SGD(
        schedule(config.probe_learning_rate, "linear"), momentum=0.9, name="probe_sgd"
    )
    return Optimization(_optimizer(config, main), probe, main, _decayed_in_loss(config.optimizer))


def _optimizer(config, schedule):
    if config.optimizer == "lars":
        return LARS(schedule, momentum=config.momentum, weight_decay=config.weight_decay)
    if config.optimizer == "momentum":
        return keras.optimizers.SGD(schedule, momentum=config.momentum, nesterov=True)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def _decayed_in_loss(optimizer):
    """Which variables the L2 term of the loss covers: never those the optimizer decays itself."""
    if optimizer == "lars":
        return lambda path: path.endswith("classifier/kernel")
    if optimizer == "momentum":
        return lambda path: not path.endswith(("/gamma", "/beta"))
    return lambda path: False
