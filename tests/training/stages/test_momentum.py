"""--memory=queue and --use_ema in the stages: a run that resumes exactly, and the stages that take its network."""

import json
import math

import numpy as np
import pytest

from simclr_keras.config.export import ExportConfig
from simclr_keras.errors import InputError
from simclr_keras.export import from_run
from simclr_keras.export.from_run import describe
from simclr_keras.interop.torch_files import write
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import load_run, open_run
from simclr_keras.tools.embed import EmbedConfig, embed
from simclr_keras.tools.export_torch import ExportTorchConfig, export_torch
from simclr_keras.tools.features import feature_files
from simclr_keras.training.engine import loop
from simclr_keras.training.engine.introduction import advice_about_lag
from tests.training.killing import kill
from tests.training.tiny import begin, change, configure, make_config, metrics, run, variables

SETTINGS = {"memory": "queue", "memory_size": 48, "ema_decay": 0.5, "checkpoint_every_steps": 3}
SETTINGS |= {"microbatch_size": 4}  # to run micro-batches through a whole stage, too
RESULT_OF_TORCH = {"arrays": 1, "difference": 0.0, "left_out": []}


@pytest.fixture(scope="module")
def remembering(folder, stripes, tiny_session):
    """A Run with a queue of three batches, which is full after three of its steps."""
    return tiny_session(make_config(stripes, folder / "remembering", **SETTINGS))


def state_of(run_folder):
    reader = open_run(str(run_folder)).weights._reader
    return {name: reader.read(name) for name in reader.shapes}


def momentum_of(run_folder):
    state = state_of(run_folder)
    return {name.removeprefix("momentum/"): v for name, v in state.items() if name.startswith("momentum/")}


def assert_is_momentum(model, run_folder):
    for name, value in momentum_of(run_folder).items():
        np.testing.assert_array_equal(variables(model)[name], value, err_msg=name)


@pytest.mark.slow
def test_the_run_names_its_memory(remembering):
    line = "momentum network with decay 0.5, queue of 48 rows x 8 (0.00154 MB)"
    assert f"memory   {line}" in remembering.lines
    assert "steps    in 2 micro-batches of 4 images" in remembering.lines
    assert remembering.result["memory"] == line
    # In the last epoch, before which the queue was full; a row or less is of the anchor's own image.
    chance = remembering.result["contrastive_loss_of_chance"]
    assert 2 * math.log(15 + 47) < chance < 2 * math.log(15 + 48)


def test_a_momentum_network_that_lags_in_a_short_training_is_named(remembering, stripes, folder, tiny):
    assert sum(line.startswith("memory ") for line in remembering.lines) == 1, "decay 0.5 does not lag"
    short = run(make_config(stripes, folder / "short", **SETTINGS | {"ema_decay": 0.999, "train_steps": 3}))
    advice = "lags by about 1,000 steps, which is long in a training of 3: try --ema_decay=0.9"
    assert f"memory   the momentum network {advice}" in short.lines
    for decay, steps, faster in (
        (0.999, 7813, "0.99"),
        (0.995, 999, "0.9"),
        (0.999, 19_000, "0.99"),
        (0.999, 20_000, ""),
        (0.99, 1000, ""),
    ):
        assert advice_about_lag(decay, steps).rpartition("=")[2] == faster, (decay, steps)


def test_a_killed_run_resumes_bitwise(remembering, tiny, stripes, folder, monkeypatch):
    config = make_config(stripes, folder / "killed", **SETTINGS)
    kill(config, monkeypatch, loop.Bar, "advance", 5)
    assert "continued at step 3" in " ".join(run(config).lines)
    expected = state_of(remembering.folder)
    for name, value in state_of(folder / "killed").items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert metrics(folder / "killed") == metrics(remembering.folder)


def test_load_run_returns_the_momentum_network(remembering, tiny):
    online, averaged = (load_run(str(remembering.folder), ema=ema) for ema in (False, True))
    assert_is_momentum(averaged, remembering.folder)
    assert not np.array_equal(averaged.encoder.conv.kernel, online.encoder.conv.kernel)
    np.testing.assert_array_equal(averaged.classifier.kernel, online.classifier.kernel)


