"""Whole folders that no run saw, cross-validation beside few held-out images, near duplicates, and groups."""

import dataclasses
import pathlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.content_hash import group_hashes, hash_of, is_held_out, ranks
from simclr_keras.data.sources import load_dataset as load_dataset_module
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.evaluation.near_duplicates import group_images
from simclr_keras.evaluation.simple_features import thumbnails_of
from simclr_keras.training.engine import run_data
from simclr_keras.training.stages import judging
from simclr_keras.training.stages.finetune import Finetuning
from tests.training.tiny import configure, make_config, make_tiny, run, split_of

CLASSES = ("blue", "green", "red")
BURSTS, BURST = 5, 3  # per class; photos of each


def write_photos(root, bursts, seed, classes=CLASSES, prefix=""):
    """Write bursts: photos of blocks of a class' colors, each with other noise."""
    rng = np.random.default_rng(seed)
    for number, name in enumerate(CLASSES):
        for burst in range(bursts if name in classes else 0):
            blocks = rng.integers(0, 120, (6, 6, 3))
            blocks[..., 2 - number] += 130
            photo = np.kron(blocks, np.ones([4, 4, 1])).astype(np.uint8)
            for shot in "abc"[:BURST]:
                path = root / f"{prefix}{name}" / f"{burst}{shot}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = rng.integers(0, 4, photo.shape, np.uint8)
                path.write_bytes(tf.io.encode_png(photo + noise).numpy())
    return f"folder:{root}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("judging") / "photos", BURSTS, 0)


def judged(config):
    """Go through a stage as `tiny_session` does, and cross-validate few held-out images."""
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        patch.setattr(judging, "FEW", 50)
        return run(config)


