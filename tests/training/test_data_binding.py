"""A run and its data: refused where it is other data, found again where single files went or came."""

import numpy as np
import pytest

from simclr_keras.data import sources
from simclr_keras.errors import InputError
from simclr_keras.training.data_binding import bind_data
from simclr_keras.training.run_dir import RunDir
from tests.training.tiny import write_npz


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
    bind_data(run_dir, splits, resumed=False)
    written = run_dir.read_text("split.json")
    bind_data(run_dir, splits, resumed=True)
    assert run_dir.read_text("split.json") == written
    assert all(name in written for name in splits.held_out)


@pytest.mark.parametrize("change", ["an image more", "another label", "another seed of the split"])
def test_a_run_does_not_go_on_with_other_data(run_dir, tmp_path, change):
    bind_data(run_dir, sources.load(npz(tmp_path / "a.npz")), resumed=False)
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
        bind_data(run_dir, other, resumed=True)
    assert run_dir.read_text("split.json") == written
