"""Models to run, made once, and a cache folder of the tests' own."""

import pytest

from tests.data.pictures import classes, jpeg
from tests.tools.models_to_run import make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folder of models; see `make_models`."""
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def photos(tmp_path):
    """Two classes of 5 and 6 images of two sizes, and two files that are no images."""
    classes(tmp_path / "photos", {"ant": 5, "bee": 4})
    jpeg(tmp_path / "photos" / "bee" / "a.jpg", 1)
    jpeg(tmp_path / "photos" / "bee" / "b.jpg", 2)
    (tmp_path / "photos" / "bee" / "text.png").write_text("no image")
    (tmp_path / "photos" / "ant" / "empty.jpg").write_bytes(b"")
    return tmp_path / "photos"
