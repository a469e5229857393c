"""Fixtures of the tests of whole runs."""

import pytest

from tests.training.tiny import make_tiny, write_npz


@pytest.fixture
def tiny(monkeypatch):
    make_tiny(monkeypatch)


@pytest.fixture
def data(tmp_path):
    """The --dataset of noisy stripes."""
    return "npz:" + write_npz(tmp_path / "stripes.npz")
