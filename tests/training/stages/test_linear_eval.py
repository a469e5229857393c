"""Linear evaluation: by the paper's protocol nothing but the classifier moves; the quick one is scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.compare_runs import differing, weights
from simclr_keras.evaluation.metrics import top_k_accuracy
from simclr_keras.export.from_run import describe
from simclr_keras.runs.open_run import open_run
from simclr_keras.training.engine import loop
from tests.training.killing import kill
from tests.training.tiny import (
    begin,
    checkpointed_steps,
    configure,
    features_of,
    result,
    run,
    saved_variables,
)

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def done(pretrained, tiny_session, tmp_path_factory):
    """A linear evaluation of the first layer of the head, with a decay that would be seen."""
    folder = tmp_path_factory.mktemp("linear") / "run"
    settings = {"init": str(pretrained.folder), "head_layer": 1, "weight_decay": 0.1, "batch_size": 4}
    return tiny_session(configure("linear_eval", folder, **settings, epochs=1))


@pytest.mark.slow
def test_the_paper_s_protocol_leaves_everything_but_the_classifier_alone(done, pretrained):
    before, after = saved_variables(pretrained.folder), saved_variables(done.folder)
    moved = {name for name, value in after.items() if not np.array_equal(value, before.get(name))}
    assert moved == {"classifier/kernel", "classifier/bias"}
    slots = [name for name in weights(done.folder) if "optimizer" in name and "encoder" in name]
    assert not slots


def test_the_classifier_trains_on_the_layer_that_is_judged(done, monkeypatch, tmp_path):
    found = done.result
    assert (found["mode"], found["protocol"]) == ("linear_eval", "paper")
    assert (found["head_layer"], found["labels_used"]) == (1, 12)
    assert found["ancestors"][0]["mode"] == "pretrain"
    begun = begin(
        configure("linear_eval", tmp_path / "run", init=done.config.init, head_layer=2), monkeypatch
    )
    assert begun.learner.model.head_layer == 2
    names = {variable.path.partition("/")[2] for variable in begun.learner.main_variables}
    assert names == {"classifier/kernel", "classifier/bias"}
    assert "layer 2 of its projection head, frozen" in begun.lines[1]


@pytest.mark.slow
def test_a_killed_linear_evaluation_ends_as_one_never_killed(done, monkeypatch, tmp_path):
    settings = {"init": done.config.init, "head_layer": 1, "weight_decay": 0.1, "batch_size": 4}
    config = configure("linear_eval", tmp_path / "run", **settings, epochs=1, checkpoint_every_steps=2)
    kill(config, monkeypatch, loop.Bar, "advance", 3)
    run(config)
    assert not differing(tmp_path / "run", done.folder)


@pytest.mark.parametrize("layer", [0, 2])
def test_the_quick_one_is_logistic_regression_on_the_features_of_the_labeled_images(
    pretrained, tmp_path, layer
):
    config = configure(
        "linear_eval",
        tmp_path / "run",
        init=str(pretrained.folder),
        protocol="fast",
        head_layer=layer,
        logistic_c=0.5,
        seed=99,
        class_weights="balanced" if layer else "none",
    )
    found = run(config).result
    train, labels, held, held_labels = features_of(pretrained, layer)
    assert len(train) == found["labels_used"] == 12
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=0.5, max_iter=1000, class_weight="balanced" if layer else None)
    model.fit(scaler.transform(train), labels)
    scores = model.predict_log_proba(scaler.transform(held))
    assert found["top1"] == pytest.approx(top_k_accuracy(scores, held_labels, 1))
    assert [row["recall"] for row in found["per_class"]] == pytest.approx(
        [np.mean(np.argmax(scores, axis=1)[held_labels == k] == k) for k in range(3)]
    )
    assert (found["protocol"], found["logistic_c"], found["head_layer"]) == ("fast", 0.5, layer)
    assert result(tmp_path / "run") == found
    assert "epochs" not in found  # --epochs belongs to the other protocol


@pytest.mark.slow
def test_logistic_regression_becomes_the_classifier_of_the_network(pretrained, data, tmp_path):
    settings = {"init": str(pretrained.folder), "protocol": "fast", "head_layer": 1}
    for dataset in (data, None):  # the second evaluation replaces the first
        folder = tmp_path / "other" if dataset else tmp_path / "run"
        done = run(configure("linear_eval", folder, dataset=dataset, **settings))
    done = run(done.config)
    assert checkpointed_steps(done.folder) == [pretrained.result["step"]]
    before, after = saved_variables(pretrained.folder), saved_variables(done.folder)
    kept = {name for name in after if not name.startswith("classifier/")}
    assert not [name for name in kept if not np.array_equal(after[name], before[name])]
    again = run(configure("eval", tmp_path / "eval", init=str(done.folder))).result
    assert (again["top1"], again["per_class"]) == (done.result["top1"], done.result["per_class"])
    assert again["classifier"] == "trained"

    assert "place" in done.result["ancestors"][0]
    card = describe(open_run(str(done.folder)))
    assert "place" not in card["ancestors"][0]  # a folder of this machine
    assert card["training"].keys() & {"epochs", "batch_size", "learning_rate"} == set()
    assert card["class_names"] == ["rows", "columns", "slanted"]
    assert card["architecture"]["head_layer"] == 1


@pytest.mark.slow
def test_the_quick_one_chooses_its_penalty_on_the_training_labels_where_none_is_given(pretrained, tmp_path):
    config = configure("linear_eval", tmp_path / "run", init=str(pretrained.folder), protocol="fast")
    assert run(config).result["logistic_c"] in [10.0**k for k in range(-4, 3)]
