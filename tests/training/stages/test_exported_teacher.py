"""Distillation from exports: the student learns what the run behind it would have taught; the rest has to be given."""

import json
import shutil

import numpy as np
import pytest

from benchmarks.compare_runs import weights
from simclr_keras.config.export import ExportConfig
from simclr_keras.errors import InputError
from simclr_keras.export import from_run
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.engine import loop
from tests.training.tiny import (
    GROUPED,
    TINY,
    begin,
    configure,
    make_tiny,
    metrics,
    run,
    saved_variables,
    variables,
    write_npz,
)

pytestmark = [pytest.mark.usefixtures("tiny"), pytest.mark.slow]


def export(run_path, out, **settings):
    """Writes the export of a run, of a tiny network, as export.py does."""
    from_run.run(ExportConfig(run=str(run_path), out=str(out), **settings), say=lambda line: None)
    return str(out)


@pytest.fixture(scope="session")
def exported(finetuned, folder):
    """The export of the fine-tuned run; the path of its folder."""
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        return export(finetuned.folder, folder / "exported")


@pytest.fixture
def copied(exported, tmp_path):
    """Copies the export, with other values on its card (None: without a card)."""

    def copy(card=None, **changes):
        path = tmp_path / "copied"
        shutil.copytree(exported, path)
        held = json.loads((path / "card.json").read_text())
        (path / "card.json").unlink()
        if card != "none":
            (path / "card.json").write_text(json.dumps({**held, **changes}))
        else:
            shutil.rmtree(path / "assets")
        return str(path)

    return copy


@pytest.fixture
def config(exported, stripes, tmp_path):
    """Makes the config of a distillation of the export."""
    return lambda name="run", **settings: configure(
        "distill", tmp_path / name, **{"teacher": exported, "dataset": stripes, "epochs": 1, **settings}
    )


def asked(begun, images):
    return begun.learner._ask_teacher(images)["logits"]


@pytest.fixture(scope="module")
def images(stripes):
    return evaluation_view(np.load(stripes.removeprefix("npz:"))["x_train"], 8)


def test_the_teacher_answers_as_the_exported_network(config, finetuned, images, monkeypatch):
    begun = begin(config(), monkeypatch)
    expected = load_run(str(finetuned.folder))(images)["logits"]
    np.testing.assert_allclose(asked(begun, images), expected, rtol=1e-5, atol=1e-6)


