"""Run directories as others see them: their network, and their weights while the run goes on."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from simclr_keras.config.modes import MODES
from simclr_keras.errors import InputError
from simclr_keras.runs.checkpoints import Checkpoints, state_of_model
from simclr_keras.runs.open_run import load_run, open_run
from simclr_keras.runs.records import ConfigRecord, SplitRecord
from tests.earlier_runs import DIGITS, finetuning, make_run


@pytest.fixture
def folder(tmp_path):
    make_run(tmp_path / "run", finetuning("digits", 10), DIGITS)
    return tmp_path / "run"


def save(model, folder, step):
    Checkpoints(str(folder / "checkpoints"), state_of_model(model), keep=1).save(step)


def test_tells_what_the_run_is(folder):
    opened = open_run(str(folder))
    assert (opened.config.NAME, opened.image_size, opened.class_names) == ("finetune", 8, DIGITS)
    assert opened.model().classifier.num_classes == 10


def test_class_names_that_the_data_lacks_are_in_the_settings(folder):
    opened = open_run(str(folder))
    names = tuple("abcdefghij")
    opened = dataclasses.replace(
        opened, split=SplitRecord(), record=ConfigRecord("finetune", {}, class_names=[*names])
    )
    assert opened.class_names == names


@pytest.mark.parametrize(
    ("names", "said"),
    [("ten", "class_names is 'ten'"), (["a", "b"], "it names 2 classes, the checkpoint has 10")],
)
def test_names_that_are_none_or_not_as_many_as_classes_are_refused(folder, names, said):
    split = json.loads((folder / "split.json").read_text())
    (folder / "split.json").write_text(json.dumps({**split, "class_names": names}))
    with pytest.raises(InputError, match=rf"split.json is damaged \({said}"):
        open_run(str(folder))


def test_a_checkpoint_that_gave_way_to_a_newer_one_is_no_hindrance(folder):
    opened = open_run(str(folder))
    newer = open_run(str(folder)).model()
    newer.classifier.bias.assign(np.arange(10))
    step = opened.weights.step
    save(newer, folder, step + 1)
    for path in (folder / "checkpoints").glob(f"step-{step}.*"):
        path.unlink(missing_ok=True)
    np.testing.assert_array_equal(opened.model().classifier.bias, np.arange(10))
    assert opened.weights.step == step + 1


def test_checkpoints_that_are_all_gone_are_one_line(folder):
    opened = open_run(str(folder))
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(InputError, match=r"has no checkpoint.* or give another path"):
        opened.model()


def test_in_python_messages_name_arguments(folder):
    for arguments, remedy in (
        ({"ema": True}, "leave ema=True out, or give another path"),
        ({"checkpoint": "best"}, "leave checkpoint out"),
    ):
        with pytest.raises(InputError, match=rf"^{re.escape(str(folder))} has no .*{remedy}\.$"):
            load_run(str(folder), **arguments)
    with pytest.raises(
        InputError,
        match=r"^path=nowhere is not a run directory \(no such directory\); give the directory of an earlier run\.$",
    ):
        load_run("nowhere")


def test_a_run_that_only_evaluated_another_names_that(tmp_path):
    measured = MODES["knn"](dataset="digits", init="runs/pretrained", model="r18_0.125x_sk0", image_size=8)
    make_run(tmp_path / "knn", (measured, None), DIGITS)
    with pytest.raises(
        InputError, match=r"no network of its own; give the one that it evaluated, --run=runs/pretrained"
    ):
        open_run(str(tmp_path / "knn"), flag="run")
