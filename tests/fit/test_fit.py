"""simclr fit as a whole, on small images of digits: from nothing but photos, with one interruption."""

import csv
import dataclasses
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.config import recipes
from simclr_keras.config.fit import FitConfig
from simclr_keras.config.modes import make_config
from simclr_keras.errors import InputError, Stopped
from simclr_keras.fit import plan, prepare
from simclr_keras.fit import run as fit
from simclr_keras.fit.candidates.linear import Linear
from simclr_keras.fit.candidates.listing import list_pieces
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.candidates.trainings import Trainings
from simclr_keras.fit.photos import open_photos
from simclr_keras.fit.speeds import Speed
from simclr_keras.fit.work_folder import WorkFolder
from simclr_keras.runs.open_run import open_run
from simclr_keras.runs.weights import ArrayWeights
from tests.fit.photos_of_digits import CLASSES, write_photos

MINUTES = 0.6  # for the color histogram, and the shortest pretraining with a regression on its features


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    flags = write_photos(folder)
    return FitConfig(**flags, out=f"{folder}/out", minutes=MINUTES, model="r18_0.05x_sk0", image_size=8)


@pytest.fixture(scope="module")
def photos(config):
    return open_photos(config, lambda line: None)


def stop(*arguments):
    raise Stopped("stopped", 2)


@pytest.fixture(scope="module")
def finished(config):
    """Return (facts, printed lines) of a fit that was stopped before its pretraining, and repeated."""
    with pytest.MonkeyPatch.context() as patch:
        # As the plan needs it; measuring takes longer than all the rest.
        patch.setattr(prepare, "measure", lambda *_: Speed(8, 0.001, 0.03, 0.3))
        patch.setattr(Trainings, "run", stop)
        with pytest.raises(Stopped):
            fit.run(config, lambda line: None)
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SLACK", 100)  # the machine may be slower than the plan says
        return fit.run(config, lines.append), lines


def test_test_images_are_apart(photos):
    test, rest = photos.is_test, ~photos.is_test & ~photos.is_left_out
    assert 6 <= test.sum() <= 20
    assert np.all(photos.labels[test] >= 0)
    assert not set(photos.groups[test]) & set(photos.groups[rest])
    assert len(photos.labeled) + len(photos.unlabeled) == rest.sum()


@pytest.mark.slow
def test_no_training_opens_test_images(config, photos, finished):
    (work,) = (path for path in tf.io.gfile.glob(f"{config.runs_folder}/*"))
    with open(f"{work}/labels/all.csv", encoding="utf-8") as file:
        splits = {row["filename"]: row["split"] for row in csv.DictReader(file)}
    used = ~photos.is_test & ~photos.is_left_out
    assert [splits[name] != "unused" for name in photos.ids] == used.tolist()
    (pretrained,) = tf.io.gfile.glob(f"{work}/trainings/pretrained-*")
    assert open_run(pretrained).result.get("training_images") == used.sum()
    assert open_run(pretrained).result.get("evaluation_images") == 0


@pytest.mark.slow
def test_plan_comes_first_and_names_what_is_left_out(finished):
    _, lines = finished
    plan = next(i for i, line in enumerate(lines) if line.startswith("plan"))
    assert plan < next(i for i, line in enumerate(lines) if line.startswith("trying"))
    text = "\n".join(lines[plan:])
    assert re.search(r"color histogram, 8 px +done +\(baseline\)", text)
    assert "pretraining r18_0.05x_sk0 on all photos, without labels, 8 px, 5 epochs" in text
    assert "not tried, it needs about" in text


@pytest.mark.slow
def test_export_gives_the_judged_figures(config, photos, finished):
    facts, _ = finished
    model = tf.saved_model.load(config.out)
    files = tf.stack([tf.io.read_file(f"{config.dataset[7:]}/{photos.ids[row]}") for row in photos.test])
    logits = model.signatures["logits_from_bytes"](image_bytes=files)["logits"].numpy()
    assert np.mean(logits.argmax(1) == photos.labels[photos.test]) == facts["top1"]
    with open(f"{config.out}/class_names.txt", encoding="utf-8") as file:
        assert sorted(file.read().split()) == sorted(CLASSES)


@pytest.mark.slow
def test_page_is_one_readable_file(finished):
    facts, _ = finished
    with open(facts["page"], encoding="utf-8") as file:
        text = file.read()
    assert f"{facts['top1']:.1%}" in text
    assert set(re.findall(r'src="([^"]{10})', text)) <= {"data:image"}
    for words in (
        "95 % interval",
        "(baseline)",
        "(chosen)",
        "confused",
        "uncertain",
        "simclr predict",
        "Not tried",
    ):
        assert words in text


@pytest.fixture
def without_export(monkeypatch):
    """Leave out writing and comparing the export, most of the time; return the settings it was to be written with."""
    written = []

    def note(network, out, about, **settings):
        os.makedirs(out, exist_ok=True)
        written.append(settings)

    monkeypatch.setattr("simclr_keras.fit.finish.write_export", note)
    monkeypatch.setattr("simclr_keras.fit.finish._difference", lambda *_: 0.0)
    return written


