"""Faults that users of fit would hit: data that would be mixed up, trainings that fail, commands repeated otherwise."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from simclr_keras.config.fit import FitConfig
from simclr_keras.errors import DivergedError, InputError
from simclr_keras.fit import run as fit
from simclr_keras.fit.candidates.pieces import Piece
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.photos import open_photos
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
        InputError, match="is inside the folder of photos, where its pictures would become photos"
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
    pieces = [
        judged_piece("colors", 2, is_baseline=True),
        Piece("pretraining", "pretraining", 1.0, prepare=fail),
        judged_piece("of pretraining", 4, after="pretraining"),
        Piece("finetuned", "finetuned", 1.0, judge=fail),
        judged_piece("features", 3),
    ]
    trials, lines = make_trials(tmp_path, pieces, monkeypatch)
    trials.run()
    assert [result.piece.name for result in trials.judged] == ["colors", "features"]
    assert trials.best.piece.name == "features"
    assert [line for line in lines if line.startswith("failed")] == [
        f"failed   {name}: the loss is no longer finite" for name in ("pretraining", "finetuned")
    ]


def test_preparation_whose_candidates_all_failed_leaves_the_others(tmp_path, monkeypatch):
    pieces = [
        judged_piece("colors", 2, is_baseline=True),
        Piece("pretraining", "pretraining", 1.0, prepare=lambda: None),
        Piece("of pretraining", "of pretraining", 1.0, judge=fail, after="pretraining"),
        judged_piece("features", 3),
    ]
    trials, _ = make_trials(tmp_path, pieces, monkeypatch)
    trials.run()
    assert [result.piece.name for result in trials.judged] == ["colors", "features"]


def test_more_minutes_choose_another_teacher(tmp_path, monkeypatch):
    pieces = [judged_piece("colors", 2), judged_piece("short", 3), judged_piece("distilled", 4)]
    trials, _ = make_trials(tmp_path, pieces, monkeypatch)
    for piece in pieces[:2]:
        trials._try(piece)
    assert trials._teacher().piece.name == "short"
    trials._try(pieces[2])
    assert trials._teacher().piece.name == "short"  # not the distilled one, which is better
    pieces = [judged_piece("colors", 2), judged_piece("long", 4)]
    trials, _ = make_trials(tmp_path, pieces, monkeypatch, minutes=2.0)
    for piece in pieces:
        trials._try(piece)
    assert trials._teacher().piece.name == "long"
