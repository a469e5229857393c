"""What --images may be, and in which order its images come."""

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.tools.images.open_images import open_images
from tests.data.pictures import classes, flat, png


def numbers(images, wanted):
    """The ids of the sources that `rows` gives."""
    return [name for source in images.rows(np.array(wanted)) for name in source.ids]


def test_a_plain_path_is_a_folder_an_archive_or_a_file(tmp_path):
    flat(tmp_path / "f", 2)
    np.savez(tmp_path / "a.npz", x_train=np.zeros([3, 8, 8], np.uint8))
    assert open_images(f"{tmp_path}/f").spec == f"folder:{tmp_path}/f"
    assert open_images(f"{tmp_path}/a.npz").spec == f"npz:{tmp_path}/a.npz"
    found = open_images(f"{tmp_path}/f/1.png")
    assert (found.spec, list(found.ids)) == (f"file:{tmp_path}/f/1.png", ["1.png"])
    assert list(open_images(found.spec).ids) == ["1.png"]


def test_where_it_was_found_is_told_from_the_root(tmp_path, monkeypatch):
    flat(tmp_path / "f", 2)
    monkeypatch.chdir(tmp_path)
    for given in ("f", "folder:f", "./f/", "folder:./f"):
        assert open_images(given).spec == f"folder:{tmp_path}/f"


def test_a_folder_of_one_image_will_do(tmp_path):
    png(tmp_path / "f" / "only.png")
    assert list(open_images(f"{tmp_path}/f").ids) == ["only.png"]


def test_training_images_come_before_those_for_evaluation(tmp_path):
    classes(tmp_path / "f" / "val", {"a": 1, "b": 1})
    classes(tmp_path / "f" / "train", {"a": 2, "b": 1})
    found = open_images(f"{tmp_path}/f")
    assert list(found.ids) == [
        "train/a/0.png",
        "train/a/1.png",
        "train/b/0.png",
        "val/a/0.png",
        "val/b/0.png",
    ]
    assert (len(found), found.class_names, found.has_labels) == (5, ("a", "b"), True)
    assert numbers(found, [0, 1, 2, 3, 4]) == list(found.ids)
    assert numbers(found, [1, 4]) == ["train/a/1.png", "val/b/0.png"]
    assert numbers(found, [3]) == ["val/a/0.png"]
    assert numbers(found, []) == []


def test_the_fingerprint_tells_of_other_names_and_other_content(tmp_path):
    flat(tmp_path / "f", 3)
    before = open_images(f"{tmp_path}/f").fingerprint()
    assert open_images(f"{tmp_path}/f").fingerprint() == before
    (tmp_path / "f" / "1.png").rename(tmp_path / "f" / "one.png")
    renamed = open_images(f"{tmp_path}/f").fingerprint()
    assert renamed != before
    png(tmp_path / "f" / "one.png", 8, size=(9, 9))
    assert open_images(f"{tmp_path}/f").fingerprint() not in (before, renamed)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}/none", "not found"),
        ("none.jpg", "not found"),
        ("{}/text.png", "text.png is not an image of a known format; give an image file"),
        ("folder:", "folder: needs a path"),
        ("folder:{}/none", "There is no folder"),
        ("no_such_dataset_of_tfds", "Unknown dataset 'no_such_dataset_of_tfds'"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(tmp_path, given, said):
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(InputError) as found:
        open_images(given.format(tmp_path))
    assert said in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("given", ["digits", "npz:{}/a.npz", "{}/f/0.png"])
def test_labels_go_with_a_folder_alone(tmp_path, given):
    flat(tmp_path / "f", 1)
    with pytest.raises(InputError, match=r"--labels=x.csv needs a folder; --images=.* is not a folder\."):
        open_images(given.format(tmp_path), labels="x.csv")
