"""The data of a run: opened once, split as an earlier run did, opened again after a failure."""

import pytest

from simclr_keras.data.sources import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.training.engine import run_data
from simclr_keras.training.engine.run_data import RunData
from tests.training.tiny import make_config, silent, write_npz


@pytest.fixture
def opened(monkeypatch):
    """The `recheck` of every call of `open_dataset`."""
    calls, real = [], load_dataset.open_dataset

    def open_dataset(*arguments, recheck, **settings):
        calls.append(recheck)
        return real(*arguments, recheck=recheck, **settings)

    monkeypatch.setattr(load_dataset, "open_dataset", open_dataset)
    return calls


def make(tmp_path, inherit_split, say=silent, test=0, **settings):
    config = make_config(
        "npz:" + write_npz(tmp_path / "stripes.npz", test=test), tmp_path / "run", **settings
    )
    return RunData(config, RunDir(config.model_dir), inherit_split, say)


def test_moved_data_repeats_the_split_of_its_digest(tmp_path, opened):
    digests, lines = [], []

    def inherit_split(contents):
        digests.append(contents)
        return {"held_out": ("train/3", "train/4"), "eval_fraction": None} if contents else {}

    data = make(tmp_path, inherit_split, lines.append, eval_fraction=0.3)
    data.load()
    assert opened == [False]
    assert digests == [None, data.contents["contents"]]
    assert data.splits.held_out == ("train/3", "train/4")
    assert lines[0].endswith("has the images of an earlier run, moved: using its held-out split")


def test_data_with_its_own_split_needs_no_digest(tmp_path):
    digests = []
    data = make(tmp_path, lambda contents: digests.append(contents) or {}, test=12)
    data.load()
    assert digests == [None, None]
    assert data.splits.held_out == ()


def test_files_are_checked_again_if_one_is_gone_and_after_a_failure(tmp_path, opened, monkeypatch):
    real, failures = run_data.contents_of, [InputError("a.png is gone")]

    def contents_of(splits):
        if failures:
            raise failures.pop()
        return real(splits)

    monkeypatch.setattr(run_data, "contents_of", contents_of)
    data = make(tmp_path, lambda contents: {})
    data.load()
    assert opened == [False, True]
    before = data.splits.held_out
    data.reload()
    assert opened == [False, True, True]
    assert data.splits.held_out == before
