"""Models to run, made once, and a cache folder of the tests' own."""

import pytest

from tests.tools.models_to_run import make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folder of models; see `make_models`."""
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