def test_a_student_of_an_export_is_that_of_the_run_with_the_same_seed(config, finetuned, tmp_path):
    other = "npz:" + write_npz(
        tmp_path / "other.npz"
    )  # of which nothing was held out, so that there is nothing to know
    same = {"dataset": other, "epochs": 3, "seed": 4, "alpha": 0.5}
    run(config("of_export", **same))
    run(config("of_run", teacher=str(finetuned.folder), **same))
    found, expected = (saved_variables(tmp_path / name) for name in ("of_export", "of_run"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert metrics(tmp_path / "of_export")[-1]["top1"] == metrics(tmp_path / "of_run")[-1]["top1"]


def test_the_student_begins_the_same_whatever_teaches_it(config, finetuned, monkeypatch):
    one = variables(begin(config("a", seed=4), monkeypatch).learner.model)
    other = variables(begin(config("b", seed=4, teacher=str(finetuned.folder)), monkeypatch).learner.model)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_model_size_and_temperature_come_from_the_card(config, monkeypatch):
    begun = begin(config(), monkeypatch)
    assert begun.learner.temperature == 0.1
    assert {"encoder", "classifier"} == {name.split("/")[0] for name in variables(begun.learner.model)}
    assert any(f"distilling {GROUPED} (" in line for line in begun.lines)
    other = begin(config("other", model=TINY), monkeypatch)
    assert other.learner.temperature == 1.0


def test_the_result_names_the_export_after_the_ancestors_on_its_card(config, exported, finetuned, pretrained):
    done = run(config())
    found = done.result["ancestors"]
    assert [run["run"] for run in found] == [str(pretrained.folder), exported]
    assert [run["mode"] for run in found] == ["pretrain", "finetune"]
    assert found[-1]["exported_from"] == str(finetuned.folder)
    assert found[-1]["top1"] == finetuned.result["top1"]
    assert done.result["labels_used"] == 12  # the teacher's
    assert all(row["agreement"] for row in metrics(done.folder))


def test_what_the_teacher_has_seen_is_said_to_be_unknown_where_images_are_held_out(config, tmp_path):
    done = run(config())
    words = "evaluation images may be among its training images"
    assert len([line for line in done.lines if words in line]) == 2  # at the start and at the end
    assert [warning for warning in done.result["warnings"] if words in warning]
    bare = "npz:" + write_npz(tmp_path / "bare.npz", labels=False, test=0)
    done = run(config("bare", dataset=bare))
    assert not [line for line in done.lines if "evaluation images may be" in line]
    assert done.result["classes"] == 3
    assert "class_names" not in json.loads((tmp_path / "bare" / "split.json").read_text())


def test_the_student_is_judged_later_although_the_runs_on_the_card_are_gone(config, copied, tmp_path):
    gone = [{"run": "elsewhere/pretrained", "mode": "pretrain", "dataset": "npz:elsewhere/data.npz"}]
    teacher = copied(ancestors=gone, run="elsewhere/finetuned")
    done = run(config(teacher=teacher))
    other = "npz:" + write_npz(tmp_path / "other.npz")
    judged = run(configure("eval", tmp_path / "eval", init=str(done.folder), dataset=other))
    assert [run["run"] for run in judged.result["ancestors"]] == [
        "elsewhere/pretrained",
        teacher,
        str(done.folder),
    ]


def test_the_teacher_is_neither_trained_nor_decayed_nor_saved(config, finetuned, images, monkeypatch):
    begun, train = [], loop.train

    def watched(learner, *args, **settings):
        begun.append((learner, learner._ask_teacher(images)["logits"].numpy()))
        return train(learner, *args, **settings)

    monkeypatch.setattr(loop, "train", watched)
    done = run(config(weight_decay=0.5, epochs=2))
    learner, before = begun[0]
    np.testing.assert_array_equal(learner._ask_teacher(images)["logits"], before)
    assert saved_variables(done.folder).keys() == variables(learner.model).keys()
    taught, alone = (weights(folder).keys() for folder in (done.folder, finetuned.folder))
    assert {name.split("/")[0] for name in taught} == {name.split("/")[0] for name in alone}
    assert not [name for name in taught if "teacher" in name]


@pytest.mark.parametrize("resumed", [False, True], ids=["finished", "stopped"])
def test_an_export_that_has_changed_since_is_refused(config, copied, pretrained, tmp_path, resumed):
    teacher = copied()
    settings = config(teacher=teacher)
    run(settings)
    card = json.loads((tmp_path / "copied" / "card.json").read_text())
    export(pretrained.folder, teacher, overwrite=True)
    (tmp_path / "copied" / "card.json").write_text(json.dumps(card))
    if resumed:
        (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(InputError, match="copied has changed since --model_dir="):
        run(settings)


def test_on_replicas_it_teaches_as_on_one_device(config, two_devices, own_collectives, tmp_path):
    for strategy in ("one", "mirrored"):
        own_collectives()
        run(config(strategy, strategy=strategy, precision="float64", alpha=0.5, epochs=2))
    one, two = (metrics(tmp_path / name) for name in ("one", "mirrored"))
    for name in one[0]:
        found, expected = ([float(row[name] or 0) for row in rows] for rows in (two, one))
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
    one, two = (saved_variables(tmp_path / name) for name in ("one", "mirrored"))
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_an_address_is_fetched_by_tensorflow_hub(config, exported, images, finetuned, monkeypatch):
    import tensorflow_hub as hub

    seen = []

    def resolve(handle):
        seen.append(handle)
        return exported

    monkeypatch.setattr(hub, "resolve", resolve)
    handle = "https://example.org/teacher/1"
    begun = begin(config(teacher=handle, model=GROUPED), monkeypatch)
    assert {*seen} == {handle}
    expected = load_run(str(finetuned.folder))(images)["logits"]
    np.testing.assert_allclose(asked(begun, images), expected, rtol=1e-5, atol=1e-6)


def test_without_a_card_model_and_size_have_to_be_given(config, copied):
    teacher = copied(card="none")
    with pytest.raises(InputError, match=r"--model is missing: the network of --teacher=.* is unknown"):
        run(config(teacher=teacher))
    with pytest.raises(InputError, match=r"--image_size is missing: the size that --teacher=.* is unknown"):
        run(config(teacher=teacher, model=TINY))


def test_a_best_checkpoint_of_an_export_is_refused(config):
    with pytest.raises(InputError, match=r"--teacher_checkpoint=best: .*one set of weights; leave it out"):
        run(config(teacher_checkpoint="best"))


def test_data_has_to_be_given(exported, tmp_path):
    with pytest.raises(InputError, match=r"--dataset is missing: --teacher=.* is an export"):
        run(configure("distill", tmp_path / "run", teacher=exported))
    assert not (tmp_path / "run").exists()


def test_other_classes_are_refused_with_both_counts(config, copied, tmp_path):
    with pytest.raises(InputError, match=r"has 3 classes \(rows, columns, slanted\), digits has 10"):
        run(config(dataset="digits"))
    with pytest.raises(InputError, match=r"has 3 classes \(names unknown\), digits has 10"):
        run(config(teacher=copied(card="none"), dataset="digits", model=TINY, image_size=8))
    arrays = dict(np.load(write_npz(tmp_path / "stripes.npz")))
    np.savez(tmp_path / "named.npz", **{**arrays, "class_names": np.array(["a", "b", "c"])})
    with pytest.raises(InputError, match=r"has 3 classes .*slanted.* has 3 .a, b, c."):
        run(config(dataset=f"npz:{tmp_path}/named.npz"))
    assert not (tmp_path / "run").exists()


def test_an_export_of_a_pretrained_network_is_refused(config, pretrained, tmp_path):
    export(pretrained.folder, tmp_path / "probe")
    with pytest.raises(InputError, match="export of a run of --mode=pretrain, which has no classifier"):
        run(config(teacher=str(tmp_path / "probe")))


def test_a_card_of_another_network_s_classes_is_refused(config, copied):
    with pytest.raises(InputError, match=r"logits of shape \(1, 3\) for one image, but 4 class names"):
        run(config(teacher=copied(class_names=[*"abcd"])))


@pytest.mark.parametrize("damage", [{"ancestors": [{"run": 3}]}, {"results": {"labels_used": "all"}}])
def test_a_damaged_card_is_refused(damage, config, copied):
    with pytest.raises(InputError, match=r"card.json is damaged \(.*\); export the run again"):
        run(config(teacher=copied(**damage)))


def test_an_export_in_another_format_alone_is_refused(config, copied, tmp_path):
    teacher = copied()
    (tmp_path / "copied" / "saved_model.pb").unlink()
    with pytest.raises(InputError, match="without a SavedModel; export its run with --format=saved_model"):
        run(config(teacher=teacher))
