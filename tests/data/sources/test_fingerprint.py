"""A dataset is known again by its images, wherever they lie and whatever is held out of them."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources import folder as folder_module
from simclr_keras.data.sources.fingerprint import SAMPLED, contents_of
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError

IMAGES = np.random.default_rng(3).integers(0, 256, (50, 6, 5, 3), np.uint8)
LABELS = np.arange(50) % 5


def archive(path, images=IMAGES, labels=LABELS, **more):
    np.savez(path, x_train=images, y_train=labels, **more)
    return f"npz:{path}"


def files(path, images=IMAGES, labels=LABELS):
    for i, (image, label) in enumerate(zip(images, labels)):
        (path / f"class{label}").mkdir(parents=True, exist_ok=True)
        (path / f"class{label}" / f"{i:04}.png").write_bytes(tf.io.encode_png(image).numpy())
    return f"folder:{path}"


def contents(spec, **settings):
    found = contents_of(load_dataset(spec, **settings))
    assert found["evaluation_contents"] is None
    return found["contents"]


@pytest.fixture(params=["archive", "folder", "folder that is read as it is needed"])
def write(request, monkeypatch):
    if request.param.endswith("needed"):
        monkeypatch.setattr(folder_module, "_fits", lambda paths, limit: False)
    return archive if request.param == "archive" else files


def test_place_labels_seen_and_images_held_out_make_no_difference(write, tmp_path):
    found = contents(write(tmp_path / "a.npz"))
    assert len(found) == 32
    there = write(tmp_path / "elsewhere.npz")
    same = [
        {"eval_fraction": 0.4},
        {"eval_fraction": 0.4, "seed": 3},
        {"labels_per_class": 2},
        {"held_out": ()},
    ]
    assert {contents(there, **settings) for settings in same} == {found}


def test_other_pixels_fewer_images_and_other_names_do(write, tmp_path):
    found = {contents(write(tmp_path / "a.npz"))}
    found.add(contents(write(tmp_path / "b.npz", IMAGES ^ 1)))
    found.add(contents(write(tmp_path / "c.npz", IMAGES[:49], LABELS[:49])))
    assert len(found) == 3
    assert contents(files(tmp_path / "d")) != contents(files(tmp_path / "e", labels=LABELS[::-1]))


@pytest.mark.parametrize(("write", "count"), [(archive, 50), (files, SAMPLED)])
def test_every_image_of_an_archive_counts_and_of_a_folder_as_many_as_are_sampled(write, count, tmp_path):
    images, labels = IMAGES[:count], LABELS[:count]
    found = {contents(write(tmp_path / "a.npz", images, labels))}
    for row in range(count):
        other = images.copy()
        other[row, 0, 0, 0] ^= 1
        found.add(contents(write(tmp_path / "b.npz", other, labels)))
    assert len(found) == count + 1


def test_an_evaluation_split_of_its_own_has_a_digest_of_its_own(tmp_path):
    test = {"x_test": IMAGES[:8], "y_test": LABELS[:8]}
    found = contents_of(load_dataset(archive(tmp_path / "a.npz", **test)))
    other = contents_of(load_dataset(archive(tmp_path / "a.npz", **test | {"x_test": IMAGES[8:16]})))
    assert found["contents"] == other["contents"] == contents(archive(tmp_path / "b.npz"))
    assert len({*found.values(), *other.values()}) == 3


def test_data_that_is_known_by_its_name_has_none():
    assert contents_of(load_dataset("digits")) == {"contents": None, "evaluation_contents": None}


def test_an_image_that_has_just_gone_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "_fits", lambda paths, limit: False)
    splits = load_dataset(files(tmp_path / "a"))
    (tmp_path / "a/class0/0000.png").unlink()
    with pytest.raises(
        InputError, match=r"class0/0000.png of folder:.* was there a moment ago .*repeat"
    ) as refusal:
        contents_of(splits)
    assert "\n" not in str(refusal.value)
