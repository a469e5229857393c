"""What the stages that train a classifier share: results, best weights, and that a killed run ends as one never killed.

Shown by fine-tuning.
"""

import types

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support
from sklearn.utils.class_weight import compute_class_weight

from benchmarks.compare_runs import curves, differing
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.evaluation.metrics import Accuracy
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.history import History
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.engine import learning, loop
from simclr_keras.training.stages import classification
from simclr_keras.training.stages.classification import ClassificationStage, labeled_part, score_logits
from tests.training.killing import kill
from tests.training.tiny import begin, configure, metrics, result, run, saved_variables, variables

pytestmark = pytest.mark.usefixtures("tiny")
PROMISED = {
    "mode",
    "model",
    "parameters",
    "dataset",
    "image_size",
    "training_images",
    "labels_used",
    "evaluation_images",
    "classes",
    "top1",
    "top5",
    "balanced_accuracy",
    "top1_interval",
    "best_top1",
    "best_epoch",
    "epochs",
    "step",
    "seed",
    "head_layer",
    "per_class",
    "finished",
    "ancestors",
}


@pytest.fixture
def config(tiny, pretrained, tmp_path):
    """Makes the config of a fine-tuning in epochs of three steps."""
    settings = {
        "init": str(pretrained.folder),
        "batch_size": 4,
        "learning_rate": 0.05,
        "checkpoint_every_steps": 2,
    }
    return lambda name="run", **others: configure("finetune", tmp_path / name, **{**settings, **others})


@pytest.fixture(scope="module")
def whole(pretrained, tiny_session, tmp_path_factory):
    """A run that was never killed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    settings = {
        "init": str(pretrained.folder),
        "batch_size": 4,
        "learning_rate": 0.05,
        "checkpoint_every_steps": 2,
    }
    return tiny_session(configure("finetune", folder, **settings))


def evaluation_outputs(folder, held):
    """(logits, labels) of a run's model for these held-out images, by hand."""
    model = load_run(str(folder))
    return model(evaluation_view(held.images, 8))["logits"].numpy(), held.labels


@pytest.fixture(scope="module")
def held_out(finetuned, pretrained, stripes):
    """The Source of the images that pretraining held out."""
    settings = pretrained.config
    return load_dataset(stripes, eval_fraction=settings.eval_fraction).evaluation


def test_the_result_holds_what_was_promised_and_is_what_was_returned(finetuned):
    found = result(finetuned.folder)
    assert found == finetuned.result
    assert found.keys() >= PROMISED
    assert (found["mode"], found["finished"], found["classes"], found["image_size"]) == (
        "finetune",
        True,
        3,
        8,
    )
    assert (found["epochs"], found["seed"]) == (3, 9)
    assert found["parameters"] == load_run(str(finetuned.folder)).encoder.count_params()
    last = metrics(finetuned.folder)[-1]
    for name in ("loss", "accuracy", "top1", "top5"):
        assert found[name] == float(last[name])


def test_accuracies_and_their_interval_are_those_of_the_evaluation_images(finetuned, held_out):
    logits, labels = evaluation_outputs(finetuned.folder, held_out)
    hits = np.argmax(logits, axis=1) == labels
    found = finetuned.result
    assert found["top1"] == pytest.approx(hits.mean())
    assert found["top5"] == 1  # of three classes
    low, high = binomtest(int(hits.sum()), 12).proportion_ci(method="wilson")
    np.testing.assert_allclose(found["top1_interval"], [low, high], rtol=1e-9)


@pytest.mark.slow
def test_the_figures_of_every_class_are_those_of_the_evaluation_images(whole, held_out):
    logits, labels = evaluation_outputs(whole.folder, held_out)
    expected = precision_recall_fscore_support(
        labels, np.argmax(logits, axis=1), labels=[0, 1, 2], zero_division=np.nan
    )
    for name, row, *figures in zip(("rows", "columns", "slanted"), whole.result["per_class"], *expected):
        assert (row["name"], row["images"]) == (name, figures[3])
        for key, value in zip(("precision", "recall", "f1"), figures):
            assert row[key] == (None if np.isnan(value) else pytest.approx(value))


def test_rows_curves_and_lines_tell_of_every_epoch(finetuned):
    rows = metrics(finetuned.folder, without=())
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "2"), ("2", "3"), ("3", "4")]
    assert list(rows[0]) == list(classification.columns(("loss", "accuracy")))
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("accuracy", "top1", "top5"))
    for name, points in curves(finetuned.folder).items():
        assert [step for step, _ in points] == [2, 3, 4], name
    assert [line.split()[1] for line in finetuned.lines if line.startswith("epoch")] == ["1/3", "2/3", "3/3"]
    (said,) = [line for line in finetuned.lines if line.startswith("top-1")]
    assert f"top-1    {finetuned.result['top1']:.1%} (95 % interval" in said
    for name in ("curves.png", "confusion.png"):
        assert (finetuned.folder / name).exists()
        assert name in finetuned.lines[-1]


