"""The modes that train nothing: what they measure is what the run itself, or NumPy, measures."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from simclr_keras.data import pipeline
from simclr_keras.data.sources import load_dataset
from simclr_keras.data.sources.npz import load_npz
from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import top_k_accuracy
from tests.evaluation.slow_knn import slow_knn
from tests.training.tiny import configure, features_of, make_config, result, run, write_npz

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def measure(tmp_path):
    """Measures a Run."""

    def go(mode, before, name="run", **settings):
        return run(configure(mode, tmp_path / name, init=str(before.folder), **settings))

    return go


def test_eval_finds_what_the_run_found_itself(measure, finetuned, tmp_path):
    done = measure("eval", finetuned, seed=77)
    for name in (
        "top1",
        "top5",
        "balanced_accuracy",
        "top1_interval",
        "per_class",
        "labels_used",
        "evaluation_images",
        "classes",
        "model",
    ):
        assert done.result[name] == finetuned.result[name], name
    assert result(tmp_path / "run") == done.result
    assert (done.result["mode"], done.result["finished"], done.result["classifier"]) == (
        "eval",
        True,
        "trained",
    )
    assert done.result["ancestors"][-1]["run"] == str(finetuned.folder)
    assert any(line.startswith("top-1") for line in done.lines)
    assert (tmp_path / "run" / "confusion.png").exists()


def test_antialiasing_is_stored_and_reaches_the_images(measure, finetuned, monkeypatch, tmp_path):
    make_batches, settings = pipeline.eval_batches, []
    monkeypatch.setattr(pipeline, "eval_batches", lambda *a, **k: settings.append(k) or make_batches(*a, **k))
    measure("eval", finetuned, eval_antialias=True)
    assert {each["antialias"] for each in settings} == {True}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["eval_antialias"] is True


def test_eval_of_the_best_weights_finds_the_best_accuracy(measure, finetuned):
    found = measure("eval", finetuned, init_checkpoint="best").result
    assert found["top1"] == finetuned.result["best_top1"]
    assert found["ancestors"][-1]["checkpoint"] == "best"


def test_eval_of_a_pretraining_run_judges_its_online_probe(measure, pretrained):
    found = measure("eval", pretrained).result
    assert found["top1"] == pretrained.result["probe_top1"]
    assert found["classifier"] == "online probe"


def test_eval_on_other_images_judges_all_of_them(measure, finetuned, data):
    found = measure("eval", finetuned, dataset=data).result
    assert (found["dataset"], found["evaluation_images"]) == (data, 12)


def test_only_labeled_images_count_as_evaluation_images(measure, finetuned, data, monkeypatch):
    def load(path):
        splits = load_npz(path)
        return dataclasses.replace(splits, evaluation=splits.evaluation.with_labels_of(np.arange(5)))

    monkeypatch.setattr(load_dataset, "load_npz", load)
    done = measure("eval", finetuned, dataset=data)
    assert done.result["evaluation_images"] == sum(row["images"] for row in done.result["per_class"]) == 5
    assert any("; 5 evaluation images" in line for line in done.lines)
    assert done.result["precision"] == "float32"


def test_eval_needs_no_labeled_training_images(measure, finetuned, data, monkeypatch):
    def load(path):
        splits = load_npz(path)
        return dataclasses.replace(splits, train=splits.train.with_labels_of(np.arange(0)))

    monkeypatch.setattr(load_dataset, "load_npz", load)
    assert measure("eval", finetuned, dataset=data).result["evaluation_images"] == 12
    with pytest.raises(InputError, match="no labeled training image left"):
        measure("knn", finetuned, "knn", dataset=data)


@pytest.mark.slow
def test_features_of_an_unlabeled_pretraining(measure, tmp_path):
    data = "npz:" + write_npz(tmp_path / "bare.npz", labels=False, test=0)
    bare = run(make_config(data, tmp_path / "bare", epochs=1))
    labeled = "npz:" + write_npz(tmp_path / "stripes.npz")
    with pytest.raises(InputError, match="has no classifier; evaluate its features with simclr knn"):
        measure("eval", bare, dataset=labeled)
    assert 0 <= measure("knn", bare, dataset=labeled).result["top1"] <= 1


@pytest.mark.parametrize(("layer", "k", "temperature"), [(0, 5, 0.1), (2, 3, 0.5)])
def test_knn_is_that_of_numpy_on_the_features_of_the_labeled_images(
    measure, pretrained, layer, k, temperature
):
    found = measure("knn", pretrained, head_layer=layer, knn_k=k, knn_temperature=temperature, seed=5).result
    bank, labels, queries, held = features_of(pretrained, layer)
    assert len(bank) == found["labels_used"] == 12
    votes = slow_knn(bank, labels, queries, 3, k, temperature)
    assert found["top1"] == pytest.approx(top_k_accuracy(votes, held, 1))
    assert (found["head_layer"], found["knn_k"]) == (layer, k)


def test_knn_of_the_representation_finds_what_pretraining_found(measure, pretrained):
    found = measure("knn", pretrained, knn_k=5).result
    assert found["top1"] == pretrained.result["knn_top1"]


def test_what_measures_can_not_be_gone_on_from(measure, finetuned, tmp_path):
    judged = measure("eval", finetuned)
    with pytest.raises(InputError, match="--init") as refusal:
        measure("eval", judged, "other")
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_eval_sees_images_of_the_size_the_run_saw(measure, tiny_session, pretrained, tmp_path):
    # Its model.json has another, that of pretraining.
    larger = tiny_session(
        configure("finetune", tmp_path / "larger", init=str(pretrained.folder), image_size=12)
    )
    found = measure("eval", larger).result
    assert found["image_size"] == 12
    assert (found["top1"], found["per_class"]) == (larger.result["top1"], larger.result["per_class"])


@pytest.mark.slow
def test_a_measurement_follows_the_run_it_judges(measure, finetuned, tmp_path):
    judged = tmp_path / "judged"
    shutil.copytree(finetuned.folder, judged)
    before = dataclasses.replace(finetuned, folder=judged)
    assert measure("eval", before).result["top1"] == finetuned.result["top1"]
    for folder in ("checkpoints", "best"):
        shutil.rmtree(judged / folder)
    shutil.copytree(finetuned.folder / "best", judged / "checkpoints")
    assert measure("eval", before).result["top1"] == finetuned.result["best_top1"]
