"""The warm-up cosine schedule, against the textbook formula in Python floats and the released code's curves."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.optim.schedules import WarmupCosine

# peak, warm-up, total of golden lr/<i>, in order
GOLDEN_CURVES = [
    (4.8, 3127, 31279),
    (0.6, 25022, 250228),
    (6.4, 6255, 250228),
    (4.8, 3127, 31279),
    (2.0, 976, 97657),
    (1.5 * math.sqrt(512), 976, 9766),
    (0.04, 0, 47),
    (0.04, 15, 47),
    (1.28, 7, 47),
    (0.05, 15, 40),
    (0.05, 8, 33),
    (0.16, 0, 751),
]


def textbook(step, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    if step >= total:
        return 0.0
    # sin^2(x / 2) = (1 - cos x) / 2, with x what is left of the half turn
    return peak * math.sin(0.5 * math.pi * (total - step) / (total - warmup)) ** 2


@pytest.mark.parametrize("index", range(len(GOLDEN_CURVES)))
def test_curves_are_the_released_ones(golden, index):
    data = golden("lars.npz")
    peak, warmup, total = GOLDEN_CURVES[index]
    values = WarmupCosine(peak, warmup, total)(data[f"lr/{index}/steps"])
    # The released curve is float32 all through, so near its end it is off by a rounding of the peak.
    np.testing.assert_allclose(values, data[f"lr/{index}/values"], rtol=1e-6, atol=4e-7 * peak)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 7), (3, 10), (50_000, 1_000_000), (1, 16_000_000)])
def test_every_step_is_exact_to_rounding_however_long_the_run(warmup, total, dtype, tolerance):
    steps = sorted({*np.linspace(0, total, 400, dtype=int), warmup, warmup + 1, total - 2, total - 1} - {-1})
    values = WarmupCosine(2.0, warmup, total, dtype)(np.array(steps))
    expected = [textbook(step, 2.0, warmup, total) for step in steps]
    np.testing.assert_allclose(values, expected, rtol=tolerance)


def test_starts_at_zero_peaks_at_the_warmup_and_ends_small():
    schedule = WarmupCosine(0.3, 10, 100)
    assert float(schedule(0)) == 0
    assert float(schedule(10)) == np.float32(0.3)
    assert 0 < float(schedule(99)) < 1e-3
    assert float(schedule(100)) == 0
    assert float(schedule(1000)) == 0


def test_without_warmup_the_first_step_has_the_peak():
    assert float(WarmupCosine(0.3, 0, 100)(0)) == np.float32(0.3)


def test_a_run_that_only_warms_up_is_possible():
    assert float(WarmupCosine(1.0, 4, 4)(3)) == 0.75


def test_config_round_trip():
    schedule = WarmupCosine(0.3, 10, 100, dtype="float64")
    copy = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert copy.get_config() == schedule.get_config()
    assert copy(42).dtype == tf.float64


def test_drives_a_keras_optimizer():
    variable = keras.Variable([0.0])
    optimizer = keras.optimizers.SGD(WarmupCosine(1.0, 2, 10))
    for _ in range(3):
        optimizer.apply([tf.constant([1.0])], [variable])
    np.testing.assert_allclose(variable, [-(0 + 0.5 + 1)])


def test_impossible_arguments_are_refused():
    for arguments, message in [
        ((-1.0, 1, 2), "peak=-1.0"),
        ((1.0, 3, 2), "warmup_steps=3, total_steps=2"),
        ((1.0, -1, 2), "warmup_steps=-1"),
        ((1.0, 0, 0), "total_steps=0"),
    ]:
        with pytest.raises(InputError, match=message):
            WarmupCosine(*arguments)