def test_pictures_are_drawn_of_the_evaluation_images(whole, held_out, monkeypatch):
    logits, labels = evaluation_outputs(whole.folder, held_out)
    drawn = []
    monkeypatch.setattr(
        classification.plots, "confusion_figure", lambda matrix, names: drawn.append((matrix, names))
    )
    score_logits(logits, labels, ("a", "b", "c"))
    ((matrix, names),) = drawn
    assert names == ("a", "b", "c")
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels, np.argmax(logits, axis=1)), 1)
    np.testing.assert_array_equal(matrix, expected)
    monkeypatch.setattr(classification, "MOST_DRAWN", 2)
    figure, scores = score_logits(logits, labels, ("a", "b", "c"))
    assert (figure, len(drawn), len(scores["per_class"])) == (None, 1, 3)


def test_images_without_a_label_are_not_judged():
    scores, labels = np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 0, -1])
    _, found = score_logits(scores, labels, ("a", "b", "c"))
    assert found["top1"] == pytest.approx(2 / 3)
    assert [row["images"] for row in found["per_class"]] == [2, 1, 0]
    assert score_logits(scores, np.full(4, -1), ("a", "b", "c")) == (None, {})


def plan(monkeypatch, top1_of_step):
    """Makes evaluations give these figures by step; returns the weights that they were asked for, by step."""
    seen, real = {}, ClassificationStage._evaluate

    def evaluate(self):
        real(self)
        step = int(self.learner.optimizer.iterations.numpy())
        seen[step] = variables(self.learner.model)
        return Accuracy(top1_of_step[step], 1.0, 12, 1 - top1_of_step[step])

    monkeypatch.setattr(ClassificationStage, "_evaluate", evaluate)
    return seen


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_the_weights_of_the_best_epoch_are_kept_beside_the_last(config, monkeypatch, tmp_path):
    # Of equally good ones the first.
    seen = plan(monkeypatch, {4: 0.2, 7: 0.9, 10: 0.5, 13: 0.9})
    done = run(config(epochs=4, keep_checkpoints=1))
    assert (done.result["best_top1"], done.result["best_epoch"]) == (0.9, 2)
    assert steps_in(str(tmp_path / "run" / "best")) == [7]
    for checkpoint, step in (("best", 7), ("last", 13)):
        assert_same(saved_variables(tmp_path / "run", checkpoint), seen[step])
        assert_same(variables(load_run(str(tmp_path / "run"), checkpoint=checkpoint)), seen[step])
    assert any("best 90.0% after epoch 2, kept in best/" in line for line in done.lines)
    assert not np.array_equal(seen[7]["classifier/kernel"], seen[13]["classifier/kernel"])


@pytest.mark.slow
def test_balanced_accuracy_may_choose_the_best_weights_and_classes_be_balanced(config, monkeypatch, tmp_path):
    plan(monkeypatch, {4: 0.2, 7: 0.9})  # balanced accuracies 0.8 and 0.1
    stages = []
    monkeypatch.setattr(ClassificationStage, "problem_of", lambda self, row: stages.append(self))
    done = run(config(best_metric="balanced_accuracy", class_weights="balanced", keep_checkpoints=1))
    assert (done.result["best_balanced_accuracy"], done.result["best_epoch"]) == (0.8, 1)
    assert steps_in(str(tmp_path / "run" / "best")) == [4]
    assert any(line.startswith("balanced") and "best 80.0% after epoch 1" in line for line in done.lines)
    labels, weights = stages[0].labeled.labels, stages[0].learner.class_weights
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(weights, expected)
    (line,) = [line for line in done.lines if "the losses of the classes are weighted by" in line]
    assert f"{min(expected):.3g} to {max(expected):.3g}" in line


