"""Distillation: the teacher is the run that was named, the streams are those of equations 2 and 3, and labels are not
needed where none are used."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from keras.src.applications import efficientnet

from benchmarks.compare_runs import differing, weights
from simclr_keras.errors import InputError
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.engine import loop
from simclr_keras.training.stages.distill import Distillation
from tests.training.killing import kill
from tests.training.tiny import (
    GROUPED,
    TINY,
    begin,
    configure,
    make_config,
    metrics,
    rows_of,
    run,
    saved_variables,
    variables,
    write_npz,
)

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def config(finetuned, tmp_path):
    """Makes the config of a distillation of the fine-tuned run."""
    return lambda name="run", **settings: configure(
        "distill", tmp_path / name, **{"teacher": str(finetuned.folder), **settings}
    )


@pytest.fixture
def bare(tmp_path):
    """The --dataset of the same kind of images, without a label."""
    return "npz:" + write_npz(tmp_path / "bare.npz", labels=False, test=0)


@pytest.fixture(scope="module")
def images(stripes):
    return evaluation_view(np.load(stripes.removeprefix("npz:"))["x_train"], 8)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_the_teacher_is_the_network_that_load_run_gives(config, finetuned, images, monkeypatch, checkpoint):
    learner = begin(config(teacher_checkpoint=checkpoint), monkeypatch).learner
    found = learner._ask_teacher(images)["logits"]
    expected = load_run(str(finetuned.folder), checkpoint=checkpoint)(images)["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_the_student_has_no_head_and_weights_of_its_own(config, finetuned, monkeypatch):
    found = variables(begin(config(seed=9), monkeypatch).learner.model)
    assert {name.partition("/")[0] for name in found} == {"encoder", "classifier"}
    teacher = saved_variables(finetuned.folder)
    assert not np.array_equal(found["encoder/stem/conv/kernel"], teacher["encoder/stem/conv/kernel"])


def test_a_student_may_start_from_the_encoder_of_another_run(config, pretrained, monkeypatch):
    found = variables(begin(config(init=str(pretrained.folder)), monkeypatch).learner.model)
    before = saved_variables(pretrained.folder)
    for name, value in found.items():
        assert np.array_equal(value, before.get(name)) == name.startswith("encoder"), name


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 0.1), ({"model": GROUPED}, 0.1), ({"model": TINY}, 1.0), ({"temperature": 3.0}, 3.0)],
    ids=["self", "self by name", "another", "given"],
)
def test_the_temperature_is_the_paper_s_for_equals_and_for_others_unless_given(config, settings, expected):
    stage = Distillation(config(**settings))
    assert stage.config.temperature == expected
    assert stage.config.model == settings.get("model", GROUPED)


@pytest.mark.slow
def test_self_distillation_tells_what_was_done(distilled, finetuned):
    found = distilled.result
    assert (found["mode"], found["temperature"], found["alpha"], found["distill_on"]) == (
        "distill",
        0.1,
        1.0,
        "all",
    )
    # Labels came through the teacher alone.
    assert (found["labels_used"], found["training_images"]) == (finetuned.result["labels_used"], 28)
    rows = metrics(distilled.folder)
    assert all(row["distillation_loss"] == row["loss"] and not row["label_loss"] for row in rows)
    assert all(0 <= float(row["agreement"]) <= 1 for row in rows)
    assert not [name for name in weights(distilled.folder) if "teacher" in name]
    assert not [line for line in distilled.lines if "filled by repeating" in line]


@pytest.mark.slow
def test_the_teacher_is_left_as_it_was(distilled, finetuned, config, tmp_path):
    before = saved_variables(finetuned.folder)
    run(config(epochs=1, weight_decay=0.1))
    after = saved_variables(finetuned.folder)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def seen_by(begun, steps=4):
    """(images [n, h, w, 3], labels [n]) of the first stream, and of the second or None."""
    found = list(begun.batches(0, steps))
    streams = []
    for views, label in (("views", "label"), ("labeled_views", "labeled_label")):
        if views in found[0]:
            parts = [np.concatenate([batch[name].numpy() for batch in found]) for name in (views, label)]
            streams.append((parts[0][:, 0], parts[1]))
    return streams if len(streams) == 2 else [*streams, None]


def rows_in(shown, images):
    """The set of rows of `images` that are among those shown, all of which must be."""
    row_of = {
        np.round(image * 255).astype(np.uint8).tobytes(): row for row, image in enumerate(images.numpy())
    }
    return {row_of[image.tobytes()] for image in shown}


@pytest.mark.slow
def test_below_alpha_1_a_stream_of_labeled_images_goes_beside_all_images(
    config, images, monkeypatch, tmp_path, stripes
):
    begun = begin(config(alpha=0.25, labeled_batch_size=6, augment="none"), monkeypatch)
    (shown, _), (labeled, labels) = seen_by(begun)
    assert (len(shown), len(labeled)) == (4 * 16, 4 * 6)
    folder = tmp_path / "run"
    assert rows_in(labeled, images) == {*rows_of(folder, "labeled")}
    assert rows_in(shown, images) == {*range(40)} - {*rows_of(folder, "held_out")}
    assert (labels >= 0).all()
    assert begun.learner.alpha == 0.25
    assert not [line for line in begun.lines if "filled" in line]


@pytest.mark.slow
def test_the_two_streams_show_other_crops_of_the_same_images(config, monkeypatch):
    begun = begin(config(alpha=0.5, distill_on="labeled", augment="crop"), monkeypatch)
    (shown, _), (labeled, _) = seen_by(begun, steps=1)
    assert shown.shape == labeled.shape
    assert not np.array_equal(shown, labeled)
    assert (
        len([line for line in begun.lines if "labeled batches of 16 are filled by repeating the 12" in line])
        == 1
    )


@pytest.mark.slow
def test_distillation_on_the_labeled_images_shows_no_others(config, images, monkeypatch, tmp_path):
    begun = begin(config(distill_on="labeled", augment="none"), monkeypatch)
    (shown, _), second = seen_by(begun)
    assert second is None
    assert rows_in(shown, images) == {*rows_of(tmp_path / "run", "labeled")}
    assert len([line for line in begun.lines if "filled by repeating the 12 labeled images" in line]) == 1


def test_a_batch_as_large_as_all_images_is_not_said_to_be_filled_with_labeled_ones(config, monkeypatch):
    begun = begin(config(batch_size=28), monkeypatch)
    assert not [line for line in begun.lines if "filled" in line]


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_labels_and_teacher_share_the_loss(config, alpha):
    done = run(config(alpha=alpha, epochs=1))
    row = metrics(done.folder)[0]
    expected = (1 - alpha) * float(row["label_loss"])
    if alpha:
        expected += alpha * float(row["distillation_loss"])
    else:
        assert (row["distillation_loss"], row["agreement"]) == ("", "")
    assert float(row["loss"]) == pytest.approx(expected, rel=1e-5)
    assert done.result["labels_used"] == 12


@pytest.mark.slow
def test_images_without_any_label_are_enough_for_a_teacher(config, bare, finetuned, tmp_path):
    done = run(config(dataset=bare))
    found = done.result
    assert found["training_images"] == 40 - 12  # by content, as of the teacher's data
    assert found["labels_used"] == 12  # the teacher's
    assert (found["evaluation_images"], found["classes"]) == (0, 3)
    assert "top1" not in found
    assert not (tmp_path / "run" / "best").exists()
    assert any("no labeled evaluation split: no top-1" in line for line in done.lines)
    model = load_run(str(tmp_path / "run"))
    assert model.classifier.num_classes == 3
    # The same images with labels: it is judged by those that neither it nor its teacher has learned from.
    judged = run(
        configure("eval", tmp_path / "eval", init=str(tmp_path / "run"), dataset=finetuned.result["dataset"])
    )
    assert rows_of(tmp_path / "eval", "held_out") == rows_of(finetuned.folder, "held_out")
    assert [run["mode"] for run in judged.result["ancestors"]] == ["pretrain", "finetune", "distill"]


@pytest.mark.slow
def test_unlabeled_images_may_be_judged_by_labeled_ones(config, tmp_path):
    arrays = dict(np.load(write_npz(tmp_path / "all.npz")))
    del arrays["y_train"]
    np.savez(tmp_path / "pool.npz", **arrays)
    found = run(config(dataset=f"npz:{tmp_path}/pool.npz", epochs=1)).result
    assert found["evaluation_images"] == 12
    assert 0 <= found["top1"] <= 1


@pytest.mark.slow
def test_evaluation_images_without_labels_judge_nothing(config, tmp_path):
    data = "npz:" + write_npz(tmp_path / "bare.npz", labels=False)
    found = run(config(dataset=data, epochs=1)).result
    assert "top1" not in found
    assert found["evaluation_images"] == 0


def test_a_distilled_network_can_teach(distilled, monkeypatch, tmp_path):
    begun = begin(configure("distill", tmp_path / "run", teacher=str(distilled.folder)), monkeypatch)
    assert begun.learner.temperature == 0.1


@pytest.mark.slow
def test_a_student_comes_closer_to_its_teacher(config):
    done = run(config(epochs=40, eval_every_epochs=40, augment="none", temperature=1.0))
    rows = metrics(done.folder)
    # The teacher is unsure between two classes, and its entropy is in the loss: agreement of their first choices, which
    # this test asked for while the teacher was a better one, is a matter of chance here, and the loss can not reach 0.
    assert float(rows[-1]["distillation_loss"]) < 0.7 * float(rows[0]["distillation_loss"])


@pytest.mark.slow
def test_a_killed_distillation_of_two_streams_ends_as_one_never_killed(config, monkeypatch, tmp_path):
    whole = run(config("whole", seed=9, alpha=0.5)).folder
    again = config(seed=9, checkpoint_every_steps=1, alpha=0.5)
    kill(again, monkeypatch, loop.Bar, "advance", 3)
    done = run(again)
    assert any("continued at step" in line for line in done.lines)
    assert not differing(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_backbone_of_keras_learns_from_a_teacher_and_is_given_back(
    finetuned, tmp_path, config, monkeypatch
):
    monkeypatch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", efficientnet.DEFAULT_BLOCKS_ARGS[:2])
    settings = {"model": "keras:EfficientNetB0", "dense_layers": "8", "image_size": 32, "epochs": 1}
    teacher = make_config(finetuned.result["dataset"], tmp_path / "before", image_size=32, epochs=1)
    run(teacher)
    run(configure("finetune", tmp_path / "teacher", init=str(tmp_path / "before"), epochs=1))
    done = run(config(teacher=str(tmp_path / "teacher"), **settings))
    assert (done.result["model"], done.result["temperature"]) == ("keras:EfficientNetB0", 1.0)
    model = load_run(str(tmp_path / "run"))
    for name, value in saved_variables(tmp_path / "run").items():
        np.testing.assert_array_equal(variables(model)[name], value, err_msg=name)


def test_frozen_batch_norm_of_the_start_does_not_train(config, pretrained, monkeypatch):
    begun = begin(config(init=str(pretrained.folder), freeze_batch_norm=True), monkeypatch)
    assert "steps    batch normalization is frozen in 3 layers" in begun.lines
    trained = {variable.path.partition("/")[2] for variable in begun.learner.main_variables}
    assert "encoder/stem/conv/kernel" in trained
    assert not [name for name in trained if name.startswith("encoder") and "/bn" in name]


def test_a_start_of_the_same_name_with_other_parts_is_refused(config, pretrained, monkeypatch):
    settings = {"init": str(pretrained.folder), "model": GROUPED, "se_ratio": 0.25}
    with pytest.raises(InputError, match=r"--se_ratio: the student has 0.25, --init=.* none"):
        begin(config(**settings), monkeypatch)


def test_another_se_ratio_needs_another_model(config, monkeypatch):
    with pytest.raises(InputError, match=r"--se_ratio=0.25, but the student is the network of .* has 0.0"):
        begin(config(se_ratio=0.25), monkeypatch)


@pytest.mark.parametrize("resumed", [False, True], ids=["finished", "stopped"])
def test_a_teacher_that_has_changed_since_is_refused(distilled, finetuned, tmp_path, resumed):
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    shutil.copytree(finetuned.folder, teacher)
    shutil.copytree(distilled.folder, student)
    for name in ("config.json", "result.json"):
        held = json.loads((student / name).read_text().replace(str(finetuned.folder), str(teacher)))
        (student / name).write_text(json.dumps(held))
    result = json.loads((teacher / "result.json").read_text())
    (teacher / "result.json").write_text(json.dumps(result | {"step": result["step"] + 1}))
    if resumed:
        (student / "result.json").unlink()
    with pytest.raises(InputError, match=f"{teacher} is at step {result['step'] + 1} now, and was at step"):
        run(dataclasses.replace(distilled.config, teacher=str(teacher), model_dir=str(student)))
