"""Models to run, made once, and a cache folder of the tests' own."""

import pytest

from simclr_keras.models import resnet
from tests.data.pictures import classes, jpeg
from tests.earlier_runs import DIGITS, finetuning, make_run
from tests.export.networks import shorten
from tests.tools.models_to_run import make_models


@pytest.fixture(scope="module", autouse=True)
def short_networks():
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch, [18])
        yield


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """A run of a network of all its blocks, for other processes."""
    path = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.BLOCKS, 18, (2, 2, 2, 2))
        make_run(path, finetuning("digits", 10), DIGITS)
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folder of models; see `make_models`."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch, [18])
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
