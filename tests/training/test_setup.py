"""What every stage does before it trains: refusals of batches and of changed data, how it introduces itself."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import sources
from simclr_keras.errors import InputError
from simclr_keras.training import setup
from simclr_keras.training.run_dir import RunDir
from tests.training.tiny import make_config, write_npz


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


def npz(path, labels=True, **arrays):
    stripes = dict(np.load(write_npz(path, test=0, labels=labels)))
    np.savez(path, **{**stripes, **arrays})
    return f"npz:{path}"


def test_a_run_goes_on_with_the_data_it_began_with(run_dir, tmp_path):
    splits = sources.load(npz(tmp_path / "a.npz"))
    setup.bind_data(run_dir, splits, 0)
    written = run_dir.read_text("split.json")
    setup.bind_data(run_dir, splits, 6)
    assert run_dir.read_text("split.json") == written
    assert all(name in written for name in splits.held_out)


@pytest.mark.parametrize("change", ["an image more", "another label", "another seed of the split"])
def test_a_run_does_not_go_on_with_other_data(run_dir, tmp_path, change):
    setup.bind_data(run_dir, sources.load(npz(tmp_path / "a.npz")), 0)
    written = run_dir.read_text("split.json")
    arrays = dict(np.load(tmp_path / "a.npz"))
    seed = 0
    if change == "an image more":
        arrays = {name: np.concatenate([arrays[name], arrays[name][:1]]) for name in ("x_train", "y_train")}
    elif change == "another label":
        arrays["y_train"][[0, 1]] = arrays["y_train"][[1, 0]]
    else:
        seed = 1
    other = sources.load(npz(tmp_path / "b.npz", **arrays), seed=seed)
    with pytest.raises(InputError, match=r"37 training images then, 37 now.*bring back the data, or give"):
        setup.bind_data(run_dir, other, 6)
    assert run_dir.read_text("split.json") == written


def test_a_batch_must_suit_the_replicas():
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(3)])
    setup.check_batch(make_config("digits", "x", batch_size=6), strategy)
    with pytest.raises(InputError, match="does not divide over 3 replicas"):
        setup.check_batch(make_config("digits", "x", batch_size=8), strategy)
    with pytest.raises(InputError, match="fewer than 2 images; give at least 6"):
        setup.check_batch(make_config("digits", "x", batch_size=3), strategy)


def test_the_data_line_counts_the_labels_that_may_be_seen(tmp_path):
    spec = npz(tmp_path / "a.npz")
    assert "3 classes; 3 for evaluation (held out" in setup.describe_data(sources.load(spec))[0]
    assert "3 classes (6 labels seen)" in setup.describe_data(sources.load(spec, labels_per_class=2))[0]
    unlabelled = setup.describe_data(sources.load(npz(tmp_path / "b.npz", labels=False)))[0]
    assert unlabelled.endswith("40 training images, no labels: no kNN and no probe")


def test_a_directory_name_is_made_of_mode_data_and_model():
    config = make_config("npz:some/where/my photos.npz", None)
    assert setup.default_model_dir("pretrain", config) == "runs/pretrain-my_photos-r18_0.125x_sk0"


def test_figures_for_people():
    assert [setup.duration(seconds) for seconds in (48, 59.6, 123)] == ["48 s", "1 min 0 s", "2 min 3 s"]
