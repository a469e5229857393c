"""Batches larger than the data, batches of labeled rows alone, and two streams of batches side by side."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import pipeline
from tests.data.small_sources import SOURCES, N, arrays, assert_same, batches, files, stream

FEW = 5
LABELED = [3, 17, 20, 22, 44]


@pytest.fixture(params=SOURCES, scope="module")
def few(request, tmp_path_factory):
    """A source of 5 images, rows 3, 17, 20, 22 and 44 of the small sources."""
    return SOURCES[request.param](tmp_path_factory.mktemp("source")).subset(LABELED)


@pytest.mark.slow
def test_every_image_is_as_often_in_large_batches_as_every_other(few):
    whole = batches(few, batch_size=12, num_steps=5)
    epochs = np.concatenate([batch["id"] for batch in whole]).reshape(-1, FEW)
    assert epochs.shape == (12, FEW)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.broadcast_to(np.arange(FEW), epochs.shape))
    assert len(np.unique(epochs, axis=0)) > 4, "an order of its own every time"
    views = whole[0]["views"][whole[0]["id"] == 2].astype(int)
    assert np.abs(views[0] - views[1]).mean() > 5, "other views of an image each time"
    assert_same(batches(few, batch_size=12, first_step=3, num_steps=2), whole[3:])


@pytest.mark.slow
@pytest.mark.parametrize("make", [arrays, files])
def test_hosts_and_replicas_share_out_a_large_batch(make):
    source, large = make().subset(LABELED), {"batch_size": 12, "num_steps": 2}
    whole = batches(source, **large)
    for host in range(2):
        parts = batches(source, **large, input_context=tf.distribute.InputContext(2, host, 4))
        rows = [slice(3 * replica, 3 * replica + 3) for replica in (2 * host, 2 * host + 1)]
        assert_same(parts, [{name: batch[name][r] for name in batch} for batch in whole for r in rows])


@pytest.mark.slow
def test_hosts_of_a_stream_repeat_their_records_and_resume(tmp_path):
    source, replicas = stream(tmp_path).subset(LABELED), 4
    seen, large = set(), {"batch_size": 12}
    for host in range(2):
        large["input_context"] = tf.distribute.InputContext(2, host, replicas)
        whole = batches(source, num_steps=4, **large)
        seen |= {*np.concatenate([batch["id"] for batch in whole])}
    assert_same(batches(source, first_step=3, num_steps=1, **large), whole[3 * replicas // 2 :])
    assert seen == set(range(FEW))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda _: arrays(), lambda _: files(), lambda path: stream(path, np.arange(N) % 7)]
)
def test_batches_of_the_labeled_rows_alone_hold_labels_only(make, tmp_path):
    labeled = make(tmp_path).with_labels_of(LABELED).labeled()
    assert labeled.num_examples == FEW
    for batch in batches(labeled):
        np.testing.assert_array_equal(batch["label"], np.array(LABELED)[batch["id"]] % 7)


def test_one_image_fills_a_batch():
    batch = batches(arrays().subset([7]), num_steps=1)[0]
    assert set(batch["id"]) == {0}
    assert set(batch["label"]) == {0}


def _joined(context=None, first_step=0, num_steps=4):
    arguments = {
        "image_size": 16,
        "windows": 1,
        "first_step": first_step,
        "num_steps": num_steps,
        "input_context": context,
    }
    everything = pipeline.train_batches(arrays(), batch_size=8, seed=0, **arguments)
    labeled = pipeline.train_batches(files().subset(LABELED), batch_size=12, seed=1, **arguments)
    return pipeline.joined(everything, labeled), everything, labeled


@pytest.mark.slow
def test_joined_batches_hold_both_streams_as_they_are():
    both, everything, labeled = (list(dataset.as_numpy_iterator()) for dataset in _joined())
    assert len(both) == 4
    for batch, unlabeled, other in zip(both, everything, labeled):
        assert set(batch) == {"views", "label", "id", "labeled_views", "labeled_label"}
        for name, values in unlabeled.items():
            np.testing.assert_array_equal(batch[name], values)
        np.testing.assert_array_equal(batch["labeled_views"], other["views"])
        np.testing.assert_array_equal(batch["labeled_label"], other["label"])


@pytest.mark.slow
def test_joined_batches_have_static_shapes_and_resume():
    both = _joined()[0]
    assert both.element_spec["labeled_views"] == tf.TensorSpec([12, 1, 16, 16, 3], tf.uint8)
    assert both.element_spec["labeled_label"] == tf.TensorSpec([12], tf.int32)
    rest = _joined(first_step=2, num_steps=2)[0]
    for ours, whole in zip(rest.as_numpy_iterator(), both.skip(2).as_numpy_iterator()):
        for name in ours:
            np.testing.assert_array_equal(ours[name], whole[name])


@pytest.mark.slow
def test_replicas_get_their_rows_of_both_streams(mirrored):
    shared = mirrored.distribute_datasets_from_function(lambda context: _joined(context)[0])
    for batch, expected in zip(shared, _joined()[0].as_numpy_iterator()):
        for name in ("id", "labeled_label", "labeled_views"):
            parts = mirrored.experimental_local_results(batch[name])
            assert len(parts) == mirrored.num_replicas_in_sync
            np.testing.assert_array_equal(np.concatenate(parts), expected[name])
