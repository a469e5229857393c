"""Refusals of batches and warm-ups, the default run directory, and the lines before a run."""

import contextlib
import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from simclr_keras.config.evaluate import EvalConfig
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.training.engine import checks, inputs, introduction, run_names
from simclr_keras.training.engine.epochs import warmup_steps
from simclr_keras.training.engine.optimizers import make_optimization
from tests.data.pictures import flat
from tests.training.tiny import make_config, write_npz


def npz(path, labels=True, **arrays):
    stripes = dict(np.load(write_npz(path, test=0, labels=labels)))
    np.savez(path, **{**stripes, **arrays})
    return f"npz:{path}"


def test_batch_divides_over_replicas():
    checks.check_batch_divides(make_config("digits", "x", batch_size=6), 3)
    with pytest.raises(InputError, match="not a multiple of the 3 replicas"):
        checks.check_batch_divides(make_config("digits", "x", batch_size=8), 3)
    with pytest.raises(InputError, match="fewer than 2 images for each of 3 replicas; give at least 6"):
        checks.check_batch_divides(make_config("digits", "x", batch_size=3), 3)
    with pytest.raises(InputError, match="--microbatch_size=4 is not a multiple of the 3 replicas"):
        checks.check_batch_divides(
            make_config("digits", "x", batch_size=12, microbatch_size=4), 3, "microbatch_size"
        )


def test_run_directories_whose_pictures_would_be_images(tmp_path):
    for name in ("flat/cat", "split/train/cat", "split/Val/cat"):
        (tmp_path / name).mkdir(parents=True)
    for dataset, run_dir, is_refused in (
        ("flat", "flat/runs/a", True),
        ("flat", "flat", True),
        ("flat", "flat/.runs/a", False),
        ("flat", "flat-runs", False),
        ("split", "split/runs/a", False),
        ("split", "split/train/a", True),
        ("elsewhere", "flat/runs", False),
    ):
        config = make_config(f"folder:{tmp_path}/{dataset}", tmp_path / run_dir)
        refused = pytest.raises(InputError, match=f"--model_dir={tmp_path}/{run_dir} is inside the folder of")
        with refused if is_refused else contextlib.nullcontext():
            checks.check_outside_images(config)


def test_a_resumed_run_may_have_lost_images(tmp_path):
    config, few, run_dir = (
        make_config("digits", "x", batch_size=8),
        SimpleNamespace(num_examples=7),
        RunDir(tmp_path),
    )
    with pytest.raises(InputError, match="give --batch_size=7 or less"):
        checks.check_enough_images(config, few, False, run_dir)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-1.index").touch()
    checks.check_enough_images(config, few, False, run_dir)


def test_line_of_ways_of_steps():
    frozen = {"freeze_batch_norm": True, "init": "a"}
    for settings, replicas, line in (
        ({}, 2, ""),
        (frozen, 1, "batch normalization is frozen in 7 layers"),
        (
            {"global_bn": False, **frozen},
            2,
            "batch normalization is frozen in 7 layers; else every replica normalizes by its own statistics",
        ),
        ({"microbatch_size": 8}, 2, ""),
        ({"microbatch_size": 4, "global_bn": False}, 1, "in 2 micro-batches of 4 images"),
        (
            {"remat": True, "global_bn": False},
            2,
            "residual blocks are computed again for the gradients; every replica normalizes by its own statistics",
        ),
    ):
        config = make_config("digits", "x", batch_size=8, **settings)
        assert introduction.ways_of_steps(config, replicas, 7 * config.freeze_batch_norm) == line


def test_data_lines(tmp_path):
    spec = npz(tmp_path / "a.npz")
    line, few = introduction.describe_data(load_dataset(spec))
    assert line.endswith(
        "35 training images, 3 classes: rows, columns, slanted; 5 evaluation images; 5 images held out of all training"
    )
    assert few.startswith("only 5 evaluation images: expect wide confidence intervals")
    line, _ = introduction.describe_data(load_dataset(spec, labels_per_class=2))
    assert "3 classes: rows, columns, slanted (6 labels used)" in line
    (line,) = introduction.describe_data(load_dataset(npz(tmp_path / "b.npz", labels=False)))
    assert line.endswith(
        "35 training images, no labels: no kNN, no probe and no baselines; 5 images held out of all training"
    )
    assert len(introduction.describe_data(load_dataset("digits"))) == 1  # enough evaluation images


