"""Chains of runs: what one hands down to the next, and that no run is evaluated on images it learned from."""

import dataclasses
import os
import pathlib
import shutil
from types import SimpleNamespace

import pytest

from simclr_keras.errors import InputError
from simclr_keras.runs import ancestors
from simclr_keras.runs.open_run import open_run
from simclr_keras.runs.records import SplitRecord
from simclr_keras.training.stages.distill import Distillation
from tests.training.tiny import (
    GROUPED,
    change,
    configure,
    metrics,
    rows_of,
    run,
    split_of,
)


@pytest.fixture
def copied(pretrained, tmp_path):
    """A copy of the pretraining run, to be tampered with."""
    shutil.copytree(pretrained.folder, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture
def open_pretrained(pretrained):
    return open_run(str(pretrained.folder), flag="init", finished=True)


def finetuning(ancestor, **settings):
    """The config of a fine-tuning as it is once it has inherited from this Ancestor."""
    return ancestors.inherit(configure("finetune", "run", init=ancestor.path, **settings), ancestor, "init")


def test_what_is_left_open_comes_from_the_ancestor(pretrained, open_pretrained):
    ancestor = open_pretrained
    config = finetuning(ancestor)
    assert config.dataset == pretrained.config.dataset
    assert (config.model, config.image_size, config.eval_antialias) == (GROUPED, 8, False)
    given = finetuning(ancestor, dataset="digits", image_size=16, model="r18_1x_sk0")
    assert (given.dataset, given.image_size, given.model) == ("digits", 16, "r18_1x_sk0")


def test_antialiasing_is_inherited_unless_given(open_pretrained):
    own = dataclasses.replace(open_pretrained.config, eval_antialias=True)
    ancestor = dataclasses.replace(open_pretrained, config=own)
    assert finetuning(ancestor).eval_antialias
    assert not finetuning(ancestor, eval_antialias=False).eval_antialias


def test_unlabeled_is_inherited_unless_labels_are_given(open_pretrained):
    own = dataclasses.replace(open_pretrained.config, dataset="folder:photos", unlabeled=True)
    ancestor = dataclasses.replace(open_pretrained, config=own)
    for settings, expected in (
        ({}, (True, None)),
        ({"labels": "labels.csv"}, (False, "labels.csv")),
        ({"dataset": "folder:photos"}, (False, None)),
    ):
        config = finetuning(ancestor, **settings)
        assert (config.unlabeled, config.labels) == expected
    own = dataclasses.replace(own, unlabeled=False, labels="labels.csv")
    config = finetuning(dataclasses.replace(ancestor, config=own), unlabeled=True)
    assert (config.unlabeled, config.labels) == (True, None)


def test_another_encoder_than_the_ancestors_is_refused(tiny, pretrained, tmp_path):
    config = configure("finetune", tmp_path / "run", init=str(pretrained.folder), model="r18_1x_sk0")
    with pytest.raises(
        InputError, match=rf"--model=r18_1x_sk0, but --init=.* contains {GROUPED}; leave --model out"
    ):
        run(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_ancestors_of_a_run_are_named_from_the_oldest_on(pretrained, finetuned, distilled):
    first, second = distilled.result["ancestors"]
    assert (first["run"], second["run"]) == (str(pretrained.folder), str(finetuned.folder))
    assert (first["mode"], second["mode"]) == ("pretrain", "finetune")
    assert (first["seed"], second["seed"]) == (3, 9)
    for name in ("step", "epochs", "parameters", "dataset"):
        assert first[name] == pretrained.result[name]
    for name in ("labels_used", "head_layer", "step", "top1", "model"):
        assert second[name] == finetuned.result[name]
    assert first["checkpoint"] == second["checkpoint"] == "last"
    assert finetuned.result["ancestors"] == [first]
    assert pretrained.result["ancestors"] == []


@pytest.mark.slow
def test_a_run_names_an_ancestor_once_however_many_ways_lead_to_it(tiny, pretrained, finetuned, tmp_path):
    config = configure(
        "distill", tmp_path / "run", teacher=str(finetuned.folder), init=str(pretrained.folder), epochs=1
    )
    found = run(config).result["ancestors"]
    assert [entry["mode"] for entry in found] == ["pretrain", "finetune"]


def test_no_run_an_unfinished_one_and_one_without_a_best_checkpoint_are_refused(copied, tmp_path):
    with pytest.raises(
        InputError, match=r"--teacher=.*nowhere is not a run directory .*; give the directory"
    ):
        open_run(str(tmp_path / "nowhere"), flag="teacher", finished=True)
    with pytest.raises(InputError, match=r"has no best checkpoint.*; leave --init_checkpoint out"):
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


def test_split_settings_are_inherited_by_all_stages(pretrained, finetuned, distilled):
    first = {part: rows_of(pretrained.folder, part) for part in ("held_out", "labeled")}
    assert (len(first["held_out"]), len(first["labeled"])) == (12, 12)
    assert not {*first["held_out"]} & {*first["labeled"]}
    for later in (finetuned, distilled):
        assert later.config.seed != pretrained.config.seed
        assert {part: rows_of(later.folder, part) for part in first} == first
        assert later.result["evaluation_images"] == 12


def test_eval_fraction_is_inherited_and_labels_for_the_same_data(open_pretrained, stripes, data, monkeypatch):
    def inherited(**settings):
        config = finetuning(open_pretrained, seed=5, **settings)
        return config.eval_fraction, ancestors.inherited_ids([open_pretrained], config)

    path = stripes.removeprefix("npz:")
    labeled = {"labeled": split_of(pathlib.Path(open_pretrained.path))["labeled"]}
    monkeypatch.chdir(os.path.dirname(path))
    for spelled in (None, stripes, "npz:stripes.npz", f"npz:./{os.path.basename(path)}"):
        assert inherited(dataset=spelled) == (0.18, labeled)
    assert inherited(dataset=data) == inherited(dataset="digits") == (0.18, {})
    assert inherited(eval_fraction=0.1) == (0.1, labeled)
    assert inherited(label_fraction=1.0) == (0.18, {})
    assert inherited(label_fraction=1.0, eval_fraction=0.5) == (0.5, {})
    with pytest.raises(
        InputError, match=r"--eval_fraction=0.5: .* held out 0.18, .*--labels_per_class, or leave"
    ):
        inherited(eval_fraction=0.5)


def test_copy_of_the_data_holds_out_the_same_images(tiny, finetuned, stripes, tmp_path):
    shutil.copy(stripes.removeprefix("npz:"), tmp_path / "copy.npz")
    settings = {"init": str(finetuned.folder), "dataset": f"npz:{tmp_path}/copy.npz"}
    scores = run(configure("eval", tmp_path / "run", **settings)).result
    assert rows_of(tmp_path / "run", "held_out") == rows_of(finetuned.folder, "held_out")
    assert scores["top1"] == finetuned.result["top1"]


def test_larger_eval_fraction_than_that_of_labels_is_refused(open_pretrained, data, stripes):
    pretraining = {"run": "runs/p", "mode": "pretrain", "dataset": stripes, "eval_fraction": 0.18}
    trained = {**pretraining, "run": "runs/f", "mode": "finetune"}

    def check(entries, **settings):
        ancestors.check_eval_fraction(finetuning(open_pretrained, **settings), entries)

    for settings in ({}, {"eval_fraction": 0.1}, {"dataset": data, "eval_fraction": 0.3}):
        check([pretraining, trained], **settings)
    check([pretraining], eval_fraction=0.3)
    for mode in ("finetune", "supervised", "distill"):
        with pytest.raises(InputError, match=r"--eval_fraction=0.3: runs/f held .*give --eval_fraction=0.18"):
            check([{**trained, "mode": mode}], eval_fraction=0.3)


def test_eval_fraction_is_checked_along_the_chain(tiny, distilled, tmp_path):
    config = configure("distill", tmp_path / "other", teacher=str(distilled.folder), eval_fraction=0.3)
    with pytest.raises(InputError, match=r"--eval_fraction=0.3: .*finetuned held out 0.18"):
        run(config)
    assert not (tmp_path / "other").exists()


class TestOldSplits:
    """Runs from before images were held out by content list the held-out and labeled images in split.json."""

    OLD = SplitRecord(held_out=["train/1", "train/4"], labeled=["train/0", "train/2"])

    @pytest.fixture
    def old(self, open_pretrained):
        config = dataclasses.replace(open_pretrained.config, eval_fraction=None)
        return dataclasses.replace(open_pretrained, config=config, split=self.OLD)

    def test_are_repeated_on_the_same_data(self, old, data):
        def ids(**settings):
            return ancestors.inherited_ids([old], finetuning(old, **settings))

        assert ids() == ids(eval_fraction=0.1) == self.OLD.ids()
        assert ids(label_fraction=0.5) == {"held_out": self.OLD.held_out}
        assert ids(dataset=data) == {}
        with pytest.raises(InputError, match=r"--eval_fraction=0.2: .* another evaluation split; leave"):
            ids(eval_fraction=0.2)

    def test_are_unknown_for_other_data(self, old, data):
        assert ancestors.moved_notes([old], finetuning(old)) == []
        assert ancestors.moved_notes([old], finetuning(old, dataset="digits")) == []
        (note,) = ancestors.moved_notes([old], finetuning(old, dataset=data))
        assert f"{data} is split by content, so if it contains the same images" in note

    def test_that_held_out_nothing_are_not_repeated(self, old):
        """As of pretraining on images without labels, which may have come since."""
        for labeled, ids in ((None, {}), (["train/0"], {"labeled": ["train/0"]})):
            bare = dataclasses.replace(old, split=SplitRecord(held_out=[], labeled=labeled))
            assert ancestors.inherited_ids([bare], finetuning(bare)) == ids

    def test_of_teacher_and_student_must_agree(self, finetuned, copied, tmp_path):
        for name, held_out in (("teacher", ["train/1"]), ("student", ["train/2"])):
            shutil.copytree(finetuned.folder, tmp_path / name)
            change(tmp_path / name, "split.json", held_out=held_out)
        change(copied, "split.json", held_out=["train/3"])
        settings = {"teacher": str(tmp_path / "teacher"), "init": str(tmp_path / "student")}
        with pytest.raises(InputError, match=r"held out different images, .*; give runs with the same"):
            Distillation(configure("distill", tmp_path / "run", **settings))
        # The teacher's counts; what was pretrained saw no labels.
        stage = Distillation(configure("distill", tmp_path / "run", **{**settings, "init": str(copied)}))
        ids = ancestors.inherited_ids(stage.source_runs(), stage.config)
        assert ids["held_out"] == ["train/1"]


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


def test_the_same_name_in_another_project_is_other_data(tmp_path, monkeypatch):
    for project in ("a", "b"):
        (tmp_path / project / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "b")
    entry = {"dataset": "folder:photos", "place": ancestors.place_of("folder:../a/photos")}
    assert not ancestors.is_on_dataset(entry, "folder:photos")
    assert ancestors.is_on_dataset(entry, f"folder:{tmp_path}/a/photos")
    assert ancestors.is_on_dataset({"dataset": "folder:photos"}, "folder:./photos")
    (tmp_path / "a").rename(tmp_path / "c")  # the project that moved may be this one
    for dataset in ("folder:photos", f"folder:{tmp_path}/b/photos"):
        assert ancestors.is_on_dataset(entry, dataset)


def test_a_run_that_teacher_and_student_descend_from_is_listed_once():
    first, second = ({"run": name, "mode": "pretrain", "dataset": "folder:p"} for name in "ab")
    teacher = SimpleNamespace(as_ancestors=lambda: [first, second])
    student = SimpleNamespace(as_ancestors=lambda: [{**first, "place": "folder:/p"}])
    stage = SimpleNamespace(teacher=teacher, student=student)
    assert Distillation.lineage(stage) == [first, second]


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
