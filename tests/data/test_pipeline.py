"""Batches: a function of (seed, step), the same after a resume and on any number of replicas and hosts."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import pipeline
from simclr_keras.data.views.crop import CropConfig
from simclr_keras.preprocess import evaluation_view
from tests.data.small_sources import (
    SOURCES,
    N,
    arrays,
    assert_same,
    batches,
    files,
    stream,
    train_dataset,
)


@pytest.fixture(params=SOURCES, scope="module")
def source(request, tmp_path_factory):
    return SOURCES[request.param](tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def whole(source):
    """The first 25 batches: four epochs."""
    return batches(source, num_steps=25)


@pytest.mark.slow
def test_resumed_batches_are_the_same_bit_for_bit(source, whole):
    dataset = train_dataset(source, first_step=5, num_steps=4)
    assert dataset.element_spec == {
        "views": tf.TensorSpec([8, 2, 16, 16, 3], tf.uint8),
        "label": tf.TensorSpec([8], tf.int32),
        "id": tf.TensorSpec([8], tf.int32),
    }
    assert_same(list(dataset.as_numpy_iterator()), whole[5:9])


@pytest.mark.slow
def test_batches_differ_by_step_window_and_seed(source, whole):
    one, two = whole[:2]
    (other,) = batches(source, seed=1, num_steps=1, windows=1)
    assert other["views"].shape == (8, 1, 16, 16, 3)
    assert not np.array_equal(one["id"], two["id"])
    assert not np.array_equal(one["id"], other["id"])
    assert np.abs(one["views"].astype(int) - two["views"]).mean() > 10
    assert np.abs(one["views"][:, 0].astype(int) - one["views"][:, 1]).mean() > 5


def test_every_epoch_contains_every_image_once_in_a_new_order(whole):
    epochs = np.concatenate([batch["id"] for batch in whole]).reshape(4, N)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.broadcast_to(np.arange(N), (4, N)))
    assert len(np.unique(epochs, axis=0)) == 4


@pytest.mark.parametrize("make", [arrays, files])
def test_labels_and_views_belong_to_the_ids(make):
    source = make()
    crop = CropConfig(random_crop=False, flip_probability=0.0)
    batch = batches(source, num_steps=2, crop=crop)[1]
    np.testing.assert_array_equal(batch["label"], batch["id"] % 7)
    evaluation = {}
    for record in pipeline.eval_batches(source, image_size=16, batch_size=10):
        evaluation.update(zip(record["id"].numpy(), record["image"].numpy()))
    for views, row in zip(batch["views"], batch["id"]):
        assert np.abs(views - 255 * evaluation[row]).max() <= 6  # JPEG windows decode a little differently


def test_without_labels_they_are_minus_one():
    assert np.all(batches(arrays(labels=False), num_steps=1)[0]["label"] == -1)
    batch = next(iter(pipeline.eval_batches(arrays(labels=False), image_size=16, batch_size=4)))
    assert np.all(batch["label"] == -1)


@pytest.mark.slow
@pytest.mark.parametrize("make", [arrays, files])
def test_hosts_and_replicas_share_out_the_rows_of_one_device(make):
    source = make()
    whole = batches(source, num_steps=2)
    for host in range(2):
        parts = batches(source, num_steps=2, input_context=tf.distribute.InputContext(2, host, 4))
        rows = [slice(2 * replica, 2 * replica + 2) for replica in (2 * host, 2 * host + 1)]
        assert_same(parts, [{name: batch[name][r] for name in batch} for batch in whole for r in rows])


@pytest.mark.slow
def test_hosts_of_a_stream_share_out_the_records(tmp_path):
    source = stream(tmp_path)
    contexts = [tf.distribute.InputContext(2, host, 4) for host in range(2)]
    parts = [batches(source, num_steps=3, input_context=context) for context in contexts]
    assert [len(part) for part in parts] == [6, 6]
    ids = [np.concatenate([batch["id"] for batch in part]) for part in parts]
    assert len(np.unique(np.concatenate(ids))) == 24
    assert_same(batches(source, first_step=2, num_steps=1, input_context=contexts[1]), parts[1][4:])


@pytest.mark.slow
def test_a_mirrored_strategy_gets_the_rows_in_replica_order(mirrored):
    source, replicas = arrays(), mirrored.num_replicas_in_sync
    dataset = mirrored.distribute_datasets_from_function(
        lambda context: pipeline.train_batches(
            source, image_size=16, batch_size=8, seed=0, first_step=0, num_steps=3, input_context=context
        )
    )
    for batch, expected in zip(dataset, batches(source, num_steps=3)):
        parts = mirrored.experimental_local_results(batch["id"])
        assert len(parts) == replicas
        np.testing.assert_array_equal(np.concatenate(parts), expected["id"])


@pytest.mark.parametrize("make", SOURCES)
def test_iterators_over_replicas_are_deleted_at_once(make, tmp_path):
    """TensorFlow's tuning thread sleeps for up to a minute, and the deletion would wait for it."""
    source, context = SOURCES[make](tmp_path), tf.distribute.InputContext(1, 0, 2)
    padded = pipeline.eval_batches(source, image_size=16, batch_size=8, pad=True, input_context=context)
    for dataset in (train_dataset(source, input_context=context), padded):
        assert not dataset.options().autotune.enabled


