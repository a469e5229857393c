"""folder:PATH: layouts, what is skipped, and what is refused in one line."""

import os
import sys

import pytest
import tensorflow as tf

from simclr_keras.data.files.listing import list_images
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError
from tests.as_windows import link
from tests.data.pictures import classes, flat, jpeg, load, png, unreadable_files


def _fetch_all(source):
    return list(tf.data.Dataset.range(source.num_examples).map(source.fetch).as_numpy_iterator())


def test_class_folders_give_sorted_ids_names_and_numbers(tmp_path):
    classes(tmp_path, {"dog": 3, "cat": 3})
    png(tmp_path / "cat" / "deep" / "er" / "x.PNG")
    splits = load(tmp_path)
    assert splits.class_names == ("cat", "dog")
    label_of = {}
    assert list(splits.train.ids) == sorted(splits.train.ids)
    label_of.update(zip(splits.train.ids, splits.train.labels))
    assert sorted(label_of) == [f"cat/{i}.png" for i in range(3)] + ["cat/deep/er/x.PNG"] + [
        f"dog/{i}.png" for i in range(3)
    ]
    assert all(label == ("dog" in name) for name, label in label_of.items())


@pytest.mark.parametrize("memory_limit", [0, 2**31])
def test_the_very_bytes_of_the_files_are_fetched_from_memory_or_disk(tmp_path, memory_limit):
    classes(tmp_path, {"a": 3, "b": 4})
    splits = load(tmp_path, memory_limit=memory_limit)
    in_memory = type(splits.train._store).__name__ == "BytesStore"
    assert in_memory == (memory_limit > 0)
    source = splits.train
    assert source.encoded
    assert source.images is None
    assert _fetch_all(source) == [(tmp_path / name).read_bytes() for name in source.ids]


def test_gray_alpha_jpeg_and_mixed_sizes_are_all_kept(tmp_path):
    png(tmp_path / "alpha.png", channels=4, size=(3, 9))
    png(tmp_path / "gray.png", channels=1, size=(9, 3))
    png(tmp_path / "gray_alpha.png", channels=2)
    jpeg(tmp_path / "gray.jpg", channels=1)
    jpeg(tmp_path / "color.JPEG")
    png(tmp_path / "png_named.jpg")
    splits = load(tmp_path)
    assert splits.train.num_examples == 6
    assert splits.train.labels is None
    assert splits.evaluation is None
    assert splits.class_names is None
    for file in _fetch_all(splits.train):
        assert tf.io.decode_image(file, 3).shape[-1] == 3


@pytest.mark.parametrize(
    ("training", "name"),
    [
        *(("train", name) for name in ("val", "validation", "test", "eval", "valid")),
        *(("Train", "Test"), ("TRAINING", "testing"), ("training", "Dev")),
    ],
)
def test_train_and_evaluation_folders_are_the_splits(tmp_path, training, name):
    classes(tmp_path / training, {"cat": 2, "dog": 3, "owl": 2})
    classes(tmp_path / name, {"owl": 1, "dog": 2})
    splits = load(tmp_path)
    assert splits.class_names == ("cat", "dog", "owl")
    assert splits.train.labels.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert list(splits.evaluation.ids) == [f"{name}/dog/0.png", f"{name}/dog/1.png", f"{name}/owl/0.png"]
    assert splits.evaluation.labels.tolist() == [1, 1, 2]
    assert splits.held_out is None


def test_unlabeled_training_beside_labeled_evaluation(tmp_path):
    flat(tmp_path / "train", 4)
    classes(tmp_path / "val", {"a": 1, "b": 1})
    splits = load(tmp_path)
    assert splits.train.labels is None
    assert splits.evaluation.labels.tolist() == [0, 1]
    assert splits.class_names == ("a", "b")


def test_of_several_evaluation_folders_the_unused_are_named(tmp_path):
    for name in ("train", "val", "test"):
        classes(tmp_path / name, {"a": 2, "b": 2})
    splits = load(tmp_path)
    assert splits.evaluation.ids[0].startswith("val/")
    assert any("val/" in note and "test" in note for note in splits.notes)


