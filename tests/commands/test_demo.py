"""simclr demo: its steps are commands that fit together. `make wheel-test` runs it."""

import pytest

import train
from simclr_keras.commands import demo
from simclr_keras.commands.demo import DemoConfig, steps
from simclr_keras.errors import InputError


@pytest.mark.parametrize("quick", [False, True])
def test_every_step_starts_from_an_earlier_one(quick):
    made = set()
    for words in steps(DemoConfig(quick=quick)):
        config = train.read_flags(["simclr demo", *words])
        assert made.issuperset(filter(None, (getattr(config, flag) for flag in config.RUN_FLAGS)))
        made.add(config.model_dir)
    assert {path.rpartition("/")[0] for path in made} == {"runs/demo-quick" if quick else "runs/demo"}
    assert "distill" in {path.rpartition("/")[2] for path in made}


def test_a_folder_with_other_things_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "main", None)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(InputError, match=r"holds other things than an export \(mine.txt\)"):
        demo.demo(DemoConfig(out=str(tmp_path)))
    with pytest.raises(InputError, match="contains one of"):
        DemoConfig(out="digits?").validate()