@pytest.mark.slow
def test_a_later_stage_may_start_from_the_best_weights(config, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        seen = plan(patch, {4: 0.9, 7: 0.1})
        run(config())
    for checkpoint, step in (("best", 4), ("last", 7)):
        later = config(checkpoint, init=str(tmp_path / "run"), init_checkpoint=checkpoint)
        found = variables(begin(later, monkeypatch).learner.model)
        np.testing.assert_array_equal(
            found["encoder/stem/conv/kernel"], seen[step]["encoder/stem/conv/kernel"]
        )


@pytest.mark.slow
def test_only_every_so_many_epochs_and_the_last_are_evaluated(config, monkeypatch, tmp_path):
    plan(monkeypatch, {7: 0.9, 10: 0.5})
    done = run(config(epochs=3, eval_every_epochs=2))
    assert [row["top1"] for row in metrics(tmp_path / "run")] == ["", "0.9", "0.5"]
    assert (done.result["best_epoch"], done.result["best_top1"]) == (2, 0.9)


KILLS = {
    "between the best weights and the row of epoch 2": (History, "add", 2),
    "in the middle of an epoch": (loop.Bar, "advance", 5),
    "in the evaluation of epoch 1": (ClassificationStage, "_evaluate", 1),
    "after the last checkpoint": (classification.plots, "curves_figure", 1),
}


@pytest.mark.parametrize(
    "where", [next(iter(KILLS)), *(pytest.param(where, marks=pytest.mark.slow) for where in list(KILLS)[1:])]
)
def test_a_run_killed_and_repeated_ends_as_one_never_killed(config, whole, monkeypatch, tmp_path, where):
    kill(config(), monkeypatch, *KILLS[where])
    assert not (tmp_path / "run" / "result.json").exists()
    done = run(config())
    assert any("continued at step" in line for line in done.lines)
    assert not differing(tmp_path / "run", whole.folder)


@pytest.mark.slow
def test_best_weights_later_than_the_checkpoint_a_run_comes_back_to_are_forgotten(
    config, monkeypatch, tmp_path
):
    plan(monkeypatch, {4: 0.2, 7: 0.9})
    kill(config(), monkeypatch, History, "add", 2)
    assert steps_in(str(tmp_path / "run" / "best")) == [7]
    (tmp_path / "run" / "checkpoints" / "step-7.index").write_bytes(b"")
    begun = begin(config(), monkeypatch)
    assert begun.settings["first_step"] == 6
    assert steps_in(str(tmp_path / "run" / "best")) == []


@pytest.mark.slow
def test_a_finished_run_goes_on_to_more_epochs_and_its_best_with_it(config, monkeypatch, tmp_path):
    plan(monkeypatch, {4: 0.2, 7: 0.9, 10: 0.3})
    run(config())
    done = run(config(epochs=3))
    assert (done.result["best_epoch"], done.result["epochs"], done.result["extended_from"]) == (2, 3, [2])
    assert steps_in(str(tmp_path / "run" / "best")) == [7]


def test_a_finished_run_says_its_result_again_and_trains_no_more(tiny, finetuned, monkeypatch):
    monkeypatch.setattr(loop, "train", None)
    again = run(finetuned.config)
    assert again.result == finetuned.result
    assert any(line.startswith("top-1") for line in again.lines)


def test_the_labeled_part_of_a_source_is_all_of_it_where_all_is_labeled(stripes):
    train = load_dataset(stripes).train
    assert labeled_part(train) is train
    few = train.with_labels_of([3, 5])
    assert list(labeled_part(few).ids) == [train.ids[3], train.ids[5]]


@pytest.mark.slow
@pytest.mark.parametrize(("worst", "said"), [(2, False), (0.001, True)])
def test_a_run_whose_loss_ends_far_above_guessing_says_so(
    tiny, pretrained, tmp_path, monkeypatch, worst, said
):
    monkeypatch.setattr(learning, "BAD_LOSS", worst)
    lines = run(configure("finetune", tmp_path / "run", init=str(pretrained.folder))).lines
    assert any("give a lower --learning_rate" in line for line in lines) == said


def test_moving_statistics_that_lag_are_named(monkeypatch):
    """The accuracy in training beside that of the same images in inference mode."""
    labels = np.arange(100) % 4
    outputs = {"logits": np.eye(4)[(labels + (np.arange(100) >= 50)) % 4], "label": labels}
    stage = types.SimpleNamespace(
        learner=types.SimpleNamespace(model=None),
        labeled=None,
        config=types.SimpleNamespace(seed=0, freeze_through=-1),
        architecture=types.SimpleNamespace(name="r18_1x_sk0"),
        _extractor=lambda source: outputs,
    )
    monkeypatch.setattr(classification, "knn_bank", lambda *_: labels)
    monkeypatch.setattr(classification, "trained_statistics", lambda model: ["a layer"])
    check = ClassificationStage._check_statistics
    assert check(stage, {"accuracy": 0.68}) == (0.5, [])
    top1, (warning,) = check(stage, {"accuracy": 0.75})
    assert top1 == 0.5
    assert "in training is 75.0%, but that on the same images in inference mode is 50.0%" in warning
    assert warning.endswith("a lower --learning_rate, or freeze the encoder (--freeze_through=4)")
    stage.config = types.SimpleNamespace(seed=0, init="runs/a")
    assert check(stage, {"accuracy": 0.75})[1][0].endswith("freeze batch normalization (--freeze_batch_norm)")
    assert check(stage, {"accuracy": None}) == (None, [])
    monkeypatch.setattr(classification, "trained_statistics", lambda model: [])  # frozen
    assert check(stage, {"accuracy": 0.75}) == (None, [])


@pytest.mark.slow
def test_short_runs_end_with_statistics_of_their_weights(config, monkeypatch):
    calls = []

    class Recalibration:
        def __init__(self, learner, strategy):
            pass

        def __call__(self, batches):
            calls.append(sum(1 for _ in batches))

    monkeypatch.setattr(classification, "Recalibration", Recalibration)
    stage = begin(config(), monkeypatch).settings["at_last_step"].__self__
    for steps in (7, 499, 500):
        stage.recalibration(stage.learner, steps)(stage.make_batches())
    assert calls == [7, 20]
