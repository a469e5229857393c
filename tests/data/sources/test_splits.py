"""Held-out images and visible labels are a function of content: of no seed, label, name, place or other image."""

import hashlib
import shutil

import numpy as np
import pytest

from simclr_keras.data.content_hash import hashes_of
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.sources.source import ArrayStore, RowIds, Source, Splits
from simclr_keras.data.sources.splits import (
    hold_out,
    hold_out_ids,
    keep_images,
    keep_labels,
    keep_labels_of_ids,
    labeled_rows,
)
from simclr_keras.errors import InputError
from tests.data.pictures import classes, flat, png
from tests.data.small_sources import N, stream


def _made(n, labels=None, class_names=None):
    images = np.random.default_rng(0).integers(0, 256, (n, 5, 4, 3), np.uint8)
    return Source("made", ArrayStore(images), RowIds("train", n), labels, class_names)


def _twin_below(content, fraction, person=b""):
    """Whether content is held out, by Python's own numbers."""
    digest = hashlib.blake2b(content, digest_size=8, person=person).digest()
    return int.from_bytes(digest, "little") / 2**64 < fraction


def _contents(folder, source):
    return {(folder / name).read_bytes() for name in source.ids}


def test_arrays_are_held_out_as_by_the_twin():
    source = _made(300, np.arange(300) % 3, "abc")
    splits = hold_out(Splits(source, class_names=source.class_names), 0.2)
    expected = [
        f"train/{row}"
        for row, image in enumerate(source.images)
        if _twin_below(image.tobytes(), 0.2, b"5,4,3")
    ]
    assert list(splits.evaluation.ids) == expected
    assert splits.held_out == len(expected)
    assert sorted([*splits.train.ids, *expected]) == sorted(source.ids)


@pytest.mark.parametrize("memory_limit", [0, 2**31])
def test_files_are_held_out_as_by_the_twin(tmp_path, memory_limit):
    classes(tmp_path, {"a": 30, "b": 30})
    for _ in range(2):  # the second time, hashes come from the manifest
        splits = load_dataset(f"folder:{tmp_path}", eval_fraction=0.3, memory_limit=memory_limit)
        for source, is_evaluation in ((splits.train, False), (splits.evaluation, True)):
            assert {_twin_below(file, 0.3) for file in _contents(tmp_path, source)} == {is_evaluation}


