"""--remat, --global_bn and --microbatch_size in the stages; a run with --remat is the same up to rounding."""

import shutil

import numpy as np
import pytest

from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.runs import architecture
from simclr_keras.runs.open_run import load_run
from tests.models.block_encoders import OneBlock
from tests.training.tiny import begin, configure, make_config, run, saved_variables


@pytest.fixture(autouse=True)
def one_block(tiny, monkeypatch):
    def create_model(name, *, image_size, dtype, se_ratio=0.0, **arguments):
        model = SimCLRModel(OneBlock(dtype=dtype), dtype=dtype, **arguments)
        model.build((None, image_size, image_size, 3))
        return model

    monkeypatch.setattr(architecture, "create_model", create_model)


@pytest.mark.slow
def test_a_run_is_the_same_with_remat(data, tmp_path):
    run(make_config(data, tmp_path / "plain", epochs=1, eval_every_epochs=2))
    shutil.copytree(tmp_path / "plain", tmp_path / "late")
    for name, remat in {"plain": False, "late": True}.items():
        run(make_config(data, tmp_path / name, epochs=2, eval_every_epochs=2, remat=remat))
    expected = saved_variables(tmp_path / "plain")
    for key, value in saved_variables(tmp_path / "late").items():
        np.testing.assert_allclose(value, expected[key], 1e-4, 1e-5, err_msg=key)
    assert not load_run(str(tmp_path / "late")).encoder.block_group1.remat


@pytest.mark.slow
def test_stages_obey(data, tmp_path, monkeypatch):
    run(make_config(data, tmp_path / "before", epochs=1, eval_every_epochs=2))
    run(configure("finetune", tmp_path / "finetuned", init=str(tmp_path / "before"), epochs=1))
    configs = [
        configure("finetune", tmp_path / "a", init=str(tmp_path / "before"), remat=True, global_bn=False),
        configure("supervised", tmp_path / "b", dataset=data, remat=True, global_bn=False),
        configure(
            "distill", tmp_path / "c", teacher=str(tmp_path / "finetuned"), remat=True, global_bn=False
        ),
        make_config(data, tmp_path / "d", remat=True, global_bn=False, microbatch_size=4),
    ]
    learners = [begin(config, monkeypatch).learner for config in configs]
    for learner in learners:
        assert learner.model.encoder.block_group1.remat
        layers = learner.model._flatten_layers()
        assert not any(layer.is_global for layer in layers if isinstance(layer, BatchNormalization))
    assert learners[-1].microbatch_size == 4
