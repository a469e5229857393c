"""Chains of runs: what one hands down to the next, and that no run is evaluated on images it learned from."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.runs import ancestors
from simclr_keras.runs.open_run import open_run
from simclr_keras.runs.records import ConfigRecord, SplitRecord
from tests.training.tiny import (
    GROUPED,
    begin,
    change,
    configure,
    make_config,
    metrics,
    run,
    split_of,
    write_npz,
)


@pytest.fixture
def copied(pretrained, tmp_path):
    """A copy of the pretraining run, to be tampered with."""
    shutil.copytree(pretrained.folder, tmp_path / "copied")
    return tmp_path / "copied"


def finetuning(ancestor, **settings):
    """The config of a fine-tuning as it is once it has inherited from this Ancestor."""
    return ancestors.inherit(configure("finetune", "run", init=ancestor.path, **settings), ancestor, "init")


def test_what_is_left_open_comes_from_the_ancestor(pretrained):
    ancestor = open_run(str(pretrained.folder), flag="init", finished=True)
    config = finetuning(ancestor)
    assert config.dataset == pretrained.config.dataset
    assert (config.model, config.image_size) == (GROUPED, 8)
    given = finetuning(ancestor, dataset="digits", image_size=16, model="r18_1x_sk0")
    assert (given.dataset, given.image_size, given.model) == ("digits", 16, "r18_1x_sk0")


def test_another_encoder_than_the_ancestors_is_refused(tiny, pretrained, tmp_path):
    config = configure("finetune", tmp_path / "run", init=str(pretrained.folder), model="r18_1x_sk0")
    with pytest.raises(
        InputError, match=rf"--model=r18_1x_sk0, but --init=.* contains {GROUPED}; leave --model out"
    ):
        run(config)
    assert not (tmp_path / "run").exists()


def test_the_ancestors_of_a_run_are_named_from_the_oldest_on(pretrained, finetuned, distilled):
    first, second = distilled.result["ancestors"]
    assert (first["run"], second["run"]) == (str(pretrained.folder), str(finetuned.folder))
    assert (first["mode"], second["mode"]) == ("pretrain", "finetune")
    assert (first["seed"], second["seed"]) == (3, 8)
    for name in ("step", "epochs", "parameters", "dataset"):
        assert first[name] == pretrained.result[name]
    for name in ("labels_used", "head_layer", "step", "top1", "model"):
        assert second[name] == finetuned.result[name]
    assert first["checkpoint"] == second["checkpoint"] == "last"
    assert finetuned.result["ancestors"] == [first]
    assert pretrained.result["ancestors"] == []


def test_a_run_names_an_ancestor_once_however_many_ways_lead_to_it(tiny, pretrained, finetuned, tmp_path):
    config = configure(
        "distill", tmp_path / "run", teacher=str(finetuned.folder), init=str(pretrained.folder), epochs=1
    )
    found = run(config).result["ancestors"]
    assert [entry["mode"] for entry in found] == ["pretrain", "finetune"]


def test_no_run_an_unfinished_one_and_one_without_a_best_checkpoint_are_refused(copied, tmp_path):
    with pytest.raises(
        InputError, match=r"--teacher=.*nowhere is not a run directory .*; give the --model_dir"
    ):
        open_run(str(tmp_path / "nowhere"), flag="teacher", finished=True)
    with pytest.raises(InputError, match=r"has no best checkpoint.*; give --init_checkpoint=last"):
        open_run(str(copied), "best", "init", finished=True)
    change(copied, "result.json", epochs=1)  # it goes on to more
    with pytest.raises(InputError, match=r"--init=.* is not finished; repeat its own command"):
        open_run(str(copied), flag="init", finished=True)
    (copied / "result.json").unlink()
    with pytest.raises(InputError, match=r"--init=.* is not finished"):
        open_run(str(copied), flag="init", finished=True)


def test_a_run_from_before_there_was_a_model_json_is_an_ancestor_too(pretrained, copied):
    (copied / "model.json").unlink()
    found, expected = (
        open_run(str(path), flag="init", finished=True).architecture for path in (copied, pretrained.folder)
    )
    assert found == expected


def test_evaluation_images_and_visible_labels_are_the_ancestors_whatever_the_seed(
    pretrained, finetuned, distilled
):
    first = split_of(pretrained.folder)
    assert (len(first["held_out"]), len(first["labeled"])) == (12, 12)
    assert not {*first["held_out"]} & {*first["labeled"]}
    for later in (finetuned, distilled):
        assert later.config.seed != pretrained.config.seed
        split = split_of(later.folder)
        assert (split["held_out"], split["labeled"]) == (first["held_out"], first["labeled"])


@pytest.mark.parametrize("fraction", [None, 0.3])
def test_a_stage_that_names_the_same_data_keeps_to_the_same_images(
    pretrained, stripes, monkeypatch, fraction
):
    ancestor = open_run(str(pretrained.folder), flag="init", finished=True)
    path = stripes.removeprefix("npz:")
    monkeypatch.chdir(os.path.dirname(path))
    for spelled in (stripes, "npz:stripes.npz", f"npz:./{os.path.basename(path)}"):
        config = finetuning(ancestor, dataset=spelled, eval_fraction=fraction)
        found = ancestors.selection(ancestor, config)
        assert list(found["held_out"]) == split_of(pretrained.folder)["held_out"]


def test_a_stage_that_asks_for_other_evaluation_images_of_the_same_data_is_refused(pretrained):
    ancestor = open_run(str(pretrained.folder), flag="init", finished=True)
    config = finetuning(ancestor, eval_fraction=0.2)
    with pytest.raises(
        InputError, match=r"--eval_fraction=0.2: .* has trained on the same data.*; leave --eval_fraction out"
    ):
        ancestors.selection(ancestor, config)


def test_a_stage_on_other_data_takes_its_own_images(pretrained, data):
    ancestor = open_run(str(pretrained.folder), flag="init", finished=True)
    assert ancestors.selection(ancestor, finetuning(ancestor, dataset=data)) == {}
    assert ancestors.selection(ancestor, finetuning(ancestor, dataset="digits")) == {}


def test_a_stage_may_choose_its_labels_but_never_from_what_was_held_out(
    tiny, pretrained, tmp_path, monkeypatch
):
    config = configure("finetune", tmp_path / "run", init=str(pretrained.folder), seed=5, label_fraction=1.0)
    begin(config, monkeypatch)
    split = split_of(tmp_path / "run")
    assert split["held_out"] == split_of(pretrained.folder)["held_out"]
    assert split["labeled"] is None  # all of those that are trained on
    assert split["training_images"] == 28


def test_images_held_out_generations_ago_are_remembered(pretrained, finetuned, distilled, data, tmp_path):
    """A teacher's data may come back after a stage on a pool of other images."""
    teacher = open_run(str(distilled.folder), flag="init", finished=True)
    on_pool = dataclasses.replace(
        teacher,
        config=dataclasses.replace(teacher.config, dataset=data),
        record=ConfigRecord("distill", {}),
        split=SplitRecord(),
    )
    config = configure("eval", tmp_path / "run", init=on_pool.path, dataset=pretrained.config.dataset)
    assert list(ancestors.selection(on_pool, config)["held_out"]) == split_of(pretrained.folder)["held_out"]
    gone = [{**entry, "run": str(tmp_path / "gone")} for entry in teacher.result.ancestors]
    orphan = dataclasses.replace(on_pool, result=dataclasses.replace(teacher.result, ancestors=gone))
    with pytest.raises(InputError, match=r"gone, an ancestor of .*, is missing, .*; restore it"):
        ancestors.selection(orphan, config)
    assert (
        ancestors.selection(orphan, configure("eval", tmp_path / "run", init=on_pool.path, dataset="digits"))
        == {}
    )