@pytest.mark.slow
def test_finished_pieces_are_not_run_again(config, finished, without_export, monkeypatch):
    facts, _ = finished
    monkeypatch.setattr(Trainings, "run", stop)
    monkeypatch.setattr(Linear, "judge", stop)
    monkeypatch.setattr(prepare, "measure", stop)
    assert fit.run(config, lambda line: None) == facts
    assert [settings["overwrite"] for settings in without_export] == [True]


@pytest.mark.slow
def test_doubts_are_printed_and_stand_on_the_page_and_in_the_export(
    config, finished, without_export, monkeypatch
):
    monkeypatch.setattr("simclr_keras.fit.photos._doubts", lambda *_: ["it has <seen> them"])
    doubtful = dataclasses.replace(config, out=f"{config.out}-doubtful", runs=config.runs_folder)
    lines = []
    facts = fit.run(doubtful, lines.append)
    assert facts["warnings"] == ["it has <seen> them"]
    assert lines.count("warning  it has <seen> them") == 1
    with open(facts["page"], encoding="utf-8") as file:
        text = file.read()
    assert "No choice has seen these images. Warning: it has &lt;seen&gt; them." in text
    assert "No training" not in text


@pytest.fixture(scope="module")
def from_run(config, finished):
    """Return a FitConfig with the pretraining of `finished` as --init, and no time for any training."""
    (run,) = tf.io.gfile.glob(f"{config.runs_folder}/*/trainings/pretrained-*")
    return dataclasses.replace(config, init=run, out=f"{config.out}-from-run", minutes=0.01)


@pytest.mark.slow
def test_init_takes_the_run_of_an_earlier_pretraining(from_run, without_export, monkeypatch):
    monkeypatch.setattr(prepare, "measure", lambda *_: Speed(8, 0.001, 0.03, 0.3))
    lines = []
    assert 0 <= fit.run(from_run, lines.append)["top1"] <= 1
    assert f"trying   logistic regression on {from_run.init}, 8 px" in lines
    assert not [line for line in lines if "was trained on" in line]  # both held out the same test images


@pytest.mark.slow
def test_trainings_from_a_run_have_flags_that_their_stages_take(from_run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "measure", lambda *_: Speed(8, 0.001, 0.03, 0.3))
    configs = {}

    def record(self, name, mode, recipe, part, settings):
        flags = {"dataset": from_run.dataset, "model_dir": self.path(name, part), **settings}
        configs[re.sub(r"-\d+-epochs", "", name)] = make_config(mode, recipes.recipe(recipe, mode), flags)
        raise Stopped("stopped", 2)

    monkeypatch.setattr(Trainings, "run", record)
    start = StartNetwork(from_run.init, from_run.init)
    workshop = prepare.make_workshop(from_run, photos, WorkFolder(str(tmp_path)), start, lambda line: None)
    for piece in list_pieces(workshop, stop):
        if "fine-tuning" in piece.title or "pretraining of" in piece.title:
            with pytest.raises(Stopped):
                (piece.judge or piece.prepare)()
    names = {"finetuned-layer0", "finetuned-layer1", "finetuned-layer0-half", "continued"}
    assert configs.keys() == names
    assert {config.init for config in configs.values()} == {from_run.init}


def test_more_minutes_do_not_take_fine_tunings_of_a_shorter_pretraining(
    config, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(prepare, "measure", lambda *_: Speed(8, 0.001, 0.01, 0.3))
    names = []
    for minutes in (2, 4):
        longer, work = dataclasses.replace(config, minutes=minutes), WorkFolder(f"{tmp_path}/{minutes}")
        workshop = prepare.make_workshop(longer, photos, work, None, lambda line: None)
        names.append([piece.name for piece in list_pieces(workshop, stop) if piece.is_training])
    tuned = [[name for name in each if "finetuned" in name] for each in names]
    assert [len(each) for each in tuned] == [3, 3]
    assert all(name.endswith("-20-epochs") for each in tuned for name in each)
    assert {*names[0]} & {*names[1]} == {"supervised-20-epochs"}


def test_another_training_in_the_same_folder_is_another_network():
    def fingerprint(bias):
        start = StartNetwork("runs/photos", "runs/photos")
        weights = ArrayWeights(
            "runs/photos", {"a/kernel": (2, 2), "b/bias": (2,)}, {"b/bias": bias}.__getitem__
        )
        start.__dict__["run"] = SimpleNamespace(weights=weights)  # instead of opening it
        return start.fingerprint()

    assert fingerprint(np.zeros(2)) == fingerprint(np.zeros(2)) != fingerprint(np.ones(2))


@pytest.mark.slow
def test_photos_without_labels_are_refused(tmp_path):
    flags = write_photos(tmp_path, count=4, labeled=4, duplicates=0)
    config = FitConfig(dataset=flags["dataset"], out=f"{tmp_path}/out")
    with pytest.raises(InputError, match=r"has no labels.*--labels=labels\.csv"):
        open_photos(config, lambda line: None)
    (tmp_path / "labels.csv").write_text("000.png,a\n001.png,a\n")
    with pytest.raises(InputError, match="1 class: give labels of at least 2 classes"):
        open_photos(FitConfig(**flags, out=f"{tmp_path}/out"), lambda line: None)
