"""--head_layer=auto: the layer that fine-tunes best on held-out labels, resumed fold by fold."""

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest

from benchmarks.compare_runs import differing
from simclr_keras.errors import Stopped
from simclr_keras.evaluation.metrics import Accuracy
from simclr_keras.training.stages import head_layer_search
from simclr_keras.training.stages.finetune import Finetuning
from tests.tools.made_runs import rows
from tests.training.killing import Killed, kill
from tests.training.tiny import begin, configure, rows_of, run

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def config(pretrained, tmp_path):
    """Makes the config of a fine-tuning that chooses its layer."""

    def make(name="run", **settings):
        values = {"init": str(pretrained.folder), "head_layer": "auto", "batch_size": 4, "epochs": 1}
        return configure("finetune", tmp_path / name, **{**values, **settings})

    return make


@pytest.fixture
def plant(monkeypatch):
    """Puts trials in place that train nothing and give planted figures by layer and fold; returns the calls."""

    def put(figures, stop_at=None):
        calls = []

        class Trial:
            steps = 4

            def seconds(self, rest):
                return 20.0

            def __init__(self, stage, layer, num_labels):
                self.layer, self.fold, self.num_labels = layer, 0, num_labels

            def score(self, rest, held):
                if len(calls) == stop_at:
                    raise Killed
                calls.append((self.layer, rest, held, self.num_labels))
                self.fold += 1
                return figures[self.layer][self.fold - 1]

        monkeypatch.setattr(head_layer_search, "_Trial", Trial)
        return calls

    return put


def test_run_that_is_searching_is_in_a_report(config, plant, tmp_path):
    plant([[0.5] * 3] * 3, stop_at=1)
    with pytest.raises(Killed):
        run(config())
    (row,) = rows([str(tmp_path / "run")])
    assert (row.stage, row.note) == ("fine-tune, head layer auto", "unfinished, 0 of 1 epochs")


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([[0.5, 0.5, 0.5], [0.9, 0.2, 0.6], [0.5, 0.5, 0.5]], 1),
        ([[0.1, 0.1, 0.1], [0.2, 0.2, 0.2], [0.0, 0.3, 0.4]], 2),
        ([[0.9, 0.9, 0.9], [0.9, 0.9, 0.9], [0.9, 0.9, 0.9]], 0),
        ([[0.3, 0.3, 0.3], [0.4, 0.8, 0.6], [0.6, 0.6, 0.6]], 1),
    ],
    ids=["the middle", "the last", "equal ones: the lowest", "equal means: the lower"],
)
def test_the_layer_with_the_best_mean_is_taken(config, plant, monkeypatch, figures, best):
    plant(figures)
    begun = begin(config(), monkeypatch)
    assert begun.learner.model.head_layer == begun.learner.model.projection_head.depth == best
    text = "\n".join(begun.lines)
    assert "trying 0 to 2 of the projection head on 3 folds of 12 labels" in text
    for layer, shares in enumerate(figures):
        assert (
            f"layer {layer}  top-1 {np.mean(shares):.1%} (folds {min(shares):.1%} to {max(shares):.1%})"
            in text
        )
    assert f"layer {best}  is used" in text
    assert (
        text.count("layers   9 trainings of 4 steps each, about 3 min 0 s in all; --head_layer=1 skips") == 1
    )