@pytest.mark.parametrize("name", ["Train", "test"])
def test_a_single_split_is_gone_into(tmp_path, name):
    classes(tmp_path / name, {"a": 4, "b": 4})
    assert load(tmp_path).class_names == ("a", "b")


def test_evaluation_folder_without_classes_is_not_used(tmp_path):
    classes(tmp_path / "train", {"a": 2, "b": 2})
    flat(tmp_path / "test", 2)
    splits = load(tmp_path)
    assert (splits.train.num_examples, splits.evaluation) == (4, None)
    assert any("no class sub-folders: test/" in note for note in splits.notes)
    png(tmp_path / "valid" / "b" / "0.png")  # one class of the training folder is a class too
    splits = load(tmp_path)
    assert splits.evaluation.labels.tolist() == [1]
    assert any(note.startswith("evaluating on valid/") and "test/" in note for note in splits.notes)


def test_class_folders_in_another_unicode_form(tmp_path):
    classes(tmp_path / "train", {"cafe\u0301": 2, "b": 2})
    classes(tmp_path / "val", {"caf\u00e9": 1, "b": 1})
    splits = load(tmp_path)
    assert splits.class_names == ("b", "cafe\u0301")
    assert splits.evaluation.labels.tolist() == [0, 1]


def test_class_folders_that_are_no_classes_are_noted(tmp_path):
    doubts = {}
    for name, folders in (
        ("parts", ("part1/cat", "part1/dog", "part2/cat", "part2/dog")),
        ("dates", ("2021-05", "2021-06-30", "20220101", "1999")),
        ("good", ("cat/small", "cat/large", "dog/small", "2021")),
        ("one_split", ("cat", "dog", "Test")),
        ("unlabeled", ("train/a", "train/b", "unlabeled/a")),
    ):
        for folder in folders:
            png(tmp_path / name / folder / "0.png")
        doubts[name] = " ".join(load(tmp_path / name).notes)
    assert "part1, part2 all have the sub-folders cat, dog" in doubts["parts"]
    assert "look like dates: if they are no classes, give --unlabeled" in doubts["dates"]
    assert doubts["good"] == ""
    right = "if they are splits, arrange all images as train/CLASS and val/CLASS"
    assert doubts["one_split"] == f"the class folders Test, cat, dog include names of splits (Test): {right}"
    assert doubts["unlabeled"].startswith(
        f"the class folders train, unlabeled include names of splits (train): {right}"
    )


def test_images_beside_split_folders_are_noted(tmp_path):
    classes(tmp_path / "train", {"a": 2, "b": 2})
    flat(tmp_path, 2)
    note = f"skipped 2 images beside the split folders of {tmp_path}"
    splits = load(tmp_path)
    assert (splits.train.num_examples, splits.notes) == (4, (note,))
    classes(tmp_path / "val", {"a": 1, "b": 1})
    assert load(tmp_path).notes == (note,)
    labels = tmp_path / "labels.csv"
    labels.write_text("train/a/0,x\nval/a/0,x\n")
    assert note in load(tmp_path, labels=str(labels)).notes


def test_unlabeled_sub_folders_are_no_classes(tmp_path):
    classes(tmp_path / "dates", {"2021": 2, "2022": 3})
    png(tmp_path / "dates" / "loose.png")
    splits = load(tmp_path / "dates", unlabeled=True)
    assert (splits.train.num_examples, splits.train.labels, splits.class_names) == (6, None, None)
    assert not splits.notes
    for split in ("train", "test"):
        classes(tmp_path / "split" / split, {"2021": 2, "2022": 2})
    splits = load(tmp_path / "split", unlabeled=True)
    assert (splits.train.num_examples, splits.train.labels) == (4, None)
    assert (splits.evaluation.num_examples, splits.evaluation.labels) == (4, None)


