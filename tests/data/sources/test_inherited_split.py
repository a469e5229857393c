"""What an earlier run held out, and the labels it saw, come again; what is gone is named, or refused."""

import dataclasses
import json

import numpy as np
import pytest

from simclr_keras.data.sources.inherited_split import hold_out_again, show_labels_again
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.sources.source import ArrayStore, RowIds, Source, Splits
from simclr_keras.errors import InputError
from tests.data.pictures import classes
from tests.data.small_sources import N, stream


def _npz(path, **others):
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(60) % 3, **others)
    return f"npz:{path}"


def _folder(path):
    classes(path, {"ant": 30, "bee": 30})
    return f"folder:{path}"


SPECS = {
    "digits": lambda _: "digits",
    "npz": lambda path: _npz(path / "a.npz"),
    "folder": lambda path: _folder(path / "photos"),
}


def _told(values):
    """What comes back of a list after it has been written to a run directory."""
    return json.loads(json.dumps(list(values)))


@pytest.mark.parametrize("name", SPECS)
def test_a_later_run_of_another_seed_holds_out_and_sees_the_same(name, tmp_path):
    spec = SPECS[name](tmp_path)
    first = load_dataset(spec, eval_fraction=0.2, labels_per_class=4, seed=5)
    ids = _told(first.held_out), _told(first.train.labeled_ids())
    assert len(ids[1]) == 4 * len(first.class_names)
    again = load_dataset(spec, seed=6, held_out=ids[0], labeled=ids[1])
    for part, other in ((first.train, again.train), (first.evaluation, again.evaluation)):
        assert list(part.ids) == list(other.ids)
        np.testing.assert_array_equal(part.labels, other.labels)
    assert again.held_out == first.held_out
    assert (again.missing, again.notes) == ((), first.notes)
    other_seed = load_dataset(spec, eval_fraction=0.2, labels_per_class=4, seed=6)
    assert set(other_seed.held_out) != set(first.held_out)


def test_the_order_in_which_ids_are_given_means_nothing():
    first = load_dataset("digits", labels_per_class=2)
    again = load_dataset(
        "digits", held_out=first.held_out[::-1], labeled=list(first.train.labeled_ids())[::-1]
    )
    assert again.held_out == first.held_out
    np.testing.assert_array_equal(again.train.labels, first.train.labels)


def test_a_run_that_held_nothing_out_is_followed_by_one_that_does_not(tmp_path):
    splits = load_dataset(_npz(tmp_path / "a.npz"), held_out=())
    assert (splits.train.num_examples, splits.evaluation, splits.held_out) == (60, None, ())


def test_no_labels_are_shown_where_none_were_seen():
    assert np.all(load_dataset("digits", labeled=[]).train.labels == -1)


def test_data_that_has_got_a_split_of_its_own_is_still_evaluated_on_what_was_held_out(tmp_path):
    first = load_dataset(_npz(tmp_path / "a.npz"))
    spec = _npz(tmp_path / "b.npz", x_test=np.zeros((7, 5, 4, 3), np.uint8), y_test=np.zeros(7, int))
    assert load_dataset(spec).evaluation.num_examples == 7
    again = load_dataset(spec, held_out=first.held_out)
    assert list(again.evaluation.ids) == list(first.held_out)
    assert set(again.train.ids).isdisjoint(first.held_out)
    assert any("not on its own split" in note for note in again.notes)


def _without(path, ids):
    for name in ids:
        (path / name).unlink()


def test_a_few_images_that_are_gone_are_left_out_and_named(tmp_path):
    spec = _folder(tmp_path)
    first = load_dataset(spec, eval_fraction=0.5, labels_per_class=10)
    held_out, labeled = first.held_out, tuple(first.train.labeled_ids())
    _without(tmp_path, (*held_out[:2], *labeled[:2]))
    again = load_dataset(spec, held_out=held_out, labeled=labeled)
    assert again.held_out == held_out[2:]
    assert tuple(again.train.labeled_ids()) == labeled[2:]
    assert again.missing == (*held_out[:2], *labeled[:2])
    assert sum("that an earlier run" in note and "are missing" in note for note in again.notes) == 2
    assert any(held_out[1] in note for note in again.notes)


