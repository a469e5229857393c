"""Training from scratch: a network without head, all of it trained, on the labels that may be seen."""

import numpy as np
import pytest
from keras.src.applications import efficientnet

from benchmarks.compare_runs import differing
from simclr_keras.training.engine import loop
from tests.training.killing import kill
from tests.training.tiny import GROUPED, begin, configure, metrics, run, saved_variables, split_of, variables

pytestmark = pytest.mark.usefixtures("tiny")
SETTINGS = {
    "labels_per_class": 4,
    "label_smoothing": 0.1,
    "augment": "crop,flip,color",
    "eval_fraction": 0.18,
}


@pytest.fixture(scope="module")
def done(stripes, tiny_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("supervised") / "run"
    return tiny_session(configure("supervised", folder, dataset=stripes, **SETTINGS))


@pytest.mark.slow
def test_the_result_tells_what_was_seen(done):
    found = done.result
    assert (found["mode"], found["labels_used"], found["training_images"], found["evaluation_images"]) == (
        "supervised",
        12,
        28,
        12,
    )
    assert (found["model"], found["classes"], found["ancestors"]) == (GROUPED, 3, [])
    assert 0 <= found["top1"] <= 1
    assert len(metrics(done.folder)) == 2


def test_all_of_the_network_is_trained_and_there_is_no_projection_head(stripes, done, monkeypatch, tmp_path):
    begun = begin(configure("supervised", tmp_path / "run", dataset=stripes, **SETTINGS), monkeypatch)
    before, after = variables(begun.learner.model), saved_variables(done.folder)
    assert before.keys() == after.keys()
    assert {name.partition("/")[0] for name in after} == {"encoder", "classifier"}
    for name, value in after.items():
        assert not np.array_equal(value, before[name]), name
    assert (begun.learner.label_smoothing, begun.learner.augment is not None) == (0.1, True)
    assert "from scratch on 12 labels" in begun.lines[1]


def test_of_a_frozen_backbone_only_what_stands_on_it_is_trained(data, monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", efficientnet.DEFAULT_BLOCKS_ARGS[:2])
    settings = {
        "model": "keras:EfficientNetB0",
        "dense_layers": "8",
        "image_size": 32,
        "freeze_backbone": True,
    }
    begun = begin(configure("supervised", tmp_path / "run", dataset=data, **settings), monkeypatch)
    assert len({variable.path for variable in begun.learner.main_variables}) == 4


def test_seed_decides_weights_and_labels_not_evaluation_images(stripes, monkeypatch, tmp_path):
    found, evaluated_on = [], set()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = configure("supervised", tmp_path / name, dataset=stripes, seed=seed, **SETTINGS)
        model = begin(config, monkeypatch).learner.model
        found.append(
            (variables(model)["encoder/stem/conv/kernel"], (tmp_path / name / "split.json").read_text())
        )
        evaluated_on.add(split_of(tmp_path / name)["evaluation_fingerprint"])
    assert len(evaluated_on) == 1
    for one, other, same in ((0, 1, True), (0, 2, False)):
        assert np.array_equal(found[one][0], found[other][0]) == same
        assert (found[one][1] == found[other][1]) == same


@pytest.mark.slow
def test_training_from_scratch_learns_what_the_labels_say(data, tmp_path):
    config = configure(
        "supervised", tmp_path / "run", dataset=data, epochs=20, eval_every_epochs=20, augment="none"
    )
    assert run(config).result["top1"] > 0.8


def test_lars_adapts_the_rate_of_the_classifier_too(stripes, monkeypatch, tmp_path):
    config = configure("supervised", tmp_path / "run", dataset=stripes, optimizer="lars", weight_decay=0.1)
    learner = begin(config, monkeypatch).learner
    assert not any(learner.decayed_in_loss(variable.path) for variable in learner.model.variables)


@pytest.mark.slow
def test_a_killed_run_ends_as_one_never_killed(stripes, done, monkeypatch, tmp_path):
    config = configure("supervised", tmp_path / "run", dataset=stripes, checkpoint_every_steps=1, **SETTINGS)
    kill(config, monkeypatch, loop.Bar, "advance", 2)
    run(config)
    assert not differing(tmp_path / "run", done.folder)
