"""Features of whole sources in order, on any number of replicas; scores as computed by hand."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.records.stream_source import Shards, StreamSource
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.sources.source import ArrayStore, RowIds, Source
from simclr_keras.errors import TrainingError
from simclr_keras.evaluation import features as features_module
from simclr_keras.evaluation.embedding_quality import alignment, effective_rank, uniformity
from simclr_keras.evaluation.features import Extractor, RepresentationScore, ViewPairs, knn_bank
from simclr_keras.preprocess import evaluation_view
from tests.evaluation.slow_knn import slow_knn
from tests.training.tiny import create_tiny_model, write_npz

SIZE = 8
ENDPOINTS = ("final_avg_pool", "logits")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return load_dataset("npz:" + write_npz(tmp_path_factory.mktemp("data") / "data.npz", train=41, test=13))


def make_model(seed=0):
    model = create_tiny_model("tiny", image_size=SIZE, dtype="float32", num_classes=3, proj_layers=1)
    rng = np.random.default_rng(seed)
    # A fresh network's moving statistics and biases are all 0 and 1, which would hide a mix-up.
    for weight in model.weights:
        sign = rng.choice([-1, 1], weight.shape) if len(weight.shape) > 1 else 1
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) * sign)
    return model


def extractor(model, batch_size, strategy=None, endpoints=ENDPOINTS):
    strategy = strategy or tf.distribute.get_strategy()
    return Extractor(model, strategy, image_size=SIZE, batch_size=batch_size, endpoints=endpoints)


def features_by_hand(model, source):
    """All images at once through the network, without batches."""
    outputs = model(evaluation_view(tf.constant(source.images), SIZE), training=False)
    return {name: outputs[name].numpy() for name in ENDPOINTS}


@pytest.mark.parametrize("batch_size", [1, 8, 41, 64])
def test_features_come_in_the_sources_order_whatever_the_batch(splits, batch_size):
    model = make_model()
    found = extractor(model, batch_size)(splits.train)
    for name, expected in features_by_hand(model, splits.train).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)
        assert np.ptp(expected, axis=0).max() > 0.1  # rows differ, so their order is seen


@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_replicas_find_the_same_features_in_the_same_order(splits, mirrored):
    batch_size = 5  # odd, so rounded up to the replicas; the last batch is not full
    with mirrored.scope():
        model = make_model()
    found = extractor(model, batch_size, mirrored)(splits.train)
    expected = extractor(make_model(), batch_size)(splits.train)
    for name in ENDPOINTS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["label"], splits.train.labels)


def test_features_are_in_memory_once_and_large_ones_are_said(splits, monkeypatch):
    compute = extractor(make_model(), 8)
    compute(splits.train)
    joined = []
    monkeypatch.setattr(features_module.np, "concatenate", lambda parts: joined.append(parts))
    monkeypatch.setattr(features_module, "LARGE", 41 * 8 * 4)
    lines = []
    compute._say = lines.append
    compute(splits.train)
    assert not joined
    assert lines == ["memory   0.0 GB for the features of 41 images"]
    monkeypatch.setattr(features_module.np, "empty", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(TrainingError, match=r"41 images take 0\.0 GB, more than there is memory"):
        compute(splits.train)


def test_many_extractors_one_after_another_draw_no_warnings(splits, caplog):
    """As when every layer of a projection head is tried."""
    model = make_model()
    for _ in range(7):
        extractor(model, 64)(splits.train)
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]


def test_labels_come_with_the_features_hidden_ones_as_minus_1(splits):
    source = splits.train.with_labels_of([1, 4])
    found = extractor(make_model(), 8)(source)["label"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, source.labels)
    assert (found >= 0).sum() == 2


def test_a_network_that_is_no_longer_finite_stops_training(splits):
    model = make_model()
    model.classifier.bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(TrainingError, match=r"logits is not finite.*--learning_rate"):
        extractor(model, 8)(splits.train)


def accuracy_by_hand(scores, labels):
    return np.mean(np.argmax(scores, axis=1) == labels)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.1), (41, 1.0)])
def test_scores_are_those_computed_by_hand(splits, k, temperature):
    model = make_model(seed=3)
    score = RepresentationScore(
        extractor(model, 8), splits.train, splits.evaluation, num_classes=3, k=k, temperature=temperature
    )
    bank, held = (features_by_hand(model, source) for source in (splits.train, splits.evaluation))
    votes = slow_knn(bank["final_avg_pool"], splits.train.labels, held["final_avg_pool"], 3, k, temperature)
    labels = splits.evaluation.labels
    expected = {
        "knn_top1": accuracy_by_hand(votes, labels),
        "probe_top1": accuracy_by_hand(held["logits"], labels),
    }
    # Of three classes the true one is always among the best five.
    expected |= {"knn_top5": 1.0, "probe_top5": 1.0}
    scores = score()
    assert scores.pop("effective_rank") == pytest.approx(effective_rank(held["final_avg_pool"]), rel=1e-4)
    assert scores == expected


def test_pairs_of_views_are_compared_as_they_are(splits):
    model, views = make_model(), np.random.default_rng(1).integers(0, 256, (10, SIZE, SIZE, 3), np.uint8)
    pairs = ViewPairs(Source("views", ArrayStore(views), RowIds("views", 10)), "final_avg_pool")
    score = RepresentationScore(
        extractor(model, 4),
        splits.train,
        splits.evaluation,
        lambda: pairs,
        num_classes=3,
        k=1,
        temperature=0.1,
    )
    first, second = np.split(model(views.astype("float32") / 255, training=False)["final_avg_pool"], 2)
    scores = score()
    assert scores["alignment"] == pytest.approx(alignment(first, second), rel=1e-4)
    assert scores["uniformity"] == pytest.approx((uniformity(first) + uniformity(second)) / 2, rel=1e-4)


def test_the_knn_takes_the_settings_it_is_given(splits, monkeypatch):
    given = {}
    real = features_module.knn_predict
    monkeypatch.setattr(
        features_module,
        "knn_predict",
        lambda *rows, **settings: given.update(settings) or real(*rows, **settings),
    )
    settings = {"num_classes": 3, "k": 7, "temperature": 0.2}
    RepresentationScore(extractor(make_model(), 8), splits.train, splits.evaluation, **settings)()
    assert given == settings


def test_a_score_without_a_probe_is_knn_alone(splits):
    score = RepresentationScore(
        extractor(make_model(), 8, endpoints=("final_avg_pool",)),
        splits.train,
        splits.evaluation,
        num_classes=3,
        k=5,
        temperature=0.1,
    )
    assert set(score()) == {"knn_top1", "knn_top5", "effective_rank"}


def test_a_bank_holds_labeled_rows_only(splits):
    bank = knn_bank(splits.train.with_labels_of([3, 9, 20]), limit=100, seed=0)
    assert list(bank.ids) == ["train/3", "train/9", "train/20"]


def test_a_bank_is_capped_by_a_seeded_stratified_choice(splits):
    banks = [knn_bank(splits.train, limit=9, seed=seed) for seed in (0, 0, 1)]
    assert list(banks[0].ids) == list(banks[1].ids) != list(banks[2].ids)
    assert np.bincount(banks[0].labels).tolist() == [3, 3, 3]


@pytest.mark.slow
def test_a_stream_is_scored_as_the_same_images_in_memory(splits, tmp_path):
    """Streams know no labels beforehand: ImageNet is one."""

    def stream(source, name):
        path = str(tmp_path / name)
        with tf.io.TFRecordWriter(path) as writer:
            for image, label in zip(source.images, source.labels):
                writer.write(bytes([label]) + tf.io.encode_png(image).numpy())
        shards = Shards((path,), (source.num_examples,), parse, name)
        return StreamSource(name, shards, has_labels=True, class_names=source.class_names)

    def parse(record):
        label = tf.cast(tf.io.decode_raw(tf.strings.substr(record, 0, 1), tf.uint8)[0], tf.int32)
        return {"image": tf.strings.substr(record, 1, -1), "label": label}

    model = make_model()
    scores = []
    for train, evaluation in (
        (splits.train, splits.evaluation),
        (stream(splits.train, "train"), stream(splits.evaluation, "test")),
    ):
        bank = knn_bank(train, limit=1000, seed=0)
        score = RepresentationScore(
            extractor(model, 8), bank, evaluation, num_classes=3, k=5, temperature=0.1
        )
        scores.append(score())
    assert scores[0] == scores[1]