def test_layers_are_compared_by_best_metric(config, plant, monkeypatch, tmp_path):
    """Scores of another metric, which earlier versions wrote for every --best_metric, are not used."""
    settings = {"best_metric": "balanced_accuracy", "cv_folds": 2}
    figures = iter([0.9, 0.8, 0.1, 0.1, 0.1, 0.1])
    monkeypatch.setattr(head_layer_search._Trial, "_batches", lambda *_: None)
    monkeypatch.setattr(head_layer_search, "make_step_function", lambda *_: lambda _, count: count)
    monkeypatch.setattr(head_layer_search, "read_figures", lambda *_: None)
    monkeypatch.setattr(head_layer_search, "accuracy", lambda *_: Accuracy(0.5, 1.0, 4, next(figures)))
    begun = begin(config(**settings), monkeypatch)
    assert begun.learner.model.head_layer == 0
    assert any("layer 0  balanced accuracy 85.0% (folds 80.0% to 90.0%)" in line for line in begun.lines)
    path = tmp_path / "run" / "head_layer.json"
    scores = json.loads(path.read_text())
    scores["top1"] = scores.pop("balanced_accuracy")
    path.write_text(json.dumps(scores))
    calls = plant([[0.1] * 2, [0.9] * 2, [0.1] * 2])
    assert begin(config(**settings), monkeypatch).learner.model.head_layer == 1
    assert len(calls) == 6


def test_every_layer_is_tried_on_every_fold_of_the_labeled_images_alone(config, plant, monkeypatch, tmp_path):
    calls = plant([[0.5] * 4] * 3)
    begin(config(cv_folds=4), monkeypatch)
    assert [layer for layer, *_ in calls] == [0] * 4 + [1] * 4 + [2] * 4
    labeled = [f"train/{row}" for row in rows_of(tmp_path / "run", "labeled")]
    for first in range(0, 12, 4):
        judged = [name for _, _, held, _ in calls[first : first + 4] for name in held.ids]
        assert sorted(judged) == sorted(labeled)
    for _, rest, held, num_labels in calls:
        assert {*rest.ids} == {*labeled} - {*held.ids}
        assert num_labels == 9
        assert np.bincount(held.labels).tolist() == [1, 1, 1]  # stratified
    # The same folds for every layer.
    assert list(calls[0][2].ids) == list(calls[4][2].ids)


def test_there_are_as_many_folds_as_the_smallest_class_allows(config, plant, monkeypatch):
    calls = plant([[0.5] * 9] * 3)
    begin(config(cv_folds=9), monkeypatch)
    assert len(calls) == 3 * 4


def test_a_choice_that_was_stopped_goes_on_where_it_was(config, plant, monkeypatch):
    figures = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.1, 0.1]]
    plant(figures, stop_at=5)
    with pytest.raises(Killed):
        begin(config(), monkeypatch)
    # The sixth and the rest; of layer 1 the third fold is the first that is still to be measured.
    calls = plant([None, [0.6], [0.7, 0.1, 0.1]])
    begun = begin(config(), monkeypatch)
    assert any("layers   4 trainings of 4 steps each, about 1 min 20 s" in line for line in begun.lines)
    assert [layer for layer, *_ in calls] == [1, 2, 2, 2]
    assert begun.learner.model.head_layer == 1
    assert not plant([])  # and nothing is left to do
    assert begin(config(), monkeypatch).learner.model.head_layer == 1


def test_scores_of_an_earlier_version_are_kept(config, plant, monkeypatch, tmp_path):
    plant([[0.1] * 3, [0.1] * 3, [0.9] * 3])
    begin(config(), monkeypatch)
    path = tmp_path / "run" / "head_layer.json"
    scores = json.loads(path.read_text())
    for name in ("use_ema", "global_bn", "eval_antialias"):
        del scores["settings"][name]
    path.write_text(json.dumps(scores))
    calls = plant([])
    assert begin(config(), monkeypatch).learner.model.head_layer == 2
    assert not calls


@pytest.mark.parametrize("change", ["settings", "file"])
def test_what_was_measured_otherwise_or_is_damaged_is_measured_anew(
    config, plant, monkeypatch, tmp_path, change
):
    plant([[0.9] * 3, [0.1] * 3, [0.1] * 3])
    begin(config(), monkeypatch)
    if change == "file":
        (tmp_path / "run" / "head_layer.json").write_text("{")
    calls = plant([[0.1] * 3, [0.1] * 3, [0.9] * 3])
    begun = begin(config(**({"learning_rate": 0.1} if change == "settings" else {})), monkeypatch)
    assert len(calls) == 9
    assert begun.learner.model.head_layer == 2


