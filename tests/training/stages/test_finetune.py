"""Fine-tuning: what arrives from pretraining, what trains, what is counted, and what the run says and leaves."""

import json
import shutil

import numpy as np
import pytest

from benchmarks.compare_runs import weights
from simclr_keras.errors import InputError
from simclr_keras.preprocess import evaluation_view
from simclr_keras.training.stages.finetune import Finetuning
from tests.training.tiny import (
    begin,
    configure,
    metrics,
    result,
    rows_of,
    run,
    saved_variables,
    variables,
)


@pytest.fixture
def config(tiny, pretrained, tmp_path):
    """Makes the config of a fine-tuning of the pretraining run."""
    return lambda **settings: configure("finetune", tmp_path / "run", init=str(pretrained.folder), **settings)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_classifier_sits_on_the_layer_and_the_layers_above_it_are_gone(
    config, pretrained, monkeypatch, layer
):
    begun = begin(config(head_layer=layer), monkeypatch)
    model = begun.learner.model
    assert (model.head_layer, model.projection_head.depth) == (layer, layer)
    assert f"from layer {layer} of its projection head" in begun.lines[1]
    found, before = variables(model), saved_variables(pretrained.folder)
    kept = {name for name in before if name.startswith("encoder")}
    kept |= {
        name for name in before for j in range(1, layer + 1) if f"dense{j}/" in name or f"bn{j}/" in name
    }
    assert kept | {"classifier/kernel", "classifier/bias"} == found.keys()
    # Moving statistics too, which have moved from 0 and 1 in pretraining.
    assert np.any(before["encoder/stem/bn/moving_mean"])
    for name in kept:
        np.testing.assert_array_equal(found[name], before[name], err_msg=name)
    # Not the online probe of pretraining.
    assert np.any(found["classifier/kernel"])
    assert not np.array_equal(found["classifier/kernel"], before["classifier/kernel"])


def test_the_classifier_starts_normal_or_at_zero(config, monkeypatch):
    for chosen, low, high in (("normal", 0.005, 0.02), ("zeros", 0, 0)):
        learner = begin(config(classifier_init=chosen), monkeypatch).learner
        found = variables(learner.model)
        assert low <= found["classifier/kernel"].std() <= high
        assert not np.any(found["classifier/bias"])


@pytest.mark.parametrize(
    ("head", "layer"),
    [({}, 1), ({"proj_layers": 1}, 0), ({"proj_mode": "linear"}, 0), ({"proj_mode": "none"}, 0)],
    ids=str,
)
def test_fine_tuning_starts_from_the_middle_of_the_head_where_it_has_one(pretrained, tmp_path, head, layer):
    shutil.copytree(pretrained.folder, tmp_path / "other")
    told = tmp_path / "other" / "model.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), **head}))
    stage = Finetuning(configure("finetune", tmp_path / "run", init=str(tmp_path / "other")))
    assert (stage.head_layer, stage.config.head_layer) == (layer, layer)


def test_learning_rate_is_that_of_the_network_unless_given(tiny, pretrained, tmp_path, monkeypatch):
    shutil.copytree(pretrained.folder, tmp_path / "wide")
    architecture = tmp_path / "wide" / "model.json"
    architecture.write_text(json.dumps({**json.loads(architecture.read_text()), "name": "r34_2x_sk0"}))
    for init, rate, base in (
        (pretrained.folder, None, 0.005),
        (tmp_path / "wide", None, 0.002),
        (tmp_path / "wide", 0.3, 0.3),
    ):
        config = configure("finetune", tmp_path / "run", init=str(init), learning_rate=rate)
        begun = begin(config, monkeypatch)
        assert begun.settings["schedule"].peak == base
        line = f"steps    base learning rate {base:g}, the paper's for r34_{'0.125' if base == 0.005 else '2'}x_sk0; "
        assert any(text.startswith(line) for text in begun.lines) == (rate is None)


@pytest.mark.slow
def test_a_fine_tuned_network_can_be_fine_tuned_again(tiny, finetuned, tmp_path, monkeypatch):
    learner = begin(configure("finetune", tmp_path / "run", init=str(finetuned.folder)), monkeypatch).learner
    assert learner.model.head_layer == 1
    found, before = variables(learner.model), saved_variables(finetuned.folder)
    np.testing.assert_array_equal(
        found["projection_head/dense1/kernel"], before["projection_head/dense1/kernel"]
    )
    with pytest.raises(InputError, match=r"--head_layer=2 is beyond .* layers 0 to 1"):
        run(configure("finetune", tmp_path / "other", init=str(finetuned.folder), head_layer=2))


