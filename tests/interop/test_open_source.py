"""Addresses in place of a run directory: in Python, in every stage, and in the commands."""

import json
import pathlib
import shutil
import sys
import types

import numpy as np
import pytest

from simclr_keras import load_published, load_run
from simclr_keras.config.modes import MODES
from simclr_keras.errors import InputError
from simclr_keras.export import from_run
from simclr_keras.interop.fetching import addresses
from simclr_keras.interop.open_source import open_source
from simclr_keras.interop.torch_files.write import write_torch
from simclr_keras.tools import import_published, verify_published
from simclr_keras.tools.any_model import open_model
from simclr_keras.training.stages.distill import Distillation
from simclr_keras.training.stages.finetune import Finetuning
from tests.earlier_runs import DIGITS, finetuning, make_run
from tests.interop.fetching.bucket import serve
from tests.interop.torch_files.networks import make
from tests.tools.models_to_run import run
from tests.tools.published_files import MODEL, write_release

IMAGES = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)
PRETRAINED, FINETUNED = f"published:pretrained/{MODEL}", f"published:finetuned_1pct/{MODEL}"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The folder of a bucket with two tiny networks."""
    folder = tmp_path_factory.mktemp("bucket")
    write_release(folder, "pretrained", classes=1000)
    write_release(folder, "finetuned_1pct", classes=1000, head_layer=1)
    return folder


@pytest.fixture(autouse=True)
def log(release, tmp_path, monkeypatch):
    """The Log of the bucket, which SIMCLR_KERAS_MIRROR names; tiny networks count as published."""
    names = [f"{category}/{MODEL}" for category in ("pretrained", "finetuned_1pct")]
    monkeypatch.setattr(addresses, "NAMES", (*addresses.NAMES, *names))
    monkeypatch.setenv("SIMCLR_KERAS_CACHE", str(tmp_path / "cache"))
    with serve(release) as (address, log):
        monkeypatch.setenv("SIMCLR_KERAS_MIRROR", address)
        yield log


def logits(model):
    return model(IMAGES)["logits"]


@pytest.mark.slow
def test_python_takes_names(release, log):
    expected = logits(load_published(release / "finetuned_1pct" / MODEL))
    for address in (f"finetuned_1pct/{MODEL}", FINETUNED):
        np.testing.assert_array_equal(logits(load_published(address)), expected)
    assert len(log.requests) == 3
    with pytest.raises(
        InputError, match="r50_1x_sk3 does not exist and is not a published name: did you mean"
    ):
        load_published("r50_1x_sk3")


def test_run_of_a_name():
    opened = open_source(FINETUNED)
    assert (opened.path, opened.record.mode, opened.config.init) == (FINETUNED, "finetune", PRETRAINED)
    assert (opened.weights.step, opened.architecture.head_layer, opened.image_size) == (7, 1, 32)
    np.testing.assert_array_equal(logits(opened.model()), logits(load_published(FINETUNED)))
    for arguments, words in [
        ({"checkpoint": "best", "flag": "init"}, "--init_checkpoint=best: .* has one set of weights"),
        ({"ema": True, "flag": "run"}, "--run=.* has no momentum network; leave --ema out"),
    ]:
        with pytest.raises(InputError, match=words):
            open_source(FINETUNED, **arguments)


@pytest.mark.slow
def test_stages_start_from_names(tmp_path):
    quick = {"dataset": "digits", "image_size": 8, "batch_size": 64, "epochs": 1, "warmup_epochs": 0.0}
    quick |= {"labels_per_class": 2, "learning_rate": 1e-12}
    config = MODES["finetune"](**quick, init=PRETRAINED, model_dir=str(tmp_path / "finetune"))
    result = Finetuning(config, say=lambda line: None).run()
    (ancestor,) = result["ancestors"]
    assert (ancestor["run"], ancestor["mode"], ancestor["dataset"]) == (
        PRETRAINED,
        "pretrain",
        "imagenet2012",
    )
    unlabeled = np.zeros((20, 8, 8, 3), np.uint8)
    np.savez(
        tmp_path / "unlabeled.npz", x_train=unlabeled + np.arange(20, dtype=np.uint8)[:, None, None, None]
    )
    quick |= {"dataset": f"npz:{tmp_path}/unlabeled.npz", "labels_per_class": None, "batch_size": 8}
    config = MODES["distill"](**quick, teacher=FINETUNED, model_dir=str(tmp_path / "distill"))
    result = Distillation(config, say=lambda line: None).run()
    assert (result["classes"], result["ancestors"][0]["run"]) == (1000, FINETUNED)


@pytest.mark.slow
def test_stage_starts_from_pytorch(tmp_path):
    model, architecture = make(image_size=8, pixel_mean=(0.4, 0.5, 0.6), pixel_std=(0.2, 0.3, 0.25))
    write_torch(model, architecture, str(tmp_path / "network.safetensors"))
    address, lines = f"torch:{tmp_path}/network.safetensors", []
    quick = {"dataset": "digits", "image_size": 8, "batch_size": 64, "epochs": 1, "warmup_epochs": 0.0}
    quick |= {"labels_per_class": 2, "learning_rate": 1e-12, "init": address}
    config = MODES["finetune"](**quick, model_dir=str(tmp_path / "finetune"))
    result = Finetuning(config, say=lines.append).run()
    assert [entry["run"] for entry in result["ancestors"]] == [address]
    assert any("images become (pixels - (0.4, 0.5, 0.6))" in line for line in lines)
    encoder = load_run(tmp_path / "finetune").encoder
    assert encoder.pixel_mean == (0.4, 0.5, 0.6)
    for actual, expected in zip(encoder.trainable_variables, model.encoder.trainable_variables):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.slow
def test_commands_take_names(tmp_path):
    model = open_model(FINETUNED)
    assert model.image_size == 32
    np.testing.assert_allclose(
        model.call(IMAGES, "logits"), logits(load_published(FINETUNED)), rtol=1e-5, atol=1e-5
    )
    code, _, error = run(import_published, f"--path={FINETUNED}", f"--out={tmp_path / 'run'}")
    assert (code, error) == (0, "")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["imported_from"] == f"finetuned_1pct/{MODEL}/saved_model"
    described = from_run.describe(open_source(FINETUNED, flag="run"))
    assert (described["run"], described["stage"], described["history"]) == (FINETUNED, "finetune", [])


def test_digests_are_written_after_a_check(tmp_path, monkeypatch):
    from simclr_keras.interop.fetching import cache

    monkeypatch.setattr(cache, "TABLE", tmp_path / "digests.json")
    cache._table.cache_clear()
    code, text, error = run(verify_published, f"--path={PRETRAINED}", "--write_digests")
    assert (code, error) == (0, "")
    assert f"wrote {tmp_path / 'digests.json'}" in text
    assert [*json.loads((tmp_path / "digests.json").read_text())] == [f"pretrained/{MODEL}"]
    monkeypatch.undo()
    cache._table.cache_clear()
    code, _, error = run(verify_published, "--path=runs/a", "--write_digests")
    assert (code, "--write_digests needs a published name" in error) == (2, True)


@pytest.mark.slow
def test_hugging_face_repositories(release, tmp_path, monkeypatch):
    (tmp_path / "user").mkdir()
    make_run(tmp_path / "user" / "run", finetuning("digits", 10), DIGITS)
    shutil.copytree(release / "pretrained" / MODEL, tmp_path / "user" / "weights")
    hub = types.SimpleNamespace(snapshot_download=lambda name, **_: str(tmp_path / pathlib.Path(name)))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    opened = open_source("hf://user/run", flag="init", finished=True)
    assert (opened.path, opened.record.mode) == ("hf://user/run", "finetune")
    with pytest.raises(
        InputError, match=r"contains no run directory, and 0 .* --path=hf://user/weights --name="
    ):
        open_source("hf://user/weights", flag="init")
    model, architecture = make(image_size=8)
    write_torch(model, architecture, str(tmp_path / "user" / "weights" / "model.safetensors"))
    np.testing.assert_array_equal(logits(open_source("hf://user/weights").model()), logits(model))
    expected = logits(load_published(PRETRAINED))
    np.testing.assert_array_equal(
        logits(load_published("hf://user/weights", f"pretrained/{MODEL}")), expected
    )