@pytest.mark.parametrize("make", SOURCES)
def test_tensorflow_rewrites_what_is_made_image_by_image_in_several_batches(make, tmp_path):
    """Looking for something to rewrite in whole batches, or for one batch, takes longer than it saves."""
    source = SOURCES[make](tmp_path)
    rewritten = [
        dataset.options().experimental_optimization.apply_default_optimizations is not False
        for dataset in (
            train_dataset(source),
            pipeline.eval_batches(source, image_size=16, batch_size=8),
            pipeline.eval_batches(source, image_size=16, batch_size=len(source)),
        )
    ]
    image_by_image = make != "arrays"
    assert rewritten == [image_by_image, image_by_image, False]


def test_batches_of_both_kinds_are_joined_without_a_warning(caplog):
    whole, image_by_image = train_dataset(arrays()), train_dataset(files())
    pipeline.joined(whole, image_by_image)
    pipeline.joined(image_by_image, whole)
    assert not caplog.messages


def test_batches_too_large_to_be_made_at_once_have_the_same_views(monkeypatch):
    whole = batches(arrays())
    monkeypatch.setattr(pipeline, "LARGEST_WHOLE_BATCH", 0)
    for one, other in zip(whole, batches(arrays())):
        np.testing.assert_array_equal(one["id"], other["id"])
        assert np.abs(one["views"].astype(int) - other["views"]).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [8, 50, 64])
def test_evaluation_goes_in_order_and_can_be_padded(source, batch_size):
    def joined(**options):
        dataset = pipeline.eval_batches(source, image_size=40, batch_size=batch_size, **options)
        records = list(dataset.as_numpy_iterator())
        return dataset, {name: np.concatenate([batch[name] for batch in records]) for name in records[0]}

    (_, plain), (dataset, padded) = joined(), joined(pad=True)
    np.testing.assert_array_equal(plain["id"], np.arange(N))
    assert dataset.element_spec["image"] == tf.TensorSpec([batch_size, 40, 40, 3], tf.float32)
    for name, values in padded.items():
        np.testing.assert_array_equal(values[:N], plain[name])
        assert len(values) == N + -N % batch_size
        assert np.all(values[N:] == (0 if name == "image" else -1))