@pytest.mark.slow
def test_a_trial_begins_anew_for_every_fold(config, monkeypatch):
    """Else a fold would be judged by a network that has learned from it."""
    found = []

    def choose(stage):
        trial = head_layer_search._Trial(stage, 1, 8)
        parts = [stage.labeled.subset(rows) for rows in (range(6), range(6, 12))]
        assert trial.seconds(parts[0]) > 0  # on steps that leave no trace
        for rest, held in (parts, parts[::-1], parts):
            found.append((trial.score(rest, held), {n: v.numpy() for n, v in trial._learner.state().items()}))
        return 1

    monkeypatch.setattr("simclr_keras.training.stages.finetune.search_head_layer", choose)
    begin(config(epochs=2, batch_size=4), monkeypatch)
    first, other, again = found
    assert first[0] == again[0]
    for name, value in first[1].items():
        np.testing.assert_array_equal(value, again[1][name], err_msg=name)
    assert not np.array_equal(first[1]["model/classifier/kernel"], other[1]["model/classifier/kernel"])


@pytest.fixture(scope="module")
def whole(pretrained, tiny_session, tmp_path_factory):
    """A run that really tried the layers and was never killed."""
    folder = tmp_path_factory.mktemp("auto") / "run"
    settings = {
        "init": str(pretrained.folder),
        "head_layer": "auto",
        "batch_size": 4,
        "epochs": 1,
        "cv_folds": 2,
    }
    return tiny_session(configure("finetune", folder, **settings))


@pytest.mark.slow
def test_a_real_choice_is_written_down_and_said(whole):
    held = json.loads((whole.folder / "head_layer.json").read_text())["top1"]
    assert len(held) == 3 * 2
    assert all(0 <= share <= 1 for share in held.values())
    means = [np.mean([held[f"layer {layer}, fold {fold}"] for fold in range(2)]) for layer in range(3)]
    assert whole.result["head_layer"] == int(np.argmax(means))
    assert json.loads((whole.folder / "config.json").read_text())["head_layer"] == "auto"


@pytest.mark.slow
def test_a_choice_killed_in_its_second_trial_ends_as_one_never_killed(whole, config, monkeypatch, tmp_path):
    """For kills in training see test_resume.py; for kills anywhere, benchmarks/kill_and_resume.py."""
    kill(config(cv_folds=2), monkeypatch, head_layer_search._Scores, "set", 3)
    run(config(cv_folds=2))
    assert not differing(tmp_path / "run", whole.folder)
    assert (tmp_path / "run/head_layer.json").read_text().split("}")[1] == (
        whole.folder / "head_layer.json"
    ).read_text().split("}")[1]


@pytest.mark.slow
def test_a_choice_that_is_told_to_stop_keeps_its_folds(config, monkeypatch, tmp_path):
    real = head_layer_search._Scores.set

    def stop(found, *place):
        real(found, *place)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(head_layer_search._Scores, "set", stop)
    with pytest.raises(Stopped, match="finished folds are saved"):
        run(config(cv_folds=2))
    assert len(json.loads((tmp_path / "run" / "head_layer.json").read_text())["top1"]) == 1


def test_a_layer_that_is_given_is_not_tried(config, monkeypatch):
    monkeypatch.setattr("simclr_keras.training.stages.finetune.search_head_layer", None)
    stage = Finetuning(config(head_layer=2))
    assert stage.head_layer == 2


@pytest.mark.slow
def test_a_run_that_is_extended_keeps_its_layer(whole, monkeypatch, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "extended")
    monkeypatch.setattr(head_layer_search, "_Trial", None)
    longer = dataclasses.replace(
        whole.config, model_dir=str(tmp_path / "extended"), epochs=whole.config.epochs + 1
    )
    assert run(longer).result["head_layer"] == whole.result["head_layer"]
