"""Batches larger than the data, batches of labeled rows alone, and two streams of batches side by side."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import pipeline
from simclr_keras.errors import InputError
from tests.data.small_sources import SOURCES, N, arrays, assert_same, batches, files, stream

FEW = 5
LABELED = [3, 17, 20, 22, 44]


@pytest.fixture(params=SOURCES)
def few(request, tmp_path):
    """A source of 5 images, rows 3, 17, 20, 22 and 44 of the small sources."""
    return SOURCES[request.param](tmp_path).subset(LABELED)


@pytest.mark.parametrize("batch_size", [8, 24])
def test_a_batch_larger_than_the_data_holds_every_image_as_often_as_every_other(few, batch_size):
    ids = np.concatenate(
        [batch["id"] for batch in batches(few, batch_size=batch_size, repeat=True, num_steps=5)]
    )
    assert len(ids) == 5 * batch_size
    epochs = ids.reshape(-1, FEW)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.broadcast_to(np.arange(FEW), epochs.shape))
    assert len(np.unique(epochs, axis=0)) > 4, "an order of its own every time"


def test_an_image_that_is_in_a_batch_twice_has_other_views_each_time(few):
    batch = batches(few, batch_size=10, repeat=True, num_steps=1)[0]
    one, two = batch["views"][batch["id"] == 2].astype(int)
    assert np.abs(one - two).mean() > 5


def test_a_resumed_run_gets_the_same_large_batches(few):
    whole = batches(few, batch_size=8, repeat=True, num_steps=9)
    assert_same(batches(few, batch_size=8, repeat=True, first_step=4, num_steps=5), whole[4:])


@pytest.mark.parametrize(("hosts", "replicas"), [(1, 4), (2, 4)])
@pytest.mark.parametrize("make", [arrays, files])
def test_hosts_and_replicas_share_out_a_large_batch(make, hosts, replicas):
    source = make().subset(LABELED)
    whole = batches(source, batch_size=12, repeat=True, num_steps=3)
    local, found = replicas // hosts, []
    for host in range(hosts):
        context = tf.distribute.InputContext(hosts, host, replicas)
        found.append(batches(source, batch_size=12, repeat=True, num_steps=3, input_context=context))
    for step, expected in enumerate(whole):
        parts = [part for host in found for part in host[step * local : (step + 1) * local]]
        assert_same([{name: np.concatenate([part[name] for part in parts]) for name in expected}], [expected])


def test_hosts_of_a_stream_repeat_their_records_and_resume(tmp_path):
    source, replicas = stream(tmp_path).subset(LABELED), 4
    seen = []
    for host in range(2):
        context = tf.distribute.InputContext(2, host, replicas)
        whole = batches(source, batch_size=12, repeat=True, num_steps=6, input_context=context)
        resumed = batches(
            source, batch_size=12, repeat=True, first_step=4, num_steps=2, input_context=context
        )
        assert_same(resumed, whole[2 * replicas :])
        seen.append(np.concatenate([batch["id"] for batch in whole]))
    assert set(np.concatenate(seen)) == set(range(FEW))


@pytest.mark.parametrize(
    "make", [lambda _: arrays(), lambda _: files(), lambda path: stream(path, np.arange(N) % 7)]
)
def test_batches_of_the_labeled_rows_alone_hold_labels_only(make, tmp_path):
    labeled = make(tmp_path).with_labels_of(LABELED).labeled()
    assert labeled.num_examples == FEW
    for batch in batches(labeled, repeat=True):
        np.testing.assert_array_equal(batch["label"], np.array(LABELED)[batch["id"]] % 7)


def test_one_image_fills_a_batch():
    batch = batches(arrays().subset([7]), repeat=True, num_steps=1)[0]
    assert set(batch["id"]) == {0}
    assert set(batch["label"]) == {0}


def test_without_repeat_a_batch_larger_than_the_data_is_refused(few):
    with pytest.raises(InputError, match="larger than the data, 5 training images"):
        batches(few)


def test_no_images_are_refused_in_one_line():
    with pytest.raises(InputError, match="arrays has no images to train on") as error:
        batches(arrays().subset([]), repeat=True)
    assert "\n" not in str(error.value)


def _joined(context=None, first_step=0, num_steps=4):
    arguments = {
        "image_size": 16,
        "windows": 1,
        "first_step": first_step,
        "num_steps": num_steps,
        "input_context": context,
    }
    everything = pipeline.train_batches(arrays(), batch_size=8, seed=0, **arguments)
    labeled = pipeline.train_batches(files().subset(LABELED), batch_size=12, seed=1, repeat=True, **arguments)
    return pipeline.joined(everything, labeled), everything, labeled


def test_joined_batches_hold_both_streams_as_they_are():
    both, everything, labeled = (list(dataset.as_numpy_iterator()) for dataset in _joined())
    assert len(both) == 4
    for batch, unlabeled, other in zip(both, everything, labeled):
        assert set(batch) == {"views", "label", "id", "labeled_views", "labeled_label"}
        for name, values in unlabeled.items():
            np.testing.assert_array_equal(batch[name], values)
        np.testing.assert_array_equal(batch["labeled_views"], other["views"])
        np.testing.assert_array_equal(batch["labeled_label"], other["label"])


def test_joined_batches_have_static_shapes_and_resume():
    both = _joined()[0]
    assert both.element_spec["labeled_views"] == tf.TensorSpec([12, 1, 16, 16, 3], tf.uint8)
    assert both.element_spec["labeled_label"] == tf.TensorSpec([12], tf.int32)
    rest = _joined(first_step=2, num_steps=2)[0]
    for ours, whole in zip(rest.as_numpy_iterator(), both.skip(2).as_numpy_iterator()):
        for name in ours:
            np.testing.assert_array_equal(ours[name], whole[name])


def test_replicas_get_their_rows_of_both_streams(mirrored):
    shared = mirrored.distribute_datasets_from_function(lambda context: _joined(context)[0])
    for batch, expected in zip(shared, _joined()[0].as_numpy_iterator()):
        for name in ("id", "labeled_label", "labeled_views"):
            parts = mirrored.experimental_local_results(batch[name])
            assert len(parts) == mirrored.num_replicas_in_sync
            np.testing.assert_array_equal(np.concatenate(parts), expected[name])