def test_copy_labels_names_seed_and_new_photos_change_nothing(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    flat(original, 80)
    unlabeled = load_dataset(f"folder:{original}", eval_fraction=0.3)
    assert unlabeled.evaluation is None
    train = _contents(original, unlabeled.train)
    assert len(train) == unlabeled.train.num_examples == 80 - unlabeled.held_out

    copy.mkdir()
    for number, path in enumerate(sorted(original.iterdir())):  # a copy, renamed, with other labels
        shutil.copy(path, copy / f"photo{79 - number:03}.png")
    for number in range(80, 120):
        png(copy / f"new{number}.png", number)
    rows = [f"{path.name},{'xyz'[i % 3]}" for i, path in enumerate(sorted(copy.glob("photo*"))) if i % 2]
    (copy / "labels.csv").write_text("\n".join(rows))
    labeled = load_dataset(f"folder:{copy}", labels=str(copy / "labels.csv"), eval_fraction=0.3, seed=5)
    images = {path.read_bytes() for path in original.iterdir()}
    assert _contents(copy, labeled.train) & images == train
    evaluation = _contents(copy, labeled.evaluation)
    assert evaluation
    assert evaluation < images - train
    assert np.all(labeled.evaluation.labels >= 0), "held-out images without a label are not used"


def test_copies_of_an_image_are_on_one_side(tmp_path):
    for number in range(40):
        for name in ("first", "second"):
            png(tmp_path / f"{number}{name}.png", number)
    splits = load_dataset(f"folder:{tmp_path}", eval_fraction=0.5)
    numbers = [name[:-9] if name.endswith("first.png") else name[:-10] for name in splits.train.ids]
    assert splits.held_out
    assert sorted(numbers) == sorted(2 * list(set(numbers)))


def test_labels_equal_twin():
    rng = np.random.default_rng(1)
    labels, hashes = rng.integers(-1, 3, 200), hashes_of(str(i).encode() for i in range(200))
    for seed in (0, 3):
        expected = []
        for label in range(3):
            keyed = []
            for row in np.flatnonzero(labels == label):
                content = seed.to_bytes(8, "little") + int(hashes[row]).to_bytes(8, "little")
                keyed.append((hashlib.blake2b(content, digest_size=8).digest()[::-1], row))
            expected += [row for _, row in sorted(keyed)[:7]]
        assert labeled_rows(labels, hashes, None, 7, seed).tolist() == sorted(expected)


def test_labels_larger_share_contains_smaller():
    source = _made(300, np.arange(300) % 3, "abc")
    one, ten, other = (
        set(keep_labels(source, fraction=share, seed=seed).labeled().ids)
        for share, seed in ((0.02, 5), (0.2, 5), (0.02, 6))
    )
    assert one < ten
    assert (len(one), len(ten)) == (6, 60)
    assert one != other


def test_labels_are_the_same_in_another_place(tmp_path):
    classes(tmp_path / "a", {"x": 20, "y": 20})
    for name in ("x", "y"):
        (tmp_path / "b" / name).mkdir(parents=True)
        for path in (tmp_path / "a" / name).iterdir():
            shutil.copy(path, tmp_path / "b" / name / f"renamed{path.name}")
    sources = [load_dataset(f"folder:{tmp_path / place}", labels_per_class=3, seed=2).train for place in "ab"]
    one, other = (_contents(tmp_path / place, source.labeled()) for place, source in zip("ab", sources))
    assert one == other


def test_class_without_training_image_is_named():
    hashes = np.array([1, 2**60, 2**63, 2**63, 2**63 + 1], np.uint64)
    store = ArrayStore(np.zeros((5, 2, 2, 3), np.uint8), hashes)
    source = Source("made", store, RowIds("train", 5), [0, 0, 1, 1, -1], ("rare", "usual"))
    splits = hold_out(Splits(source, class_names=source.class_names), 0.3)
    assert splits.evaluation.labels.tolist() == [0, 0]
    assert any("1 classes have no training image" in note and "rare" in note for note in splits.notes)


def test_evaluation_without_labeled_image_is_noted():
    hashes = np.array([1, 2**63, 2**63 + 1], np.uint64)
    store = ArrayStore(np.zeros((3, 2, 2, 3), np.uint8), hashes)
    splits = hold_out(Splits(Source("made", store, RowIds("train", 3), [-1, 0, 0], ("a",))), 0.1)
    assert (splits.evaluation, splits.held_out) == (None, 1)
    assert any("no labeled image is held out" in note for note in splits.notes)


def test_streams_and_arrays_are_divided_by_encoded_bytes(tmp_path):
    source = stream(tmp_path, np.arange(N) % 5)
    splits = hold_out(Splits(source), 0.3)
    files = list(source.stream(shuffle=False, repeat=False).as_numpy_iterator())
    expected = [row for row, record in enumerate(files) if _twin_below(record["image"], 0.3)]
    assert list(splits.evaluation.ids) == [f"train/{row}" for row in expected]
    assert splits.evaluation.labels.tolist() == [row % 5 for row in expected]
    assert splits.train.num_examples == N - len(expected)
    assert splits.train.fingerprint() != splits.evaluation.fingerprint()


def test_old_split_is_kept():
    source = _made(60, np.arange(60) % 3, "abc")
    ids = [f"train/{row}" for row in (3, 50, 7)]
    splits = hold_out_ids(Splits(source), [*ids])
    assert set(splits.evaluation.ids) == set(ids)
    assert (splits.held_out, splits.train.num_examples) == (3, 57)
    first = load_dataset("digits", held_out=[f"train/{row}" for row in range(100)])
    assert list(first.evaluation.ids) == [f"train/{row}" for row in range(100)]
    assert load_dataset("digits", held_out=[]).evaluation is None
    ids = [f"train/{row}" for row in (5, 200, 201)]
    assert list(load_dataset("digits", held_out=[], labeled=ids).train.labeled().ids) == ids


@pytest.mark.parametrize("keep", [hold_out_ids, keep_images, keep_labels_of_ids])
def test_few_missing_images_are_noted_many_refused(keep):
    ids = [f"train/{row}" for row in range(20)]
    for missing in (2, 3):
        splits = Splits(_made(60, np.zeros(60), "a").subset(np.arange(missing, 60)))
        if missing == 2:
            splits = keep(splits, ids)
            assert splits.missing == ("train/0", "train/1")
            assert any("2 of the 20" in note and "train/0, train/1" in note for note in splits.notes)
        else:
            with pytest.raises(InputError, match=r"3 of the 20 .* images of the run are missing: train/0"):
                keep(splits, ids)


def test_resumed_run_keeps_its_images_in_order(tmp_path):
    flat(tmp_path, 30)
    first = load_dataset(f"folder:{tmp_path}", eval_fraction=0.3)
    png(tmp_path / "00new.png", 99)
    gone = first.train.ids[3]
    (tmp_path / gone).unlink()
    ids = [f"{i}.png" for i in sorted(range(30), key=str)]
    again = load_dataset(f"folder:{tmp_path}", eval_fraction=0.3, images=ids)
    assert list(again.train.ids) == [name for name in first.train.ids if name != gone]
    assert again.held_out == first.held_out
    assert again.missing == (gone,)
    assert any("1 images were added" in note for note in again.notes)


def test_too_few_training_images_are_refused():
    with pytest.raises(InputError, match="8 of the 9 images of made are held out: at least 2"):
        hold_out_ids(Splits(_made(9)), [f"train/{row}" for row in range(8)])


def test_fingerprint_of_a_source_in_another_place(tmp_path):
    for place in "ab":
        flat(tmp_path / place, 20)
    png(tmp_path / "b" / "5.png", 77)
    one, other = (load_dataset(f"folder:{tmp_path / place}").train for place in "ab")
    again = load_dataset(f"folder:{tmp_path / 'a'}", memory_limit=0).train
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
