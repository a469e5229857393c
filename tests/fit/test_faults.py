"""Faults that users of fit would hit: data that would be mixed up, trainings that fail, commands repeated otherwise."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.config.fit import FitConfig
from simclr_keras.errors import DivergedError, InputError, TrainingError
from simclr_keras.fit import page
from simclr_keras.fit import photos as fit_photos
from simclr_keras.fit import run as fit
from simclr_keras.fit.candidates import pieces
from simclr_keras.fit.candidates.pieces import Piece
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.candidates.trainings import _Log
from simclr_keras.fit.photos import open_photos
from simclr_keras.fit.speeds import Speed
from simclr_keras.fit.work_folder import WorkFolder
from tests.fit.photos_of_digits import write_photos

LABELS = np.array([0, 1, 0, 1])


def silent(line):
    pass


def write_noise(folder, count=6):
    """Writes photos that are not alike."""
    folder.mkdir(parents=True)
    for number in range(count):
        seed = sum(map(ord, str(folder))) + number
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.mark.parametrize("flags", [{"out": "model"}, {"out": "../model", "runs": "runs"}])
def test_output_inside_the_photos_is_refused(flags, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    with pytest.raises(
        InputError,
        match=r"is inside the folder of --dataset=folder:\., where its pictures would become images",
    ):
        FitConfig(dataset="folder:.", **flags).validate()


def test_test_folder_beside_classes_is_refused(tmp_path):
    for name in ("apple", "pear", "test/apple"):
        write_noise(tmp_path / "photos" / name)
    config = FitConfig(dataset=f"folder:{tmp_path}/photos", out=f"{tmp_path}/out")
    with pytest.raises(
        InputError, match=r"the photos in test/ would be trained on .* put the others into train/"
    ):
        open_photos(config, silent)


def test_class_without_readable_photos_is_no_class(tmp_path):
    for name in ("a", "c"):
        write_noise(tmp_path / "photos" / name)
    (tmp_path / "photos" / "b").mkdir()
    (tmp_path / "photos" / "b" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    photos = open_photos(FitConfig(dataset=f"folder:{tmp_path}/photos", out=f"{tmp_path}/out"), silent)
    assert photos.class_names == ("a", "c")
    assert [name[0] for name in photos.ids] == ["ac"[label] for label in photos.labels]


def test_class_of_test_images_alone_is_refused(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        write_noise(tmp_path / "photos" / name)
    (tmp_path / "labels.csv").write_text(
        "filename,label,split\n"
        + "".join(f"train/{c}/{i}.png,{c},train\n" for c in "ab" for i in range(6))
        + "".join(f"test/{c}/{i}.png,{c},test\n" for c in "ab" for i in range(5))
        + "test/b/5.png,c,test\n"
    )
    flags = {"dataset": f"folder:{tmp_path}/photos", "labels": f"{tmp_path}/labels.csv"}
    with pytest.raises(InputError, match="all labeled photos of c are test images"):
        open_photos(FitConfig(**flags, out=f"{tmp_path}/out"), silent)


@pytest.mark.slow
def test_renamed_photos_begin_anew(tmp_path):
    config = FitConfig(**write_photos(tmp_path), out=f"{tmp_path}/out")
    before = fit._fingerprint(config, open_photos(config, silent), None)
    assert fit._fingerprint(config, open_photos(config, silent), None) == before
    folder = config.dataset.removeprefix("folder:")
    first = sorted(os.listdir(folder))[0]
    with open(f"{tmp_path}/labels.csv", encoding="utf-8") as file:
        text = file.read()
    with open(f"{tmp_path}/labels.csv", "w", encoding="utf-8") as file:
        file.write(text.replace(first, f"0{first}"))
    os.rename(f"{folder}/{first}", f"{folder}/0{first}")
    assert fit._fingerprint(config, open_photos(config, silent), None) != before


def test_another_file_of_weights_is_another_network(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"one")
    start = StartNetwork("keras:ResNet50", weights=str(path))
    before = start.fingerprint()
    path.write_bytes(b"two")
    assert start.fingerprint() != before


def test_init_that_has_seen_labels_or_test_images(tmp_path, monkeypatch):
    def seen_rows(source, runs):
        return np.full(source.num_examples, bool(runs)), [run["run"] for run in runs]

    monkeypatch.setattr(fit_photos, "seen_rows", seen_rows)
    config = FitConfig(**write_photos(tmp_path), out=f"{tmp_path}/out", init="runs/a")
    run = {"run": "runs/a", "mode": "pretrain", "dataset": "folder:a"}
    photos = open_photos(config, silent, [run])
    seen, unknown = (f"warning: {doubt}" for doubt in photos.doubts)
    assert f"trained on {len(photos.test)} test images" in seen
    assert "to avoid this, give a smaller --test_fraction, or start from a run" in seen
    assert "training images of runs/a are unknown" in unknown
    assert {seen, unknown} < {*fit_photos.describe(photos)}
    assert "No training" not in page._claim(photos.doubts)
    assert unknown.partition(": ")[2] in page._claim(photos.doubts)
    monkeypatch.undo()
    for dataset in ("unknown", "folder:lost"):
        (doubt,) = open_photos(config, silent, [{**run, "dataset": dataset}]).doubts
        assert "training images of runs/a are unknown" in doubt
    monkeypatch.setattr(fit_photos, "seen_rows", seen_rows)
    open_photos(config, silent, [{**run, "mode": "distill"}])  # its teacher saw labels, but of other photos
    count = np.count_nonzero(photos.labels >= 0)
    with pytest.raises(
        InputError, match=f"was trained on the labels of {count} photos .*that it started from"
    ):
        open_photos(config, silent, [run, {**run, "mode": "finetune"}])


def test_trainings_do_not_judge_a_class_of_one_photo(monkeypatch):
    photos = SimpleNamespace(
        labels=np.array([0, 0, 1, 1, 2]), groups=np.arange(5), labeled=np.arange(5), class_names="abc"
    )
    folds = np.array([0, 1, 0, 1, 0])
    trainings = SimpleNamespace(
        folds=folds, run=lambda *_: "", rows_of_fold=lambda fold: np.flatnonzero(folds == fold)
    )
    monkeypatch.setattr(pieces, "open_run", lambda *_, **__: SimpleNamespace(model=list, image_size=8))
    monkeypatch.setattr(pieces, "outputs_of", lambda model, size, photos, rows: np.zeros((len(rows), 3)))
    speed = Speed(8, 0.001, 0.001, 0.1)
    config = SimpleNamespace(minutes=1)
    workshop = pieces.Workshop(config, photos, None, trainings, 8, speed, None, (8,), None, 0.0)
    piece = workshop.training_piece("a", "a", "supervised", "", {}, speed, "training", (1, 2), 5)
    assert np.isnan(piece.judge()[0]).all(axis=1).tolist() == [False] * 4 + [True]


def test_folders_and_photos_that_go_away_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/a cannot be made \(.*directory.*\); give another --runs"):
        WorkFolder(f"{tmp_path}/file/a")
    with pytest.raises(TrainingError, match=r"cannot write /dev/full \(.*\); free space"):
        _Log("/dev/full", silent)("line")

    def fail(*_):
        raise tf.errors.NotFoundError(None, None, "photo.jpg; No such file or directory")

    monkeypatch.setattr(fit, "open_photos", fail)
    config = FitConfig(**write_photos(tmp_path), out=f"{tmp_path}/out")
    with pytest.raises(TrainingError, match=r"a photo became unreadable \(photo.jpg; No such file"):
        fit.run(config, silent)

    def fail_otherwise(*_):
        raise tf.errors.InternalError(None, None, "cuDNN launch failure")

    monkeypatch.setattr(fit, "open_photos", fail_otherwise)
    with pytest.raises(tf.errors.InternalError):
        fit.run(config, silent)


def make_trials(folder, pieces, monkeypatch, minutes=1.0):
    """Returns Trials of some pieces, and the list of its printed lines."""
    monkeypatch.setattr(fit, "list_pieces", lambda workshop, teacher: pieces)
    workshop = SimpleNamespace(
        photos=SimpleNamespace(labels=LABELS, labeled=np.arange(len(LABELS))),
        config=SimpleNamespace(minutes=minutes),
        budget=minutes * 60,
        speeds=[],
        trainings=SimpleNamespace(folds=np.arange(len(LABELS)) % 2),
    )
    lines = []
    return fit.Trials(workshop, WorkFolder(str(folder)), lines.append), lines


def judged_piece(name, right, **settings):
    """A piece that is right about so many photos."""
    scores = np.log(
        np.where(np.arange(2) == np.where(np.arange(4) < right, LABELS, 1 - LABELS)[:, None], 0.9, 0.1)
    )
    return Piece(name, name, 1.0, judge=lambda: (scores, {}), **settings)


def fail():
    raise DivergedError("the loss is no longer finite")


def test_failed_training_leaves_the_others(tmp_path, monkeypatch):
    tried = [
        judged_piece("colors", 2, is_baseline=True),
        Piece("pretraining", "pretraining", 1.0, prepare=fail),
        judged_piece("of pretraining", 4, after="pretraining"),
        judged_piece("of pretraining + roots", 4, after="of pretraining"),
        Piece("finetuned", "finetuned", 1.0, judge=fail),
        judged_piece("features", 3),
    ]
    trials, lines = make_trials(tmp_path, tried, monkeypatch)
    trials.run()
    assert [result.piece.name for result in trials.judged] == ["colors", "features"]
    assert trials.best.piece.name == "features"
    assert [line for line in lines if line.startswith("failed")] == [
        f"failed   {name}: the loss is no longer finite" for name in ("pretraining", "finetuned")
    ]
    assert not trials.plan.left_out  # or the page would give too few minutes as the reason


def test_preparation_whose_candidates_all_failed_leaves_the_others(tmp_path, monkeypatch):
    tried = [
        judged_piece("colors", 2, is_baseline=True),
        Piece("pretraining", "pretraining", 1.0, prepare=lambda: None),
        Piece("of pretraining", "of pretraining", 1.0, judge=fail, after="pretraining"),
        judged_piece("features", 3),
    ]
    trials, _ = make_trials(tmp_path, tried, monkeypatch)
    trials.run()
    assert [result.piece.name for result in trials.judged] == ["colors", "features"]


def test_more_minutes_choose_another_teacher(tmp_path, monkeypatch):
    tried = [judged_piece("colors", 2), judged_piece("short", 3), judged_piece("distilled", 4)]
    trials, _ = make_trials(tmp_path, tried, monkeypatch)
    for piece in tried[:2]:
        trials._try(piece)
    assert trials._teacher().piece.name == "short"
    trials._try(tried[2])
    assert trials._teacher().piece.name == "short"  # not the distilled one, which is better
    tried = [judged_piece("colors", 2), judged_piece("long", 4)]
    trials, _ = make_trials(tmp_path, tried, monkeypatch, minutes=2.0)
    for piece in tried:
        trials._try(piece)
    assert trials._teacher().piece.name == "long"
    trials.work.write("teacher-2-minutes", {"name": "a name of an earlier version"})
    assert trials._teacher().piece.name == "long"