def test_one_sub_folder_is_no_class_but_a_place(tmp_path):
    flat(tmp_path / "images", 3)
    splits = load(tmp_path)
    assert splits.train.num_examples == 3
    assert splits.train.labels is None
    assert any("its images have no labels" in note for note in splits.notes)


def test_hidden_and_other_files_are_passed_over_and_counted(tmp_path):
    classes(tmp_path, {"a": 3, "b": 3})
    png(tmp_path / "loose.png")
    png(tmp_path / ".hidden" / "x.png")
    png(tmp_path / "a" / "._x.png")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    splits = load(tmp_path)
    assert splits.train.num_examples == 6
    assert splits.class_names == ("a", "b")
    notes = "\n".join(splits.notes)
    assert "2 hidden or non-image files" in notes
    assert "skipped sub-folders without images: empty" in notes
    assert "1 images beside the class folders" in notes


def test_other_picture_formats_are_counted_and_said_how_to_use(tmp_path):
    flat(tmp_path, 2)
    for name in ("a.jp2", "b.JP2", "c.svg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    notes = "\n".join(load(tmp_path).notes)
    assert "2 .jp2, 1 .svg files, which are not read: convert them to JPEG or PNG" in notes
    assert "1 hidden or non-image files" in notes


def test_files_that_systems_add_are_passed_over_silently(tmp_path):
    classes(tmp_path, {"a": 2, "b": 2})
    for folder in (tmp_path / "@eaDir" / "0.png", tmp_path / "__MACOSX" / "a"):
        png(folder / "SYNOPHOTO_THUMB_M.jpg")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "a/._0.png", "a/.DS_Store", "b/@eaDir"):
        (tmp_path / name).write_bytes(b"x")
    splits = load(tmp_path)
    assert splits.train.num_examples == 4
    assert splits.class_names == ("a", "b")
    assert splits.notes == ()


def test_names_of_an_object_store_are_not_asked_for(tmp_path, monkeypatch):
    classes(tmp_path, {"a": 2, "b": 2})
    for name in ("a/0.txt", "b/notes", "readme"):
        (tmp_path / name).write_text("")
    listdir, isdir, asked = tf.io.gfile.listdir, tf.io.gfile.isdir, []

    def marked(path):
        return [name + "/" * isdir(f"{path}/{name}") for name in listdir(path)]

    monkeypatch.setattr(tf.io.gfile, "listdir", marked)
    monkeypatch.setattr(tf.io.gfile, "isdir", lambda path: asked.append(path) or isdir(path))
    splits = load(f"file://{tmp_path}")
    assert (splits.train.num_examples, splits.class_names) == (4, ("a", "b"))
    assert any("skipped 3 hidden or non-image files" in note for note in splits.notes)
    assert asked == [f"file://{tmp_path}"]


def test_strange_file_names_do_no_harm(tmp_path):
    flat(tmp_path, 2)
    png(tmp_path / "new\nline.png")
    (tmp_path / "new\nline.jpg").write_bytes(b"")
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        with open(name, "wb") as file:
            file.write((tmp_path / "0.png").read_bytes())
        os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    splits = load(tmp_path)
    assert list(splits.train.ids) == ["0.png", "1.png", "new\nline.png"]
    assert [len(file) > 0 for file in _fetch_all(splits.train)] == [True] * 3
    assert splits.unreadable == (
        ("caf\\udce9/", "has a name that is not UTF-8"),
        ("caf\\udce9.png", "has a name that is not UTF-8"),
        ("new line.jpg", "is empty"),
    )
    assert not any("\n" in note for note in splits.notes)


def test_labels_stay_with_their_images_when_others_are_unreadable(tmp_path):
    classes(tmp_path / "train", {"a": 2, "b": 2})
    classes(tmp_path / "test", {"a": 1, "b": 1})
    (tmp_path / "train" / "a" / "0.png").write_bytes(b"broken")
    train = load(tmp_path).train
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
    unreadable_files(root)


def _file(root):
    root.write_text("text")


def _one_image(root):
    flat(root, 1)


def _splits_without_training(root):
    classes(root / "Val", {"a": 2, "b": 2})
    classes(root / "test", {"a": 2, "b": 2})


