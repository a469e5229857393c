"""A "~" at the start of a path is the home folder, whichever flag or function takes the path."""

import dataclasses

import numpy as np
import pytest

from simclr_keras.config.command_line import read_with_words
from simclr_keras.config.export import ExportConfig
from simclr_keras.config.modes import MODES
from simclr_keras.config.option import Settings, field_kind
from simclr_keras.data.sources.load_dataset import open_dataset
from simclr_keras.errors import InputError
from simclr_keras.export.loading.find_saved_model import find_saved_model
from simclr_keras.files import expand_home, read_file, whole_folder, write_file
from simclr_keras.interop.source import Source
from simclr_keras.runs.open_run import load_run
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.tools.embed import EmbedConfig
from simclr_keras.tools.images.find_images import find_images
from simclr_keras.tools.images.open_images import open_images
from simclr_keras.tools.import_published import ImportConfig
from simclr_keras.tools.predict import PredictConfig
from simclr_keras.tools.report import ReportConfig
from simclr_keras.tools.verify_published import VerifyConfig
from simclr_keras.tools.visualize import VisualizeConfig
from tests.data.pictures import flat

CONFIGS = (
    *MODES.values(),
    *(ExportConfig, EmbedConfig, PredictConfig, VisualizeConfig, ReportConfig, ImportConfig, VerifyConfig),
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, which is not the current one."""
    home = tmp_path / "home"
    (tmp_path / "elsewhere").mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home


def test_spellings(home):
    for path, expected in (
        ("~/run", f"{home}/run"),
        ("~", f"{home}"),
        ("folder:~/photos", f"folder:{home}/photos"),
        ("a/~/b", "a/~/b"),
        ("folder:a~", "folder:a~"),
        ("gs://bucket/~", "gs://bucket/~"),
        ("cifar10:3.*.*", "cifar10:3.*.*"),
    ):
        assert expand_home(path) == expected


def test_a_run_in_a_folder_of_that_name_goes_on_there(home):
    (home.parent / "elsewhere" / "~" / "run").mkdir(parents=True)
    assert RunDir("~/run").path == "~/run"
    (home / "run").mkdir()
    assert RunDir("~/run").path == f"{home}/run"


def test_every_flag(home):
    offenders = []
    for config in CONFIGS:
        assert issubclass(config, Settings)
        for field in dataclasses.fields(config):
            if (
                field_kind(field).type is str
                and getattr(config(**{field.name: "~/x"}), field.name) != f"{home}/x"
            ):
                offenders.append(f"{config.__name__}.{field.name}")
    assert not offenders
    assert read_with_words(ReportConfig, ["report", "~/runs"], "")[1] == [f"{home}/runs"]


def test_every_function(home):
    flat(home / "photos", 3)
    (home / "labels.csv").write_text("0.png,a\n1.png,b\n")
    np.savez(home / "a.npz", x_train=np.arange(4 * 64 * 3, dtype=np.uint8).reshape(4, 8, 8, 3))
    assert len(open_dataset("folder:~/photos", labels="~/labels.csv").train) == 3
    assert len(open_dataset("npz:~/a.npz").train) == 4
    for name in ("~/photos", "folder:~/photos", "~/photos/0.png"):
        assert len(open_images(name)) >= 1
    photo = f"{home}/photos/0.png"
    assert find_images(["~/photos/0.png"]) == ({photo: photo}, [])

    (home / "export").mkdir()
    (home / "export" / "saved_model.pb").write_bytes(b"")
    assert find_saved_model("~/export") == f"{home}/export"
    for load in (load_run, Source):
        with pytest.raises(InputError, match=f"{home}/missing"):
            load("~/missing")

    write_file("~/written", b"1")
    with whole_folder("~/folder", lambda path: None) as folder:
        write_file(f"{folder}/inside", b"2")
    assert read_file(f"{home}/written") == b"1"
    assert read_file(f"{home}/folder/inside") == b"2"
    assert not list((home.parent / "elsewhere").iterdir())
