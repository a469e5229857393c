"""--remat in the stages: the same run up to rounding, which may go on without it."""

import numpy as np
import pytest

from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.runs import architecture
from simclr_keras.runs.open_run import load_run
from tests.models.block_encoders import OneBlock
from tests.training.tiny import begin, configure, make_config, metrics, run, saved_variables


@pytest.fixture(autouse=True)
def one_block(tiny, monkeypatch):
    def create_model(name, *, image_size, dtype, se_ratio=0.0, **arguments):
        model = SimCLRModel(OneBlock(dtype=dtype), dtype=dtype, **arguments)
        model.build((None, image_size, image_size, 3))
        return model

    monkeypatch.setattr(architecture, "create_model", create_model)


def test_runs_equal_and_stages_obey(data, tmp_path, monkeypatch):
    runs = {
        "plain": (False, False),
        "remat": (True, True),
        "late": (False, True),
    }  # in the first and second epoch
    for name, remat in runs.items():
        for epochs in (1, 2):
            run(
                make_config(
                    data, tmp_path / name, epochs=epochs, remat=remat[epochs - 1], eval_every_epochs=2
                )
            )
        assert len(metrics(tmp_path / name)) == 2
    expected = saved_variables(tmp_path / "plain")
    for name in ("remat", "late"):
        for key, value in saved_variables(tmp_path / name).items():
            np.testing.assert_allclose(value, expected[key], 1e-4, 1e-5, err_msg=key)
    assert not load_run(str(tmp_path / "remat")).encoder.block_group1.remat

    init = {"init": str(tmp_path / "remat"), "remat": True}
    run(configure("finetune", tmp_path / "finetuned", **init, epochs=1))
    configs = [
        configure("finetune", tmp_path / "a", **init),
        configure("supervised", tmp_path / "b", dataset=data, remat=True),
        configure("distill", tmp_path / "c", teacher=str(tmp_path / "finetuned"), remat=True),
        configure("distill", tmp_path / "d", teacher=str(tmp_path / "finetuned")),
    ]
    learners = [begin(config, monkeypatch).learner for config in configs]
    obeyed = [learner.model.encoder.block_group1.remat for learner in learners]
    assert obeyed == [True, True, True, False]
