"""Sources: rows, ids and labels; what is held out; which labels stay visible; which names are refused."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.sources.source import ArrayStore, RowIds, Source
from simclr_keras.errors import InputError


def _images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 4, 3), np.uint8)


def _source(n=12, classes=3):
    names = tuple("abcdefgh"[:classes])
    return Source("made", ArrayStore(_images(n)), RowIds("train", n), np.arange(n) % classes, names)


def _fetch_all(source):
    return list(tf.data.Dataset.range(source.num_examples).map(source.fetch).as_numpy_iterator())


def _npz(path, **arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_digits_are_scikit_learns_scaled_to_bytes():
    from sklearn.datasets import load_digits

    splits = load_dataset("digits", eval_fraction=0.1)
    gray = load_digits().images
    row = int(splits.train.ids[40].split("/")[1])
    image = splits.train.images[40]
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[..., 1], np.floor(gray[row] * 255 / 16 + 0.5))
    assert image.max() <= 255
    assert splits.class_names == tuple("0123456789")
    assert splits.train.labels.dtype == np.int32
    assert splits.train.labels[40] == load_digits().target[row]


def test_fetch_inside_tf_data_gives_the_rows_of_images():
    source = _source()
    for part in (source, source.subset([7, 2, 2]), source.subset([9, 8, 1]).subset([2, 0])):
        np.testing.assert_array_equal(_fetch_all(part), part.images)
    np.testing.assert_array_equal(source.subset([9, 8, 1]).subset([2, 0]).images, _images(12)[[1, 9]])


def test_subsets_keep_ids_and_labels_with_their_images():
    part = _source().subset(np.arange(12) % 5 == 1).subset([2, 1])
    assert list(part.ids) == ["train/11", "train/6"]
    assert part.ids[-1] == "train/6"
    assert part.labels.tolist() == [2, 0]
    assert part.class_names == ("a", "b", "c")


def test_with_labels_of_hides_the_other_labels_and_labeled_takes_the_rest_away():
    source = _source().with_labels_of([1, 5])
    assert source.num_examples == 12
    assert source.labels.tolist() == [-1, 1, -1, -1, -1, 2] + [-1] * 6
    assert list(source.labeled().ids) == ["train/1", "train/5"]
    assert source.labeled().labels.tolist() == [1, 2]


@pytest.mark.parametrize("rows", [[12], [-1]])
def test_rows_outside_the_source_are_refused(rows):
    with pytest.raises(IndexError, match=r"0\.\.11"):
        _source().subset(rows)


def test_a_million_ids_cost_no_strings():
    ids = RowIds("train", 10**6)
    assert sys.getsizeof(ids) + sys.getsizeof(ids.rows) < 1000
    assert (len(ids), ids[0], ids[-1]) == (10**6, "train/0", "train/999999")
    assert list(ids[5:7]) == ["train/5", "train/6"]


def test_default_eval_fraction():
    assert load_dataset("digits").held_out == load_dataset("digits", eval_fraction=0.1).held_out


def test_data_with_its_own_split_is_not_cut_and_says_so(tmp_path):
    spec = _npz(tmp_path / "a.npz", x_train=_images(6), x_test=_images(4, 1))
    splits = load_dataset(spec, eval_fraction=0.5)
    assert (splits.train.num_examples, splits.evaluation.num_examples, splits.held_out) == (6, 4, None)
    assert any("eval_fraction=0.5 is not used" in note for note in splits.notes)


def test_label_fraction_keeps_the_share_of_every_class_and_all_images():
    whole, part = load_dataset("digits"), load_dataset("digits", label_fraction=0.1)
    assert part.train.num_examples == whole.train.num_examples
    visible = part.train.labels >= 0
    expected = np.round(0.1 * np.bincount(whole.train.labels))
    np.testing.assert_array_equal(np.bincount(part.train.labels[visible]), expected)
    np.testing.assert_array_equal(part.train.labels[visible], whole.train.labels[visible])
    np.testing.assert_array_equal(part.evaluation.labels, whole.evaluation.labels)


def test_labels_per_class_keeps_as_many_of_each():
    train = load_dataset("digits", labels_per_class=4).train
    assert np.bincount(train.labeled().labels).tolist() == [4] * 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spec": "foler:photos"}, "did you mean folder:photos"),
        ({"spec": "gs://bucket/photos"}, "npz:PATH or folder:PATH"),
        ({"spec": ""}, "Give a dataset"),
        ({"label_fraction": 0.001}, r"leaves class '0' \(\d+ training images\) without"),
        ({"labels_per_class": 170}, r"Class '\d' has only 1\d\d .*labels_per_class=170"),
        ({"data_dir": "somewhere"}, "TFDS names only"),
        ({"labels": "labels.csv"}, "goes with folder:PATH only"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        load_dataset(**{"spec": "digits", **arguments})
    assert "\n" not in str(raised.value)


def test_label_options_need_labels(tmp_path):
    with pytest.raises(InputError, match="has no labels"):
        load_dataset(_npz(tmp_path / "a.npz", x_train=_images(5)), label_fraction=0.5)


def test_one_image_is_too_few(tmp_path):
    with pytest.raises(InputError, match="fewer than 2"):
        load_dataset(_npz(tmp_path / "a.npz", x_train=_images(1)))