@pytest.fixture(scope="module")
def supervised(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judging") / "supervised"
    return judged(configure("supervised", folder, dataset=photos, eval_fraction=0.2))


@pytest.fixture(scope="module")
def pretrained(photos, tmp_path_factory):
    """Split by groups."""
    folder = tmp_path_factory.mktemp("judging") / "pretrained"
    config = make_config(
        photos, folder, epochs=1, eval_fraction=0.3, group_by="near_duplicates", baselines=True
    )
    return judged(config)


def held_out_of(run):
    whole = load_dataset(run.config.dataset, held_out=[]).train
    return whole, np.isin(whole.ids, split_of(run.folder)["held_out"])


@pytest.fixture
def measure(tmp_path):
    return lambda mode, before, name="run", **settings: judged(
        configure(mode, tmp_path / name, init=str(before.folder), **settings)
    )


@pytest.mark.slow
def test_all_of_a_folder_that_no_run_saw_is_judged(measure, supervised, tmp_path):
    """It may have a part of the classes, and be test/ alone."""
    test = write_photos(tmp_path / "new", 2, 9, classes=("blue", "red"), prefix="test/")
    shutil.copy(
        supervised.config.dataset.removeprefix("folder:") + "/red/0a.png", tmp_path / "new/test/red/copy.png"
    )
    done = measure("eval", supervised, dataset=test)
    whole = load_dataset(supervised.config.dataset, eval_fraction=0.2)
    was_seen = "red/0a.png" in whole.train.ids
    assert done.result["evaluation_images"] == 2 * 2 * BURST + (not was_seen)
    assert done.result["classes"] == 3
    assert [row["images"] for row in done.result["per_class"]][1] == 0
    assert any(
        line.startswith(f"data     evaluating on all {13 - was_seen} labeled images") for line in done.lines
    )
    # The neighbors are the run's own training images.
    knn = measure("knn", supervised, "knn", dataset=test, knn_k=3)
    assert knn.result["evaluation_images"] == done.result["evaluation_images"]
    assert knn.result["labels_used"] == len(whole.train)


@pytest.mark.slow
def test_classes_in_another_order_are_the_same(measure, supervised, tmp_path, monkeypatch):
    test = write_photos(tmp_path / "new", 2, 9)
    expected = measure("eval", supervised, dataset=test).result

    def reversed_classes(name, **settings):
        splits = open_dataset(name, **settings)
        names = splits.class_names[::-1]
        return dataclasses.replace(splits, train=splits.train.with_class_names(names), class_names=names)

    open_dataset = load_dataset_module.open_dataset
    monkeypatch.setattr(load_dataset_module, "open_dataset", reversed_classes)
    result = measure("eval", supervised, "again", dataset=test).result
    assert (result["top1"], result["per_class"]) == (expected["top1"], expected["per_class"])


@pytest.mark.slow
def test_neighbors_are_the_images_whose_labels_the_run_saw(measure, photos, tmp_path):
    few = judged(
        configure(
            "supervised", tmp_path / "few", dataset=photos, labels_per_class=4, group_by="near_duplicates"
        )
    )
    knn = measure("knn", few, "knn", dataset=write_photos(tmp_path / "new", 2, 9), knn_k=3)
    assert knn.result["labels_used"] == 12
    assert knn.result["evaluation_images"] == 3 * 2 * BURST


@pytest.mark.slow
def test_the_data_s_own_evaluation_split_comes_before_what_an_earlier_run_held_out(
    measure, pretrained, tmp_path
):
    whole = load_dataset(pretrained.config.dataset, held_out=[]).train
    rows = [
        f"{name},{name.split('/')[0]},{'test' if i % 3 == 0 else 'train'}" for i, name in enumerate(whole.ids)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    done = measure("finetune", pretrained, labels=str(tmp_path / "labels.csv"))
    assert done.result["evaluation_images"] == -(-len(whole) // 3)
    assert "held_out" not in split_of(done.folder)


@pytest.mark.slow
def test_a_copy_of_the_folder_is_judged_by_what_was_held_out_of_it(measure, supervised, tmp_path):
    shutil.copytree(supervised.config.dataset.removeprefix("folder:"), tmp_path / "copy")
    done = measure("eval", supervised, dataset=f"folder:{tmp_path / 'copy'}")
    assert done.result["top1"] == supervised.result["top1"]
    assert done.result["evaluation_images"] == supervised.result["evaluation_images"]
    seen = tmp_path / "seen"
    whole = load_dataset(supervised.config.dataset, eval_fraction=0.2)
    for name in whole.train.ids:
        (seen / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "copy" / name, seen / name)
    with pytest.raises(
        InputError, match=r"no labeled image that is new: .* were trained on; give other images"
    ):
        measure("eval", supervised, "again", dataset=f"folder:{seen}")
    moved = dataclasses.replace(supervised, folder=tmp_path / "moved")
    shutil.copytree(supervised.folder, moved.folder)
    shutil.rmtree(tmp_path / "copy" / "red")
    done = measure("eval", moved, "moved-run", dataset=f"folder:{tmp_path / 'copy'}")
    assert done.result["classes"] == 3


def test_supervised_runs_have_simple_baselines(supervised):
    result = supervised.result
    assert result["color_histogram_logistic_top1"] == 1.0  # the classes are colors
    assert 0 <= result["raw_pixels_logistic_top1"] <= 1
    assert any(line.startswith("baseline color histograms 100.0%") for line in supervised.lines)
    assert "cross_validated_top1" not in result  # its features saw the labels


def test_near_duplicates_of_training_images_are_counted(supervised):
    splits = load_dataset(supervised.config.dataset, eval_fraction=0.2)
    bursts = {name[:-5] for name in splits.train.ids}
    count = sum(name[:-5] in bursts for name in splits.evaluation.ids)
    assert count == supervised.result["near_duplicates"] > 0
    (warning,) = (text for text in supervised.result["warnings"] if "near duplicates" in text)
    assert warning.startswith(f"{count} image")
    assert f"of the {len(splits.evaluation)} that are evaluated on" in warning


def test_groups_are_held_out_as_a_whole_by_their_content(pretrained):
    whole, is_out = held_out_of(pretrained)
    bursts = np.unique([name[:-5] for name in whole.ids], return_inverse=True)[1]
    np.testing.assert_array_equal(np.unique(bursts, return_inverse=True)[1], bursts)
    assert {tuple(is_out[bursts == burst]) for burst in set(bursts)} == {(False,) * BURST, (True,) * BURST}
    groups = group_images(thumbnails_of(whole))[0]
    np.testing.assert_array_equal(is_out, is_held_out(group_hashes(whole.content_hashes, groups), 0.3))
    assert "near_duplicates" not in pretrained.result
    assert pretrained.result["evaluation_images"] == is_out.sum()


def test_few_held_out_images_are_joined_by_cross_validation(pretrained):
    result = pretrained.result
    assert result["cross_validated_images"] == len(CLASSES) * BURSTS * BURST
    low, high = result["cross_validated_interval"]
    assert low < result["cross_validated_top1"] < high or result["cross_validated_top1"] in (0, 1)
    assert any("by cross-validation on 45 labeled images" in line for line in pretrained.lines)
    assert {"color_histogram_logistic_top1", "raw_pixels_logistic_top1"} <= result.keys()


def test_enough_held_out_images_need_no_cross_validation(monkeypatch, photos):
    splits = load_dataset(photos, eval_fraction=0.3)
    monkeypatch.setattr(judging, "FEW", len(splits.evaluation))
    assert judging.cross_validated(None, splits.train, splits.evaluation, 3) == {}
    # All labels may be those of unused images.
    assert judging.cross_validated(None, splits.train.with_labels_of(np.arange(0)), None, 3) == {}


@pytest.mark.slow
def test_later_stages_keep_the_groups(measure, pretrained, tmp_path):
    finetuned = measure("finetune", pretrained, "finetuned")
    assert split_of(finetuned.folder)["held_out"] == split_of(pretrained.folder)["held_out"]
    assert finetuned.result["evaluation_images"] == pretrained.result["evaluation_images"]
    assert finetuned.result["cross_validated_images"] == 45
    # A copy elsewhere is split alike, by its content.
    shutil.copytree(pretrained.config.dataset.removeprefix("folder:"), tmp_path / "copy")
    copy = measure(
        "linear_eval", pretrained, "of_copy", dataset=f"folder:{tmp_path / 'copy'}", protocol="fast"
    )
    assert split_of(copy.folder)["held_out"] == split_of(pretrained.folder)["held_out"]
    assert not [text for text in copy.result.get("warnings", ()) if "trained" in text]
    with pytest.raises(
        InputError, match=r"--group_by=burst: .*with another split, --group_by=near_duplicates"
    ):
        measure("finetune", pretrained, "other", group_by="burst")


def test_too_many_images_are_not_compared(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(run_data, "MOST_COMPARED", 10)
    with pytest.raises(InputError, match=r"at most 10, and .*; leave it out, or group by a column"):
        judged(configure("supervised", tmp_path / "run", dataset=photos, group_by="near_duplicates"))


def test_a_run_inside_the_folder_of_photos_is_refused(photos, monkeypatch):
    folder = photos.removeprefix("folder:")
    monkeypatch.chdir(folder)
    with pytest.raises(
        InputError, match=r"--model_dir=runs/.* is inside the folder of --dataset=folder:\., where"
    ):
        judged(dataclasses.replace(configure("supervised", "x", dataset="folder:."), model_dir=None))
    assert not (pathlib.Path(folder) / "runs").exists()


@pytest.mark.slow
def test_groups_of_a_column(photos, tmp_path):
    whole = load_dataset(photos, held_out=[]).train
    rows = [f"{name},{name.split('/')[0]},{name[:-5]}" for name in whole.ids]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,Burst", *rows]))
    settings = {"dataset": photos, "labels": str(tmp_path / "labels.csv"), "eval_fraction": 0.3, "epochs": 1}
    done = judged(configure("supervised", tmp_path / "run", group_by="burst", **settings))
    _, is_out = held_out_of(done)
    assert {tuple(part) for part in is_out.reshape(-1, BURST)} == {(False,) * BURST, (True,) * BURST}
    with pytest.raises(InputError, match="leave --dataset out, or give --labels too, to use it"):
        judged(configure("knn", tmp_path / "other", init=str(done.folder), dataset=photos))
    with pytest.raises(
        InputError, match="has no column patient to group images by: give one of file, label, burst"
    ):
        judged(configure("supervised", tmp_path / "other", group_by="patient", **settings))
    with pytest.raises(
        InputError, match="neither near_duplicates nor a column of --labels, which is missing"
    ):
        judged(
            configure("supervised", tmp_path / "other", group_by="patient", **{**settings, "labels": None})
        )


def test_the_hash_of_a_group_is_that_of_its_smallest_and_alone_its_own():
    hashes = np.array([hash_of(bytes([i])) for i in range(4)], np.uint64)
    groups = np.array([1, 0, 1, 2])
    pair = ranks(np.array([min(hashes[0], hashes[2])], np.uint64), 0)[0]
    assert group_hashes(hashes, groups).tolist() == [pair, hashes[1], pair, hashes[3]]


@pytest.mark.slow
def test_a_default_directory_of_an_earlier_version_is_continued(pretrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = write_photos(tmp_path / "new", 2, 9)
    values = {"init": str(pretrained.folder), "dataset": new, "protocol": "fast"}
    name = f"runs/linear_eval-fast-{pretrained.folder.name}"
    judged(configure("linear_eval", tmp_path / name, **values))
    config = dataclasses.replace(configure("linear_eval", "x", **values), model_dir=None)
    assert Finetuning._default_dir(SimpleNamespace(MODE="linear_eval", source_runs=list), config) == name
    other = dataclasses.replace(config, dataset=pretrained.config.dataset)
    ancestor = SimpleNamespace(config=SimpleNamespace(dataset=new))
    stage = SimpleNamespace(MODE="linear_eval", source_runs=lambda: [ancestor])
    assert Finetuning._default_dir(stage, other) == f"{name}-photos"
