"""A cache folder for each test of the data side, so that none sees what another remembered."""

import os

import pytest

from simclr_keras.data.files import verify_images
from simclr_keras.data.files.image_file import check_file
from tests.data.pictures import load


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    return path / "simclr_keras"


@pytest.fixture
def tried(monkeypatch):
    """Names of the files that are decoded from now on."""
    names = []

    def count(path, copies):
        names.append(os.path.basename(path))
        return check_file(path, copies)

    monkeypatch.setattr(verify_images, "check_file", count)
    return names


@pytest.fixture
def load_interrupted(monkeypatch):
    """A function of (folder, count) that loads a folder and is interrupted after so many checked files."""
    search = verify_images._search

    def load_until(folder, stop):
        def interrupted(*arguments):
            for count, result in enumerate(search(*arguments)):
                if count == stop:
                    raise KeyboardInterrupt
                yield result

        monkeypatch.setattr(verify_images, "_search", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(folder)
        monkeypatch.setattr(verify_images, "_search", search)

    return load_until