def test_a_teacher_and_a_start_that_held_out_different_images_do_not_go_together(
    tiny, finetuned, stripes, tmp_path
):
    other = run(
        configure("supervised", tmp_path / "other", dataset=stripes, seed=4, eval_fraction=0.3, epochs=1)
    )
    config = configure("distill", tmp_path / "run", teacher=str(finetuned.folder), init=str(other.folder))
    with pytest.raises(InputError, match=r"held out different images, .*; give runs with the same ancestors"):
        run(config)


def test_a_run_may_not_go_on_from_itself(tiny, finetuned):
    config = dataclasses.replace(finetuned.config, init=str(finetuned.folder))
    before = (finetuned.folder / "result.json").read_bytes()
    with pytest.raises(InputError, match="give another --model_dir"):
        run(config)
    assert (finetuned.folder / "result.json").read_bytes() == before


def test_weights_come_from_the_checkpoint_that_was_asked_for(finetuned):
    steps = {
        name: open_run(str(finetuned.folder), name, "init", finished=True).weights.step
        for name in ("last", "best")
    }
    assert steps["last"] == finetuned.result["step"]
    (best,) = (
        row for row in metrics(finetuned.folder) if int(row["epoch"]) == finetuned.result["best_epoch"]
    )
    assert steps["best"] == int(best["step"])


def test_labels_count_along_the_chain_where_a_network_was_trained_on_them():
    runs = [
        {"mode": "pretrain", "dataset": "digits", "labels_used": 900},  # a probe's
        {"mode": "supervised", "dataset": "digits", "labels_used": 40},
        {"mode": "finetune", "dataset": "npz:a.npz", "labels_used": 500},
        {"mode": "finetune", "dataset": "digits", "labels_used": 30},
        {"mode": "linear_eval", "dataset": "digits", "labels_used": 800},
    ]
    assert ancestors.labels_of(runs, "digits") == 40
    assert ancestors.labels_of(runs, "npz:./a.npz") == 500
    assert ancestors.labels_of(runs, "cifar10") == 0


@pytest.mark.slow
def test_labels_that_came_later_do_not_bring_other_evaluation_images(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(np.full((8, 8, 3), 6 * i, np.uint8)).numpy())
    few, more = tmp_path / "few.csv", tmp_path / "more.csv"
    few.write_text("filename,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(20)))
    more.write_text("filename,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(40)))
    settings = {"model": GROUPED, "eval_fraction": 0.3, "labels": str(few)}
    before = run(make_config(f"folder:{folder}", tmp_path / "before", **settings))
    held_out = split_of(before.folder)["held_out"]

    config = configure("finetune", tmp_path / "after", init=str(before.folder), labels=str(more), seed=5)
    after = run(config)

    assert split_of(after.folder)["held_out"] == held_out
    assert after.result["labels_used"] == 40 - len(held_out)


def test_where_the_data_lies_is_remembered_from_wherever_the_command_was_given(tiny, tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", test=0)
    monkeypatch.chdir(tmp_path)
    before = run(make_config("npz:a.npz", tmp_path / "before", model=GROUPED, seed=1))
    monkeypatch.chdir("/")
    config = configure(
        "finetune", tmp_path / "after", init=str(before.folder), dataset=f"npz:{tmp_path}/a.npz", seed=2
    )
    assert split_of(run(config).folder)["held_out"] == split_of(before.folder)["held_out"]
