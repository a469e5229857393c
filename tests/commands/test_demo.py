"""simclr demo: its steps are commands that fit together. `make wheel-test` runs it."""

import pytest

import train
from simclr_keras.commands.demo import DemoConfig, steps


@pytest.mark.parametrize("quick", [False, True])
def test_every_step_starts_from_an_earlier_one(quick):
    made = set()
    for words in steps(DemoConfig(quick=quick)):
        config = train.read_flags(["simclr demo", *words])
        assert made.issuperset(filter(None, (getattr(config, flag) for flag in config.RUN_FLAGS)))
        made.add(config.model_dir)
    assert {path.rpartition("/")[0] for path in made} == {"runs/demo-quick" if quick else "runs/demo"}
    assert "distill" in {path.rpartition("/")[2] for path in made}