def _strange_evaluation_class(root):
    classes(root / "train", {"a": 2, "b": 2})
    classes(root / "val", {"a": 2, "c": 2})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_nothing, "There is no folder"),
        (_empty, r"contains no image files such as \.jpg or \.png"),
        (_no_image, r"\(1 other files\)"),
        (_only_broken, "None of the 5 image files"),
        (_file, "is a file"),
        (_one_image, "fewer than 2"),
        (_splits_without_training, "Val, test have names of splits.*folder train/, or give --unlabeled"),
        (_strange_evaluation_class, "val/ that are not in the training folder: c; give both the same"),
    ],
)
def test_folders_that_will_not_do_are_refused_in_one_line(tmp_path, make, message):
    make(tmp_path / "photos")
    with pytest.raises(InputError, match=message) as raised:
        load_dataset(f"folder:{tmp_path / 'photos'}")
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_path():
    with pytest.raises(InputError, match="needs a path"):
        load("")


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(path):
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

    monkeypatch.setattr(tf.io.gfile, "listdir", denied)
    with pytest.raises(InputError, match=r"Cannot read the folder.*Permission denied"):
        load(tmp_path)


def _closed(monkeypatch, *names):
    """Folders of these names may not be read. Not chmod: root may read everything, and the suite may run as root."""
    listdir = tf.io.gfile.listdir

    def denied(path):
        if os.path.basename(path) in names:
            raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")
        return listdir(path)

    monkeypatch.setattr(tf.io.gfile, "listdir", denied)


def test_a_sub_folder_that_may_not_be_read_is_left_out_and_named(tmp_path, monkeypatch):
    classes(tmp_path, {"a": 2, "b": 2, "c": 2})
    (tmp_path / "a" / "0.png").write_bytes(b"")
    _closed(monkeypatch, "b")
    splits = load(tmp_path)
    assert splits.class_names == ("a", "c")
    assert splits.unreadable == (("b/", "permission denied"), ("a/0.png", "is empty"))
    assert "skipped 1 unreadable sub-folders: b/ (permission denied)" in splits.notes
    with pytest.raises(InputError, match=r"1 sub-folders.*b/ \(permission denied\).*skips them"):
        load(tmp_path, on_bad_image="error")


def test_a_folder_of_sub_folders_that_may_not_be_read(tmp_path, monkeypatch):
    classes(tmp_path, {"a": 2, "b": 2})
    _closed(monkeypatch, "a", "b")
    with pytest.raises(InputError, match=r"2 sub-folders.*cannot be read.*or remove them$"):
        load(tmp_path)


def test_folders_may_be_nested_deeper_than_calls(tmp_path, monkeypatch):
    deepest = tmp_path / "/".join("d" * (sys.getrecursionlimit() + 100))
    folder = tmp_path
    while folder != deepest:
        folder = folder / "d"
        folder.mkdir()
    png(deepest / "x.png")
    flat(tmp_path, 1)
    try:
        listing = list_images(str(tmp_path))
    finally:  # pytest itself could not
        (deepest / "x.png").unlink()
        os.removedirs(deepest)
    assert len(listing.images) == 2
    assert listing.without_images == []


def test_folders_without_images_are_those_without_any_at_any_depth(tmp_path):
    png(tmp_path / "a" / "b" / "x.png")
    for name in ("a/c/d", "e"):
        (tmp_path / name).mkdir(parents=True)
    link(tmp_path / "a" / "circle", tmp_path)
    assert list_images(str(tmp_path)).without_images == ["a/c", "a/c/d", "e"]


def test_the_part_that_has_no_readable_image_is_named(tmp_path):
    classes(tmp_path / "train", {"a": 2, "b": 2})
    classes(tmp_path / "val", {"a": 1, "b": 1})
    for name in "ab":
        (tmp_path / "val" / name / "0.png").write_bytes(b"")
    with pytest.raises(InputError, match=rf"None of the 2 image files in {tmp_path}/val can be decoded"):
        load(tmp_path)
