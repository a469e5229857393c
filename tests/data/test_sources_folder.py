"""folder:PATH: layouts, what is passed over, and what is refused in one line."""

import os

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources import load
from simclr_keras.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    return path / "simclr_keras"


def _pixels(seed, channels=3, size=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


def _png(path, seed=0, channels=3, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(_pixels(seed, channels, size)).numpy())


def _jpeg(path, seed=0, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_jpeg(_pixels(seed, channels, (32, 40))).numpy())


def _classes(root, counts):
    for name, count in counts.items():
        for i in range(count):
            _png(root / name / f"{i}.png", i)


def _flat(root, count):
    for i in range(count):
        _png(root / f"{i}.png", i)


def _fetch_all(source):
    return list(tf.data.Dataset.range(source.num_examples).map(source.fetch).as_numpy_iterator())


def test_class_folders_give_sorted_ids_names_and_numbers(tmp_path):
    _classes(tmp_path, {"dog": 3, "cat": 3})
    _png(tmp_path / "cat" / "deep" / "er" / "x.PNG")
    splits = load(f"folder:{tmp_path}", eval_fraction=0.5)
    assert splits.class_names == ("cat", "dog")
    label_of = {}
    for source in (splits.train, splits.evaluation):
        assert list(source.ids) == sorted(source.ids)
        label_of.update(zip(source.ids, source.labels))
    assert sorted(label_of) == [f"cat/{i}.png" for i in range(3)] + ["cat/deep/er/x.PNG"] + [
        f"dog/{i}.png" for i in range(3)
    ]
    assert all(label == ("dog" in name) for name, label in label_of.items())


@pytest.mark.parametrize("memory_limit", [0, 2**31])
def test_the_very_bytes_of_the_files_are_fetched_from_memory_or_disk(tmp_path, memory_limit):
    _classes(tmp_path, {"a": 3, "b": 4})
    splits = load(f"folder:{tmp_path}", memory_limit=memory_limit)
    in_memory = type(splits.train._store).__name__ == "BytesStore"
    assert in_memory == (memory_limit > 0)
    for source in (splits.train, splits.evaluation):
        assert source.encoded
        assert source.images is None
        assert _fetch_all(source) == [(tmp_path / name).read_bytes() for name in source.ids]


def test_grey_alpha_jpeg_and_mixed_sizes_are_all_kept(tmp_path):
    _png(tmp_path / "alpha.png", channels=4, size=(3, 9))
    _png(tmp_path / "grey.png", channels=1, size=(9, 3))
    _png(tmp_path / "grey_alpha.png", channels=2)
    _jpeg(tmp_path / "grey.jpg", channels=1)
    _jpeg(tmp_path / "color.JPEG")
    _png(tmp_path / "png_named.jpg")
    splits = load(f"folder:{tmp_path}")
    assert splits.train.num_examples == 6
    assert splits.train.labels is None
    assert splits.evaluation is None
    assert splits.class_names is None
    for file in _fetch_all(splits.train):
        assert tf.io.decode_image(file, 3).shape[-1] == 3


@pytest.mark.parametrize("name", ["val", "validation", "test", "eval"])
def test_train_and_evaluation_folders_are_the_splits(tmp_path, name):
    _classes(tmp_path / "train", {"cat": 2, "dog": 3, "owl": 2})
    _classes(tmp_path / name, {"owl": 1, "dog": 2})
    splits = load(f"folder:{tmp_path}")
    assert splits.class_names == ("cat", "dog", "owl")
    assert splits.train.labels.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert list(splits.evaluation.ids) == [f"{name}/dog/0.png", f"{name}/dog/1.png", f"{name}/owl/0.png"]
    assert splits.evaluation.labels.tolist() == [1, 1, 2]
    assert splits.held_out == ()


def test_unlabelled_training_beside_labelled_evaluation(tmp_path):
    _flat(tmp_path / "train", 4)
    _classes(tmp_path / "val", {"a": 1, "b": 1})
    splits = load(f"folder:{tmp_path}")
    assert splits.train.labels is None
    assert splits.evaluation.labels.tolist() == [0, 1]
    assert splits.class_names == ("a", "b")


def test_of_several_evaluation_folders_the_unused_are_named(tmp_path):
    for name in ("train", "val", "test"):
        _classes(tmp_path / name, {"a": 2, "b": 2})
    splits = load(f"folder:{tmp_path}")
    assert splits.evaluation.ids[0].startswith("val/")
    assert any("val/" in note and "test" in note for note in splits.notes)


def test_train_alone_is_gone_into(tmp_path):
    _classes(tmp_path / "train", {"a": 4, "b": 4})
    assert load(f"folder:{tmp_path}").class_names == ("a", "b")


def test_one_sub_folder_is_no_class_but_a_place(tmp_path):
    _flat(tmp_path / "images", 3)
    splits = load(f"folder:{tmp_path}")
    assert splits.train.num_examples == 3
    assert splits.train.labels is None
    assert any("unlabelled" in note for note in splits.notes)


def test_hidden_and_other_files_are_passed_over_and_counted(tmp_path):
    _classes(tmp_path, {"a": 3, "b": 3})
    _png(tmp_path / "loose.png")
    _png(tmp_path / ".hidden" / "x.png")
    _png(tmp_path / "a" / "._x.png")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    splits = load(f"folder:{tmp_path}")
    assert splits.train.num_examples + splits.evaluation.num_examples == 6
    assert splits.class_names == ("a", "b")
    notes = "\n".join(splits.notes)
    assert "3 hidden or non-image files" in notes
    assert "without images passed over: empty" in notes
    assert "1 images beside the class folders" in notes


def _unreadable_files(root):
    _jpeg(root / "short.jpg")
    whole = (root / "short.jpg").read_bytes()
    (root / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.png").write_bytes(b"")
    (root / "text.jpg").write_text("not an image at all")
    (root / "gif.jpg").write_bytes(b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff;")
    (root / "folder.jpg").mkdir()


def test_other_picture_formats_are_counted_and_said_how_to_use(tmp_path):
    _flat(tmp_path, 2)
    for name in ("a.webp", "b.WEBP", "c.heic", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    notes = "\n".join(load(f"folder:{tmp_path}").notes)
    assert "1 .heic, 2 .webp files, which are not read: convert them to JPEG or PNG" in notes
    assert "1 hidden or non-image files" in notes


def test_strange_file_names_do_no_harm(tmp_path):
    _flat(tmp_path, 2)
    _png(tmp_path / "new\nline.png")
    (tmp_path / "new\nline.jpg").write_bytes(b"")
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        with open(name, "wb") as file:
            file.write((tmp_path / "0.png").read_bytes())
        os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    splits = load(f"folder:{tmp_path}")
    assert list(splits.train.ids) == ["0.png", "1.png", "new\nline.png"]
    assert [len(file) > 0 for file in _fetch_all(splits.train)] == [True] * 3
    assert splits.unreadable == (
        ("caf\\udce9.png", "has a name that is not UTF-8"),
        ("new line.jpg", "is empty"),
    )
    assert not any("\n" in note for note in splits.notes)


def test_labels_stay_with_their_images_when_others_are_unreadable(tmp_path):
    _classes(tmp_path / "train", {"a": 2, "b": 2})
    _classes(tmp_path / "test", {"a": 1, "b": 1})
    (tmp_path / "train" / "a" / "0.png").write_bytes(b"broken")
    train = load(f"folder:{tmp_path}").train
    assert list(zip(train.ids, train.labels.tolist())) == [
        ("train/a/1.png", 0),
        ("train/b/0.png", 1),
        ("train/b/1.png", 1),
    ]


def _nothing(root):
    pass


def _empty(root):
    root.mkdir()


def _no_image(root):
    root.mkdir()
    (root / "a.txt").write_text("text")


def _only_broken(root):
    root.mkdir()
    _unreadable_files(root)


def _file(root):
    root.write_text("text")


def _one_image(root):
    _flat(root, 1)


def _evaluation_without_classes(root):
    _classes(root / "train", {"a": 2, "b": 2})
    _flat(root / "val", 2)


def _strange_evaluation_class(root):
    _classes(root / "train", {"a": 2, "b": 2})
    _classes(root / "val", {"a": 2, "c": 2})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_nothing, "There is no folder"),
        (_empty, r"holds no \.jpg, \.jpeg or \.png files"),
        (_no_image, r"\(1 other files\)"),
        (_only_broken, "None of the 5 image files"),
        (_file, "is a file"),
        (_one_image, "at least 2"),
        (_evaluation_without_classes, "evaluation folder has none"),
        (_strange_evaluation_class, "not in train/: c"),
    ],
)
def test_folders_that_will_not_do_are_refused_in_one_line(tmp_path, make, message):
    make(tmp_path / "photos")
    with pytest.raises(InputError, match=message) as raised:
        load(f"folder:{tmp_path / 'photos'}")
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_path():
    with pytest.raises(InputError, match="needs a path"):
        load("folder:")


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(path):
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

    monkeypatch.setattr(tf.io.gfile, "listdir", denied)
    with pytest.raises(InputError, match=r"Cannot read the folder.*Permission denied"):
        load(f"folder:{tmp_path}")
