"""The flags of fit: each mistake is one line before any work."""

import pytest

from simclr_keras.commands import train
from simclr_keras.config.fit import FitConfig
from simclr_keras.errors import InputError

WRONG = {
    "--dataset is missing: give your photos": {"dataset": ""},
    "fit takes photos in a folder": {"dataset": "digits"},
    "no such folder; give the folder of your photos": {"dataset": "folder:missing"},
    "--labels=missing.csv not found": {"labels": "missing.csv"},
    "--backbone_weights=missing.h5 not found": {"init": "keras:ResNet50", "backbone_weights": "missing.h5"},
    "is for --init=keras:NAME or hub:PRESET": {"backbone_weights": "imagenet"},
    "Did you mean keras:ResNet50": {"init": "keras:ResNet5"},
    "--model=keras:VGG16 is for --init": {"model": "keras:VGG16"},
    "--out is missing": {"out": ""},
    "--out=gs://bucket/out is remote": {"out": "gs://bucket/out"},
    "--minutes=0 is out of range": {"minutes": 0},
}


def checked(config):
    config.validate()
    config.check_paths()


@pytest.mark.parametrize("message", WRONG)
def test_mistakes_are_named(message, tmp_path):
    (tmp_path / "photos").mkdir()
    flags = {"dataset": f"folder:{tmp_path}/photos", "out": f"{tmp_path}/out", **WRONG[message]}
    with pytest.raises(InputError, match=message):
        checked(FitConfig(**flags))


def test_train_py_runs_fit(tmp_path):
    for words in (["--mode=fit"], ["--mode", "fit"]):
        with pytest.raises(InputError, match="no such folder"):
            train.main(["train.py", "--dataset=folder:missing", *words, f"--out={tmp_path}/out"])
