"""Evaluation images that an earlier run was trained on are counted, and named in one line and in the result."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.runs.records import ConfigRecord
from simclr_keras.runs.run_files import RunFiles
from simclr_keras.runs.run_images import record_images
from simclr_keras.runs.seen_images import notes_on_seen_images
from tests.training.tiny import configure, rows_of, run


def notes(entries, config, **split):
    splits = load_dataset(config.dataset, labels=config.labels, **split)
    return notes_on_seen_images(config, entries, splits)


def entry(done, mode=None, **changes):
    """The AncestorEntry of a Run."""
    names = ("mode", "dataset", "eval_fraction")
    own = {name: done.result[name] for name in names if name in done.result}
    return {"run": str(done.folder), **own, **({"mode": mode} if mode else {}), **changes}


def finetuning(done, **settings):
    config = configure("finetune", "run", init=str(done.folder), **settings)
    return dataclasses.replace(config, dataset=config.dataset or done.config.dataset)


def test_a_larger_eval_fraction_counts_images_that_were_pretrained_on(tiny, pretrained, tmp_path):
    settings = {"eval_fraction": 0.5, "labels_per_class": 2, "knn_k": 5}
    done = run(configure("knn", tmp_path / "run", init=str(pretrained.folder), **settings))
    seen = {*rows_of(tmp_path / "run", "held_out")} - {*rows_of(pretrained.folder, "held_out")}
    total = done.result["evaluation_images"]
    assert 0 < len(seen) == done.result["evaluation_images_seen"] < total
    (warning,) = done.result["warnings"]
    assert warning == (
        f"{pretrained.folder} was trained, without labels, on {len(seen)} images of the {total} that are evaluated on; "
        f"to avoid this, pretrain with --dataset={pretrained.config.dataset} --eval_fraction=0.5"
    )
    assert f"data     {warning}" in done.lines
    assert done.lines.index(f"warning  {warning}") > [line[:5] for line in done.lines].index("top-1")


def test_the_same_or_a_smaller_eval_fraction_gives_no_note(pretrained, finetuned):
    assert "warnings" not in finetuned.result
    assert "evaluation_images_seen" not in finetuned.result
    assert notes([entry(pretrained)], finetuning(pretrained), eval_fraction=0.1) == ([], 0)


def test_runs_from_before_images_were_held_out_by_content(pretrained, tmp_path):
    """They list the ids they held out, or held out none."""
    shutil.copytree(pretrained.folder, tmp_path / "old")
    config = finetuning(pretrained)
    held_out = rows_of(pretrained.folder, "held_out")
    split = tmp_path / "old" / "split.json"
    content = json.loads(split.read_text())
    for ids, count in (([], len(held_out)), ([f"train/{row}" for row in held_out[:5]], len(held_out) - 5)):
        split.write_text(json.dumps({**content, "held_out": ids}))
        old = entry(pretrained, run=str(tmp_path / "old"))
        del old["eval_fraction"]
        assert notes([old], config, eval_fraction=0.18)[1] == count


def test_a_run_that_cannot_be_read_gives_a_note_if_its_fraction_was_smaller(pretrained, tmp_path):
    data = f"npz:{shutil.copy(pretrained.config.dataset.removeprefix('npz:'), tmp_path / 'copy.npz')}"
    gone = entry(pretrained, run="runs/p")

    def lines(entries, **settings):
        return notes(entries, finetuning(pretrained, **settings), eval_fraction=0.3)[0]

    (note,) = lines([gone], eval_fraction=0.3)
    assert note.startswith(
        f"runs/p held out 0.18 of {pretrained.config.dataset}; others of its images may be among"
    )
    assert note.endswith("to avoid this, give --eval_fraction=0.18 or less")
    assert lines([gone], eval_fraction=0.1) == lines([gone], dataset="digits", eval_fraction=0.3) == []
    assert lines([gone], dataset=data, eval_fraction=0.3) == [note]
    exported = {**gone, "exported": True, "run": "https://example.org/model"}
    assert len(lines([exported], eval_fraction=0.3)) == 1


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 10)):
        for i in range(count):
            path = root / part / "ab"[i % 2] / f"{part}{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(rng.integers(0, 256, (9, 9, 3), np.uint8)).numpy())
    return root


@pytest.fixture
def pooled(photos, tmp_path):
    """The same files in one folder, with a labels file."""
    folder = tmp_path / "pooled"
    folder.mkdir()
    files = sorted(photos.rglob("*.png"))
    for file in files:
        shutil.copy(file, folder)
    (folder / "labels.csv").write_text("".join(f"{file.name},{file.parent.name}\n" for file in files))
    return folder


@pytest.fixture
def split_run(photos, tmp_path):
    """The entry of a pretraining on train/, evaluated on val/; its directory only lists its images."""
    dataset = f"folder:{photos}"
    splits = load_dataset(dataset)
    (tmp_path / "run").mkdir()
    files = RunFiles(tmp_path / "run")
    files.write_config(ConfigRecord("pretrain", {"dataset": dataset}))
    record_images(files, splits, splits.train, None, {})
    return {"run": files.path, "mode": "pretrain", "dataset": dataset}


class TestFolders:
    """Files are recognized by their content, whatever their folder, split or labels."""

    def test_own_split_then_pooled_by_a_labels_file(self, pooled, split_run):
        config = evaluated_on(pooled, labels=str(pooled / "labels.csv"), eval_fraction=0.5)
        evaluation = load_dataset(config.dataset, labels=config.labels, eval_fraction=0.5).evaluation
        count = sum(name.startswith("train") for name in evaluation.ids)
        assert 0 < count < len(evaluation)
        (note,), seen = notes([split_run], config, eval_fraction=0.5)
        assert seen == count
        assert note.endswith(
            f"pretrain with --dataset=folder:{pooled} --labels={pooled}/labels.csv --eval_fraction=0.5"
        )

    def test_own_split_of_images_from_elsewhere(self, photos, split_run, tmp_path):
        assert notes([split_run], evaluated_on(photos)) == ([], 0)
        shutil.copytree(photos / "val", tmp_path / "copy" / "train")
        shutil.copytree(photos / "train", tmp_path / "copy" / "val")
        (note,), seen = notes([split_run], evaluated_on(tmp_path / "copy"))
        assert seen == 20
        assert note.endswith(
            "of the 20 that are evaluated on; to avoid this, start from a run that was trained without them"
        )

    def test_a_stage_on_labels_saw_only_those(self, photos, pooled, split_run):
        config = evaluated_on(pooled, labels=str(pooled / "labels.csv"))
        labels = {**split_run, "mode": "finetune"}
        (note,), all_seen = notes([labels], config, eval_fraction=0.5)
        assert "was trained, with their labels, on" in note
        first = load_dataset(f"folder:{photos}").train.ids[:3]
        files = RunFiles(split_run["run"])
        files.write_split(dataclasses.replace(files.read_split(), labeled=list(first)))
        assert notes([labels], config, eval_fraction=0.5)[1] <= 3 < all_seen


def evaluated_on(folder, **settings):
    return configure("finetune", "run", init="runs/p", dataset=f"folder:{folder}", **settings)
