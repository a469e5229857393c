"""Steps and peak learning rates, against the released code's own figures."""

import subprocess
import sys

import pytest

from simclr_keras.optim.step_arithmetic import peak_learning_rate, total_steps, warmup_steps

# examples, batch, epochs, warm-up epochs, base, scaling: warm-up steps, total steps, peak (measured)
RELEASE = [
    (1281167, 4096, 100, 10, 0.3, "linear", 3127, 31279, 4.8),
    (1281167, 512, 100, 10, 0.3, "linear", 25022, 250228, 0.6),
    (1281167, 4096, 800, 20, 0.1, "sqrt", 6255, 250228, 6.4),
    (1281167, 4096, 100, 10, 0.075, "sqrt", 3127, 31279, 4.8),
    (50000, 512, 1000, 10, 1.0, "linear", 976, 97657, 2.0),
    (50000, 512, 100, 10, 1.5, "sqrt", 976, 9766, 33.94112549695428),
    (1000, 64, 3, 0, 0.16, "linear", 0, 47, 0.04),
    (1000, 64, 3, 1, 0.16, "linear", 15, 47, 0.04),
    (1000, 64, 3, 0.5, 0.16, "sqrt", 7, 47, 1.28),
    (512, 64, 4, 1, 0.2, "linear", 8, 33, 0.05),
    (12811, 1024, 60, 0, 0.005, "sqrt", 0, 751, 0.16),
]


def test_steps_and_peak_are_the_released_ones():
    for case in RELEASE:
        examples, batch, epochs, warmup_epochs, base, scaling, warmup, total, peak = case
        assert warmup_steps(examples, batch, warmup_epochs) == warmup
        assert total_steps(examples, batch, epochs) == total
        assert peak_learning_rate(base, batch, scaling) == pytest.approx(peak, rel=1e-12)


def test_published_checkpoints_carry_these_step_counts():
    assert total_steps(1281167, 4096, 800) == 250228
    assert total_steps(12811, 1024, 60) == 751
    assert total_steps(128116, 1024, 30) == 3754
    assert total_steps(1281167, 1024, 30) == 37535


def test_no_scaling_leaves_the_base_alone():
    assert peak_learning_rate(0.1, 4096, "none") == 0.1


def test_importing_it_does_not_import_tensorflow():
    code = "import sys, simclr_keras.optim.step_arithmetic; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