@pytest.mark.slow
@pytest.mark.parametrize(("hosts", "replicas", "batch_size"), [(2, 1, 8), (3, 2, 24), (4, 1, 64)])
def test_hosts_evaluate_their_own_rows_in_as_many_batches(source, hosts, replicas, batch_size):
    """Joined replica by replica, the batches of all hosts are those of one host; the last host may have none."""
    settings = {"image_size": 16, "batch_size": batch_size, "pad": True}
    whole = list(pipeline.eval_batches(source, **settings).as_numpy_iterator())
    parts = []
    for host in range(hosts):
        context = tf.distribute.InputContext(hosts, host, hosts * replicas)
        dataset = pipeline.eval_batches(source, **settings, input_context=context)
        assert dataset.element_spec["image"].shape[0] == batch_size // (hosts * replicas)
        parts.append(list(dataset.as_numpy_iterator()))
    assert {len(part) for part in parts} == {len(whole) * replicas}
    for number, batch in enumerate(whole):
        own = [part[number * replicas + replica] for part in parts for replica in range(replicas)]
        for name, values in batch.items():
            joined = np.concatenate([each[name] for each in own])
            np.testing.assert_allclose(joined, values, atol=1e-6)


def test_datasets_of_equal_batches_trace_their_views_once(monkeypatch):
    pipeline._views_function.cache_clear()
    calls, original = [], pipeline.make_views_of_batch
    monkeypatch.setattr(
        pipeline, "make_views_of_batch", lambda *arguments: calls.append(1) or original(*arguments)
    )
    source = arrays()
    for seed in (0, 1):
        batches(source, seed=seed, num_steps=1)
    assert len(calls) == 1
    batches(source, num_steps=1, crop=CropConfig(flip_probability=0.0))
    assert len(calls) == 2
    pipeline._views_function.cache_clear()


def test_evaluation_images_are_evaluation_views():
    source = arrays()
    batch = next(iter(pipeline.eval_batches(source, image_size=40, batch_size=4)))
    np.testing.assert_allclose(batch["image"], evaluation_view(source.images[:4], 40), atol=1e-6)
    smaller = next(iter(pipeline.eval_batches(source, image_size=9, batch_size=4, antialias=True)))["image"]
    np.testing.assert_allclose(smaller, evaluation_view(source.images[:4], 9, antialias=True), atol=1e-6)
    assert np.abs(smaller - evaluation_view(source.images[:4], 9)).max() > 0.01
    np.testing.assert_array_equal(batch["label"], source.labels[:4])
    size = source.images.shape[1]
    batch = next(iter(pipeline.eval_batches(source, image_size=size, batch_size=4, as_they_are=True)))
    np.testing.assert_array_equal(batch["image"], source.images[:4].astype("float32") / 255)


@pytest.mark.parametrize("make", [arrays, files])
def test_padded_evaluation_batches_can_be_shared_out_to_replicas(make, mirrored):
    dataset = pipeline.eval_batches(make(), image_size=16, batch_size=8, pad=True)
    ids = []
    for batch in mirrored.experimental_distribute_dataset(dataset):
        parts = mirrored.experimental_local_results(batch["id"])
        assert {part.shape for part in parts} == {(8 // mirrored.num_replicas_in_sync,)}
        ids.extend(parts)
    np.testing.assert_array_equal(np.concatenate(ids), [*range(N), *[-1] * 6])


def test_how_batches_are_made_depends_on_the_global_batch_and_not_on_the_replicas(monkeypatch):
    source = arrays()
    # Source and float views of 8 images: 8 * (12 * 12 + 2 * 16 * (12 + 16)) * 3 * 4 bytes.
    needed = 8 * (12 * 12 + 2 * 16 * (12 + 16)) * 3 * 4
    monkeypatch.setattr(pipeline, "LARGEST_WHOLE_BATCH", needed - 1)
    made = []
    monkeypatch.setattr(pipeline, "_array_batches", lambda *_: made.append("whole"))
    by_record = pipeline._record_batches
    monkeypatch.setattr(pipeline, "_record_batches", lambda *a: made.append("by record") or by_record(*a))
    batches(source)
    batches(source, input_context=tf.distribute.InputContext(1, 0, 4))
    assert made == ["by record", "by record"]
    assert pipeline._made_whole(source, 16, 8, 2) is False
    monkeypatch.setattr(pipeline, "LARGEST_WHOLE_BATCH", needed)
    assert pipeline._made_whole(source, 16, 8, 2) is True
