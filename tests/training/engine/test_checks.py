"""What every stage does before it trains: refusals of batches, how it introduces itself."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.training.engine import checks
from tests.training.tiny import make_config, write_npz


def npz(path, labels=True, **arrays):
    stripes = dict(np.load(write_npz(path, test=0, labels=labels)))
    np.savez(path, **{**stripes, **arrays})
    return f"npz:{path}"


def test_a_batch_must_suit_the_replicas():
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(3)])
    checks.check_batch(make_config("digits", "x", batch_size=6), strategy)
    with pytest.raises(InputError, match="does not divide over 3 replicas"):
        checks.check_batch(make_config("digits", "x", batch_size=8), strategy)
    with pytest.raises(InputError, match="fewer than 2 images; give at least 6"):
        checks.check_batch(make_config("digits", "x", batch_size=3), strategy)


def test_the_data_line_counts_the_labels_that_may_be_seen(tmp_path):
    spec = npz(tmp_path / "a.npz")
    assert "3 classes; 3 for evaluation (held out" in checks.describe_data(load_dataset.load(spec))[0]
    assert "3 classes (6 labels seen)" in checks.describe_data(load_dataset.load(spec, labels_per_class=2))[0]
    unlabeled = checks.describe_data(load_dataset.load(npz(tmp_path / "b.npz", labels=False)))[0]
    assert unlabeled.endswith("40 training images, no labels: no kNN and no probe")


def test_a_directory_name_is_made_of_mode_data_and_model():
    config = make_config("npz:some/where/my photos.npz", None)
    assert checks.default_model_dir("pretrain", config) == "runs/pretrain-my_photos-r18_0.125x_sk0"


def test_figures_for_people():
    assert [checks.duration(seconds) for seconds in (48, 59.6, 123)] == ["48 s", "1 min 0 s", "2 min 3 s"]


def test_a_folder_has_one_spelling():
    for spelling in ("folder:a/b", "folder:a/b/", "folder:./a//b", "folder:a/c/../b"):
        assert checks.spelled(spelling) == "folder:a/b"
    assert checks.spelled("npz:./x.npz") == "npz:x.npz"
    for other in ("digits", "cifar10", "folder:gs://bucket/a/", "cifar10:3.0.2"):
        assert checks.spelled(other) == other


@pytest.mark.parametrize(
    ("given", "batch_size", "expected"), [(0, 4096, 256), (0, 64, 64), (1000, 4096, 1000), (8, 64, 8)]
)
def test_an_evaluation_step_is_small_unless_told_otherwise(given, batch_size, expected):
    config = make_config("digits", "x", eval_batch_size=given, batch_size=batch_size)
    assert checks.eval_batch_size(config) == expected


def test_a_run_may_not_end_within_its_warm_up():
    config = make_config("digits", "x", batch_size=8, warmup_epochs=1.0, train_steps=9)
    checks.check_warmup(config, 72)
    with pytest.raises(InputError, match=r"--train_steps=9 .* of 10 steps.*--warmup_epochs=1\."):
        checks.check_warmup(config, 80)


def test_few_images_to_judge_by_are_said(tmp_path):
    splits = load_dataset.load(npz(tmp_path / "a.npz"))
    assert "only 3 images to judge by" in checks.describe_data(splits)[-1]
    assert len(checks.describe_data(load_dataset.load("digits"))) == 1