def test_everything_trains_unless_told_otherwise(pretrained, finetuned):
    before, after = saved_variables(pretrained.folder), saved_variables(finetuned.folder)
    for name in after:
        assert not np.array_equal(after[name], before.get(name)), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", ["momentum", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lars", "adamw"))]
)
def test_what_is_frozen_does_not_move_by_a_bit(config, pretrained, tmp_path, optimizer):
    # A decay that would be seen, and statistics that would drift.
    run(config(freeze_through=1, optimizer=optimizer, weight_decay=0.1, learning_rate=0.01, epochs=1))
    before, after = saved_variables(pretrained.folder), saved_variables(tmp_path / "run")
    frozen = {name for name in after if name.startswith(("encoder/stem/", "encoder/block_group1/"))}
    assert len(frozen) == 10
    for name, value in after.items():
        assert np.array_equal(value, before.get(name)) == (name in frozen), name
    # Nor do optimizers hold anything of it.
    assert not [name for name in weights(tmp_path / "run") if "optimizer" in name and "stem" in name]


def test_frozen_batch_norm_does_not_move_by_a_bit(config, pretrained, tmp_path):
    settings = {"weight_decay": 0.1, "learning_rate": 0.01, "epochs": 1}
    done = run(config(freeze_batch_norm=True, **settings))
    assert "steps    batch normalization is frozen in 4 layers" in done.lines
    before, after = saved_variables(pretrained.folder), saved_variables(tmp_path / "run")
    frozen = {name for name in after if "/bn" in name}
    assert {name.split("/")[0] for name in frozen} == {"encoder", "projection_head"}
    for name, value in after.items():
        assert np.array_equal(value, before.get(name)) == (name in frozen), name


@pytest.mark.slow
def test_a_frozen_encoder_leaves_the_head_to_train(config, pretrained, tmp_path):
    run(config(freeze_through=4, epochs=1))
    before, after = saved_variables(pretrained.folder), saved_variables(tmp_path / "run")
    for name, value in after.items():
        assert np.array_equal(value, before.get(name)) == name.startswith("encoder"), name


def test_only_the_labels_that_may_be_seen_are_seen_and_the_screen_says_once_how_a_batch_is_filled(
    finetuned, pretrained
):
    found = finetuned.result
    assert (found["labels_used"], found["training_images"], found["evaluation_images"]) == (12, 28, 12)
    said = [line for line in finetuned.lines if "filled by repeating the 12 labeled images" in line]
    assert len(said) == 1
    # 3 epochs of one batch of 16.
    assert found["step"] == 4 == int(metrics(finetuned.folder)[-1]["step"])


def test_no_image_but_the_labeled_ones_comes_into_a_batch(config, monkeypatch, tmp_path, stripes):
    batches = begin(config(augment="none"), monkeypatch).batches
    rows = rows_of(tmp_path / "run", "labeled")
    data = np.load(stripes.removeprefix("npz:"))
    known = {
        np.round(evaluation_view(data["x_train"][row], 8).numpy() * 255).astype(np.uint8).tobytes(): row
        for row in rows
    }
    seen = set()
    for batch in batches(0, 3):
        for view, label in zip(batch["views"].numpy(), batch["label"].numpy()):
            row = known[view[0].tobytes()]
            assert label == data["y_train"][row]
            seen.add(row)
    assert seen == {*rows}


def test_enough_labels_fill_a_batch_without_a_word(config, monkeypatch):
    lines = begin(config(batch_size=8), monkeypatch).lines
    assert not [line for line in lines if "filled" in line]


@pytest.mark.slow
def test_fine_tuning_learns_what_the_labels_say(config, tmp_path):
    found = run(config(epochs=40, head_layer=0, eval_every_epochs=40, augment="none")).result
    assert found["accuracy"] > 0.9
    assert found["top1"] > 0.8
    assert found["top1"] == result(tmp_path / "run")["top1"]


def test_settings_reach_the_learner(config, monkeypatch):
    for on_nan, skips in (("stop", False), ("skip_batch", True)):
        learner = begin(config(on_nan=on_nan, label_smoothing=0.3), monkeypatch).learner
        assert (learner.label_smoothing, learner.on_nan == "skip_batch") == (0.3, skips)


@pytest.mark.parametrize(
    ("decays", "expected"),
    [("lars", {"classifier/kernel"}), ("adamw", set()), ("momentum", None)],
)
def test_the_decay_in_the_loss_is_that_of_the_release(config, monkeypatch, decays, expected):
    learner = begin(config(optimizer=decays, weight_decay=0.1, classifier_init="zeros"), monkeypatch).learner
    decayed = {name for name in variables(learner.model) if learner.decayed_in_loss("simclr/" + name)}
    if expected is None:
        expected = {n for n in variables(learner.model) if n.endswith(("kernel", "bias", "mean", "variance"))}
    assert decayed == expected