@pytest.mark.slow
def test_stages_take_the_momentum_network(remembering, finetuned, tiny, folder, monkeypatch):
    init = {"init": str(remembering.folder), "use_ema": True}
    for mode in ("pretrain", "finetune", "linear_eval", "distill"):
        teacher = {"teacher": str(finetuned.folder)} if mode == "distill" else {}
        model = begin(configure(mode, folder / f"{mode}-ema", **init, **teacher), monkeypatch).learner.model
        network = {name: v for name, v in variables(model).items() if name.startswith("encoder")}
        expected = momentum_of(remembering.folder)
        assert all(np.array_equal(value, expected[name]) for name, value in network.items())

    knn = run(configure("knn", folder / "knn-ema", **init))
    assert f"weights  momentum network of {remembering.folder}" in knn.lines
    assert [entry["ema"] for entry in knn.result["ancestors"]] == [True]
    assert json.loads((knn.folder / "config.json").read_text())["use_ema"] is True
    other = run(configure("knn", folder / "knn", init=init["init"]))
    assert not any("momentum" in line for line in other.lines)
    assert "ema" not in other.result["ancestors"][0]
    assert run(configure("eval", folder / "eval-ema", **init)).result["classifier"] == "online probe"
    with pytest.raises(InputError, match="use_ema"):
        run(configure("knn", folder / "knn", **init))
    # A directory of an earlier version, which did not know of momentum networks.
    config = json.loads((folder / "knn" / "config.json").read_text())
    del config["use_ema"]
    (folder / "knn" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="use_ema"):
        run(configure("knn", folder / "knn", **init))


def test_export_takes_the_momentum_network(remembering, tiny, tmp_path, monkeypatch):
    source = open_run(str(remembering.folder), flag="run", ema=True)
    assert_is_momentum(source.model(), remembering.folder)
    assert describe(source)["ema"] is True
    assert "ema" not in describe(open_run(str(remembering.folder), flag="run"))
    monkeypatch.setattr(from_run, "write_export", lambda *arguments, **more: {})
    config = ExportConfig(run=str(remembering.folder), ema=True, out=str(tmp_path / "export"))
    from_run.run(config, say=(lines := []).append)
    assert ", pretrain, momentum network, step " in lines[0]


def test_embed_takes_the_momentum_network(remembering, tiny, stripes, folder):
    files = {use_ema: str(folder / f"{use_ema}.npz") for use_ema in ("true", "false")}
    for use_ema, out in files.items():
        model = remembering.config.model_dir
        embed(EmbedConfig(model=model, images=stripes, out=out, use_ema=use_ema == "true"))
    features, others = (feature_files.read(out) for out in files.values())
    assert [each.facts["use_ema"] for each in (features, others)] == ["true", "false"]
    assert not np.array_equal(features.features, others.features)
    images = evaluation_view(np.load(stripes.removeprefix("npz:"))["x_train"], 8)
    expected = load_run(str(remembering.folder), ema=True)(images)["final_avg_pool"]
    np.testing.assert_allclose(features.features[: len(images)], expected, rtol=1e-4, atol=1e-6)


def test_export_torch_takes_the_momentum_network(remembering, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "write_torch", lambda model, *_: written.append(model) or RESULT_OF_TORCH)
    written, lines = [], []
    for ema in (True, False):
        config = ExportTorchConfig(run=str(remembering.folder), ema=ema, out=str(tmp_path / "a.safetensors"))
        export_torch(config, say=lines.append)
    assert_is_momentum(written[0], remembering.folder)
    assert not np.array_equal(written[0].encoder.conv.kernel, written[1].encoder.conv.kernel)
    named = [line.partition(":")[0] for line in lines if line.startswith("network")]
    assert named == ["network  r18_0.125x_sk0, momentum network", "network  r18_0.125x_sk0"]


def test_a_run_with_micro_batches_is_resumed_on_as_many_replicas(remembering, tiny, stripes):
    path = remembering.folder
    old = json.loads((path / "config.json").read_text())
    assert old["replicas"] == 1
    change(path, "config.json", replicas=2)
    try:
        with pytest.raises(
            InputError, match=r"was trained on 2 replicas, and there is 1 now.*continue it on 2"
        ):
            run(make_config(stripes, path, **{**SETTINGS, "epochs": 3}))
    finally:
        (path / "config.json").write_text(json.dumps(old))


@pytest.mark.slow
def test_a_queue_of_another_size_is_refused(remembering, tiny, stripes, folder):
    config = make_config(stripes, remembering.folder, **{**SETTINGS, "memory_size": 16, "epochs": 3})
    with pytest.raises(InputError, match=r"memory_size.*48.*16"):
        run(config)
    # The settings have been edited, the checkpoint has not.
    path = remembering.folder
    old = json.loads((path / "config.json").read_text())
    change(path, "config.json", memory_size=16)
    try:
        with pytest.raises(
            InputError, match=r"queue/ids is \[48\] there and \[16\] here.*another --model_dir"
        ):
            run(config)
    finally:
        (path / "config.json").write_text(json.dumps(old))
