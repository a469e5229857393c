"""A resumed run keeps to the images it began with, whatever came to its folder or left it."""

import gzip
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.runs.records import SplitRecord
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.training.engine.run_data import RunData
from tests.training.tiny import make_config, silent, split_of

COUNT = 40


def photos(folder, rows):
    for row in rows:
        path = folder / ("cat" if row % 2 else "dog") / f"{row:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(row).integers(0, 256, (9, 9, 3), np.uint8)
        path.write_bytes(tf.io.encode_png(pixels).numpy())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos(tmp_path / "photos", range(COUNT))
    return tmp_path / "photos"


@pytest.fixture
def load(folder, tmp_path):
    """A function that opens the data of the run as its command does: of a new run, then of a resumed one."""
    run, resumed = tmp_path / "run", []
    (run / "checkpoints").mkdir(parents=True)

    def go(recheck=False, say=silent, **settings):
        settings = {"eval_fraction": 0.3, "labels_per_class": 3, **settings}
        data = RunData(make_config(f"folder:{folder}", run, **settings), RunDir(run), {}, say)
        data.load(recheck)
        data.bind(bool(resumed), data.splits.train.num_examples)
        resumed.append(True)
        (run / "checkpoints" / "step-1.index").touch()
        return data

    return go


def ids(data):
    return list(data.splits.train.ids), list(data.splits.evaluation.ids)


def labeled(data):
    return list(data.splits.train.labeled().ids)


def test_unchanged_data(load, tmp_path):
    first = load()
    train, held_out = ids(first)
    assert (len(train) + len(held_out), len(labeled(first))) == (COUNT, 6)
    split = split_of(tmp_path / "run")
    again = load()
    assert (ids(again), labeled(again)) == (ids(first), labeled(first))
    assert again.splits.notes == first.splits.notes
    assert split_of(tmp_path / "run") == split


def test_missing_images_are_left_out(load, folder):
    first = load()
    train, held_out = ids(first)
    (folder / train[5]).unlink()
    (folder / train[9]).write_bytes(b"no image")
    (folder / held_out[0]).unlink()
    lines = []
    again = load(say=lines.append)
    assert ids(again) == ([*train[:5], *train[6:9], *train[10:]], held_out[1:])
    assert again.epoch_images == first.epoch_images == len(train), "as many steps as when the run began"
    assert {*again.splits.missing} == {train[5], train[9], held_out[0]}
    (note,) = (note for note in again.splits.notes if "original images" in note)
    assert note.startswith("3 of the 40 original images of the run are missing: ")
    assert train[5] in note
    assert lines == [f"data     {len(held_out) - 1} evaluation images, {len(held_out)} when the run began"]


def test_images_of_a_csv_that_are_missing_are_left_out(load, folder, tmp_path):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    (tmp_path / "labels.csv").write_text("\n".join(f"{name},{name[:3]}" for name in ["filename", *names]))
    settings = {"labels": str(tmp_path / "labels.csv"), "labels_per_class": None}
    (folder / names[0]).rename(tmp_path / "away.png")
    with pytest.raises(InputError, match=f"line 2: there is no image {names[0]}"):
        load(**settings)
    (tmp_path / "away.png").rename(folder / names[0])
    train, held_out = ids(load(**settings))
    (folder / train[5]).unlink()
    for recheck in (False, True):
        again = load(recheck, **settings)
        assert ids(again) == ([*train[:5], *train[6:]], held_out)
        assert f"labels.csv also names images that are missing now, 1: {train[5]}" in " ".join(
            again.splits.notes
        )


def test_a_missing_evaluation_split_is_refused(load, folder):
    for top in ("train", "val"):
        photos(folder / top, range(COUNT))
    for name in ("cat", "dog"):
        shutil.rmtree(folder / name)
    load()
    (folder / "val").rename(folder.parent / "val")
    for recheck in (False, True):
        with pytest.raises(InputError, match=r"its evaluation split is missing; .* restore the data"):
            load(recheck)
    (folder.parent / "val").rename(folder / "val")
    load()


def test_added_images_are_not_used(load, folder):
    first = load()
    photos(folder, range(COUNT, COUNT + 6))
    again = load()
    assert (ids(again), labeled(again)) == (ids(first), labeled(first))
    assert "6 images were added since the run began; they are not used" in again.splits.notes


def test_other_data_is_refused(load, folder):
    train, _ = ids(load())
    for name in train[:4]:
        (folder / name).unlink()
    load()
    (folder / train[4]).unlink()
    with pytest.raises(
        InputError, match=r"5 of the 40 original images of the run are missing: .*restore the data"
    ):
        load()
    photos(folder, range(COUNT))
    photos(folder.parent / "others", [COUNT])
    (folder.parent / "others" / "dog" / "40.png").rename(folder / train[0])
    with pytest.raises(
        InputError, match=rf"1 images have another content or label .* began: {train[0]}; restore"
    ):
        load()


def test_old_run_keeps_its_split(load, folder, tmp_path):
    """Runs from before images were held out by content list them in split.json, and the others beside it."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    held_out, train = names[::4], [name for name in names if name not in names[::4]]
    run_dir = RunDir(tmp_path / "run")
    load()
    lines = "".join(f"{int(name.startswith('dog'))}\t{json.dumps(name)}\n" for name in train)
    run_dir.write("training_images.tsv.gz", gzip.compress(lines.encode()))
    run_dir.write_split(
        SplitRecord(
            class_names=["cat", "dog"],
            training_images=30,
            evaluation_images=10,
            fingerprint="old",
            held_out=held_out,
            labeled=[*train[:3], *train[-3:]],
        )
    )
    photos(folder, [COUNT])
    data = load()
    assert ids(data) == (train, held_out)
    assert labeled(data) == [*train[:3], *train[-3:]]
    (folder / held_out[0]).unlink()
    (folder / train[0]).unlink()
    data = load()
    assert ids(data) == (train[1:], held_out[1:])
    assert labeled(data) == [*train[1:3], *train[-3:]]
    assert any(
        note.startswith("2 of the 40 original images of the run are missing") for note in data.splits.notes
    )


def test_recheck_reaches_the_files(load, monkeypatch):
    calls, real = [], load_dataset.open_dataset
    monkeypatch.setattr(
        load_dataset, "open_dataset", lambda *args, **kw: calls.append(kw["recheck"]) or real(*args, **kw)
    )
    load()
    load(recheck=True)
    assert calls == [False, True]


def test_groups_stay_although_images_were_added_or_lost(load, folder):
    first = load(group_by="near_duplicates")
    train, held_out = ids(first)
    photos(folder, range(COUNT, COUNT + 6))
    (folder / train[0]).unlink()
    assert ids(load(group_by="near_duplicates")) == (train[1:], held_out)


def test_groups_of_streams_are_refused(tmp_path):
    data = RunData(make_config("digits", tmp_path, group_by="near_duplicates"), RunDir(tmp_path), {})
    with pytest.raises(
        InputError, match=r"--group_by=near_duplicates: digits is streamed, .*leave --group_by out"
    ):
        data._find_groups(SimpleNamespace(indexed=False))
