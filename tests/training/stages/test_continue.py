"""--mode=pretrain --init: the network that arrives, its head and momentum network, ancestors, and refusals."""

import dataclasses

import keras
import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import create_model
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.stages import pretrain
from tests.training.tiny import begin, make_config, run, saved_variables, variables

IMAGES = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")


@pytest.fixture
def config(tiny, pretrained, stripes, tmp_path):
    """Makes the config of a pretraining that continues the finished one."""

    def make(**settings):
        network = dict.fromkeys(("model", "image_size", "proj_layers", "proj_dim"))
        return make_config(
            stripes, tmp_path / "run", **{"init": str(pretrained.folder), **network, **settings}
        )

    return make


def test_before_the_first_step_the_features_are_the_sources(config, pretrained, monkeypatch):
    model = begin(config(), monkeypatch).learner.model
    source = load_run(str(pretrained.folder))
    images = evaluation_view(IMAGES, 8)
    for endpoint in ("final_avg_pool", "proj_head_2"):
        np.testing.assert_array_equal(model(images)[endpoint], source(images)[endpoint])
    before, now = saved_variables(pretrained.folder), variables(model)
    assert not np.array_equal(now["classifier/kernel"], before["classifier/kernel"])  # a probe for this data


def test_a_fresh_head_is_that_of_the_settings(config, pretrained, monkeypatch):
    begun = begin(config(init_head="fresh", proj_layers=1, proj_dim=4), monkeypatch)
    now, before = variables(begun.learner.model), saved_variables(pretrained.folder)
    assert now["projection_head/dense1/kernel"].shape == (8, 4)
    for name, value in before.items():
        if name.startswith("encoder"):
            np.testing.assert_array_equal(now[name], value, err_msg=name)


@pytest.mark.slow
def test_the_momentum_network_is_included(config, tiny_session, stripes, tmp_path, monkeypatch):
    memory = {"memory": "queue", "memory_size": 16, "ema_decay": 0.5}
    source = tiny_session(make_config(stripes, tmp_path / "source", epochs=1, **memory))
    learner = begin(config(init=str(source.folder), **memory), monkeypatch).learner
    ours = {name.removeprefix("momentum/"): v.numpy() for name, v in learner.momentum.state().items()}
    online, ema = (variables(load_run(str(source.folder), ema=flag)) for flag in (False, True))
    assert np.any(online["encoder/conv/kernel"] != ema["encoder/conv/kernel"])
    for name, value in variables(learner.model).items():
        if not name.startswith("classifier"):
            np.testing.assert_array_equal(value, online[name], err_msg=name)
            np.testing.assert_array_equal(ours[name], ema[name], err_msg=name)


@pytest.mark.parametrize("head", ["keep", "fresh"])
def test_frozen_batch_norm_stays_that_of_the_source(config, pretrained, tmp_path, head):
    fresh = {"proj_layers": 2, "proj_dim": 8} if head == "fresh" else {}
    memory = {"memory": "queue", "memory_size": 16, "ema_decay": 0.5}
    run(config(epochs=1, freeze_batch_norm=True, init_head=head, **fresh, **memory))
    before, after = saved_variables(pretrained.folder), saved_variables(tmp_path / "run")
    momentum = variables(load_run(str(tmp_path / "run"), ema=True))
    for name, value in after.items():
        frozen = "/bn" in name and (head == "keep" or name.startswith("encoder"))
        for now in (value, momentum.get(name, value)):
            assert np.array_equal(now, before.get(name)) == frozen, name


@pytest.mark.slow
def test_the_result_names_its_ancestors(config, pretrained):
    continued = run(config(epochs=1, baselines=True))
    assert [entry["run"] for entry in continued.result["ancestors"]] == [str(pretrained.folder)]
    assert continued.result["model"] == pretrained.result["model"]
    assert {"initial_encoder_knn_top1", "pretrained_encoder_knn_top1"} <= continued.result.keys()
    assert "random_encoder_knn_top1" not in continued.result
    assert any(line.startswith("initial encoder") for line in continued.lines)
    assert f"starting from {pretrained.folder}" in continued.lines[1]


@pytest.mark.slow
def test_a_keras_file_starts_a_run(config, tmp_path, monkeypatch):
    monkeypatch.undo()  # the real network
    model = create_model("r18_0.05x_sk0", image_size=8, proj_dim=8, proj_layers=2)
    model.save(tmp_path / "model.keras")
    settings = config(init=str(tmp_path / "model.keras"))
    started = begin(settings, monkeypatch).learner.model
    assert started.get_config()["proj_dim"] == 8
    for endpoint in ("final_avg_pool", "proj_head_2"):
        np.testing.assert_array_equal(started(IMAGES)[endpoint], model(IMAGES)[endpoint])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "r50_1x_sk0"}, "--model=r50_1x_sk0, but --init=.* contains r34_0.125x_sk0"),
        ({"proj_dim": 128}, "--proj_dim=128, but --init=.* has 8; leave --proj_dim out, or give --init_head"),
        ({"init": "no.keras", "dataset": "digits"}, "--init=no.keras not found"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config, settings, message):
    with pytest.raises(InputError, match=message):
        pretrain.run(dataclasses.replace(config(), **settings))


def test_a_keras_file_without_a_named_encoder_is_refused(config, tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]).save(path)
    with pytest.raises(InputError, match="contains a Sequential, not a SimCLRModel"):
        pretrain.run(config(init=str(path)))
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be loaded"):
        pretrain.run(config(init=str(path)))