def test_doubtful_classes_are_noted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    flat(tmp_path / "photos", 4)

    def notes(*labels):
        lines = [f"{i}.png,{label}" for i, label in enumerate(labels)]
        (tmp_path / "labels.csv").write_text("\n".join(lines))
        spec = f"folder:{tmp_path}/photos"
        return introduction.class_notes(load_dataset(spec, labels=str(tmp_path / "labels.csv")))

    offenders = {}
    for labels, expected in (
        ((1, 2, 1, 2), ["1 class of 3 without an image: 0; class numbers count from 0"]),
        ((0, 3, 0, 3), ["2 classes of 4 without an image: 1, 2"]),
        (
            ("cat", "nan", "NA", "cat"),
            ["the class names NA, nan often stand for missing labels; if so, leave these labels empty"],
        ),
        (
            ("cat", "cat"),
            ["there is only one class, cat: accuracies mean nothing; label at least two classes"],
        ),
        (
            ("cat", "dog", "Cat"),
            ["the class names Cat, cat differ only in case; if they are one class, spell it in one way"],
        ),
        (("cat", "dog"), []),
    ):
        if notes(*labels) != expected:
            offenders[labels] = notes(*labels)
    assert not offenders
    assert introduction.class_notes(load_dataset("digits", labels_per_class=2)) == []


def test_default_model_dir():
    config = make_config("npz:some/where/my photos.npz", None)
    assert run_names.default_model_dir("pretrain", config) == "runs/pretrain-my_photos-r18_0.125x_sk0"
    config = EvalConfig(init="runs/a", dataset="folder:some/new photos")
    assert run_names.default_model_dir("eval", config) == "runs/eval-a"
    assert run_names.default_model_dir("eval", config, other_dataset=True) == "runs/eval-a-new_photos"


def test_datasets_have_one_spelling():
    for spelling in ("folder:a/b", "folder:a/b/", "folder:./a//b", "folder:a/c/../b"):
        assert run_names.normal_dataset(spelling) == "folder:a/b"
    assert run_names.normal_dataset("npz:./x.npz") == "npz:x.npz"
    for other in ("digits", "cifar10", "folder:gs://bucket/a/", "cifar10:3.0.2"):
        assert run_names.normal_dataset(other) == other


def test_eval_batch_size_is_small_by_default():
    for setting, batch_size, expected in ((0, 4096, 256), (0, 64, 64), (1000, 4096, 1000), (8, 64, 8)):
        config = make_config("digits", "x", eval_batch_size=setting, batch_size=batch_size)
        assert inputs.eval_batch_size(config) == expected


def test_room_for_all_checkpoints(tmp_path, monkeypatch):
    state = {"kernel": np.zeros(1000, np.float32)}
    for free, settings, enough in (
        (15_999, {}, False),  # 3 that are kept, which come every 10 minutes, and one that is written
        (16_000, {}, True),
        (8_000, {"checkpoint_every_minutes": 0}, True),
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        config = make_config("digits", "x", epochs=1, **settings)
        with contextlib.nullcontext() if enough else pytest.raises(InputError, match="free space"):
            checks.check_space(RunDir(tmp_path), state, config)


def test_train_steps_must_outlast_the_warm_up():
    config = make_config("digits", "x", batch_size=8, warmup_epochs=1.0, train_steps=9)
    checks.check_warmup(config, 72)
    with pytest.raises(InputError, match=r"--train_steps=9 .* of 10 steps.*--warmup_epochs=1\."):
        checks.check_warmup(config, 80)


def test_default_warm_up_fits_a_run_that_train_steps_end():
    config = make_config("digits", "x", batch_size=8, epochs=800, warmup_epochs=None, train_steps=100)
    checks.check_warmup(config, 80)
    assert warmup_steps(config, 80) == 5
    for longer in ({"train_steps": 100_000}, {"train_steps": None}, {"warmup_epochs": 40.0}):
        assert warmup_steps(dataclasses.replace(config, **longer), 80) == 400
    make_optimization(dataclasses.replace(config, train_steps=1), 80)
