"""Fixtures of the tests of whole runs: tiny networks, striped data, and a chain of finished runs to look at."""

import pytest

from tests.training.tiny import GROUPED, configure, make_config, make_tiny, run, write_npz


@pytest.fixture
def tiny(monkeypatch):
    make_tiny(monkeypatch)


@pytest.fixture
def data(tmp_path):
    """The --dataset of noisy stripes."""
    return "npz:" + write_npz(tmp_path / "stripes.npz")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where the finished runs below are."""
    return tmp_path_factory.mktemp("chain")


@pytest.fixture(scope="session")
def tiny_session():
    """Goes through a stage, from a config, with a tiny network."""

    def go(config):
        with pytest.MonkeyPatch.context() as patch:
            make_tiny(patch)
            return run(config)

    return go


@pytest.fixture(scope="session")
def stripes(folder):
    """The --dataset of 40 noisy stripes without an evaluation split of its own."""
    return "npz:" + write_npz(folder / "stripes.npz", test=0)


@pytest.fixture(scope="session")
def pretrained(folder, stripes, tiny_session):
    """A pretraining Run that held out 12 of the 40 images and saw 12 labels."""
    settings = {"model": GROUPED, "eval_fraction": 0.18, "labels_per_class": 4, "seed": 3}
    return tiny_session(make_config(stripes, folder / "pretrained", **settings))


@pytest.fixture(scope="session")
def finetuned(folder, pretrained, tiny_session):
    """A fine-tuning Run with another seed, in batches of 16 images, that has learned to tell some of the classes."""
    settings = {
        "init": str(pretrained.folder),
        "seed": 9,
        "epochs": 3,
        "augment": "none",
        "learning_rate": 1.0,
    }
    found = tiny_session(configure("finetune", folder / "finetuned", **settings))
    assert (
        sum(row["recall"] > 0 for row in found.result["per_class"]) > 1
    )  # else anything would agree with it
    return found


@pytest.fixture(scope="session")
def distilled(folder, finetuned, tiny_session):
    """A Run of self-distillation."""
    return tiny_session(configure("distill", folder / "distilled", teacher=str(finetuned.folder), seed=9))