@pytest.mark.parametrize("which", ["held_out", "labeled"])
def test_more_than_a_tenth_gone_is_refused_in_one_line(tmp_path, which):
    spec = _folder(tmp_path)
    first = load_dataset(spec, eval_fraction=0.5, labels_per_class=10)
    ids = {"held_out": first.held_out, "labeled": tuple(first.train.labeled_ids())}
    _without(tmp_path, ids[which][: len(ids[which]) // 10 + 1])
    count = rf"of {len(ids[which])} images .*, {len(ids[which]) // 10 + 1} are gone.*{ids[which][0]}"
    with pytest.raises(InputError, match=count) as error:
        load_dataset(spec, **ids)
    assert "\n" not in str(error.value)


def test_a_class_that_lost_its_only_label_is_refused():
    source = Source("made", _store(40), RowIds("train", 40), np.arange(40) % 20, [f"c{i}" for i in range(20)])
    whole = Splits(source, class_names=source.class_names)
    labeled = [f"train/{row}" for row in range(20)]
    shown = show_labels_again(whole, labeled).train
    assert list(shown.labeled_ids()) == labeled
    less = dataclasses.replace(whole, train=source.subset(np.arange(40) != 7))
    with pytest.raises(InputError, match="no image of class c7"):
        show_labels_again(less, labeled)
    # Nor is it enough that the image is there, without its label.
    hidden = dataclasses.replace(whole, train=source.with_labels_of(np.arange(40) != 7))
    with pytest.raises(InputError, match="no image of class c7"):
        show_labels_again(hidden, labeled)


def _store(n):
    return ArrayStore(np.zeros((n, 5, 4, 3), np.uint8))


def test_held_out_labels_are_not_shown_for_training():
    first = load_dataset("digits")
    with pytest.raises(InputError, match="are held out"):
        load_dataset("digits", held_out=first.held_out, labeled=first.held_out)


def test_all_images_cannot_be_held_out():
    source = Source("made", _store(9), RowIds("train", 9), np.zeros(9))
    with pytest.raises(InputError, match="held out 8 of the 9 training images"):
        hold_out_again(Splits(source), [f"train/{row}" for row in range(8)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"held_out": [], "eval_fraction": 0.2}, "eval_fraction does not go .*eval_fraction=0.2"),
        ({"labeled": [], "label_fraction": 0.2}, "do not go .*label_fraction=0.2"),
        ({"labeled": [], "labels_per_class": 3}, "do not go .*labels_per_class=3"),
        ({"held_out": ["photo.jpg"]}, "are gone: photo.jpg"),
        ({"held_out": ["test/3", "train/007", "train/-1", "train/x", "train/5000"]}, "5 are gone"),
    ],
)
def test_ids_that_do_not_fit_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        load_dataset("digits", **arguments)
    assert "\n" not in str(error.value)


def test_unlabeled_data_cannot_show_labels(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros((9, 5, 4, 3), np.uint8))
    with pytest.raises(InputError, match="has no labels, but an earlier run saw 2"):
        load_dataset(f"npz:{tmp_path / 'a.npz'}", labeled=["train/1", "train/2"])


def test_streams_hold_out_and_show_the_same_rows(tmp_path):
    source = stream(tmp_path, np.arange(N) % 5)
    held_out, labeled = (tuple(f"train/{row}" for row in rows) for rows in ([4, 9, 30], [0, 1, 2, 3, 44]))
    splits = show_labels_again(hold_out_again(Splits(source), held_out), labeled)
    assert splits.held_out == tuple(splits.evaluation.ids) == held_out
    assert splits.evaluation.labels.tolist() == [4, 4, 0]
    assert splits.train.num_examples == N - 3
    assert tuple(splits.train.labeled_ids()) == labeled
    assert splits.train.labeled().labels.tolist() == [0, 1, 2, 3, 4]


def test_ids_of_labeled_rows_are_as_lazy_as_ids(tmp_path):
    source = Source("made", None, RowIds("train", 10**6), np.arange(10**6) % 2 - 1)
    ids = source.labeled_ids()
    assert isinstance(ids, RowIds)
    assert (len(ids), ids[0], ids[-1]) == (5 * 10**5, "train/1", "train/999999")
    unread = stream(tmp_path)
    assert len(unread.labeled_ids()) == 0
    unread.has_labels = True
    assert unread.labeled_ids() is unread.ids, "no pass over the files"
    assert show_labels_again(Splits(unread), list(unread.ids)).train is unread
