"""Weighted kNN against a slow twin, and at its edges."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from simclr_keras.errors import InputError
from simclr_keras.evaluation import knn
from simclr_keras.evaluation.knn import cap_bank, knn_accuracy, knn_predict
from tests.evaluation.slow_knn import slow_knn


def random_features(n, d, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)


@pytest.mark.parametrize(
    ("bank", "dim", "classes", "k", "temperature"),
    [(300, 16, 7, 20, 0.1), (50, 3, 3, 1, 0.1), (40, 8, 4, 40, 0.07), (500, 64, 10, 200, 1.0)],
)
def test_scores_equal_the_slow_twin(bank, dim, classes, k, temperature):
    features, queries = random_features(bank, dim, 0), 5.0 * random_features(30, dim, 1)
    labels = np.random.default_rng(2).integers(0, classes, bank)
    got = knn_predict(features, labels, queries, num_classes=classes, k=k, temperature=temperature)
    assert got.shape == (30, classes)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, slow_knn(features, labels, queries, classes, k, temperature), atol=2e-6)


def test_queries_in_blocks_score_as_in_one_block(monkeypatch):
    features, queries = random_features(90, 8, 0), random_features(50, 8, 1)
    labels = np.arange(90) % 5
    whole = knn_predict(features, labels, queries, num_classes=5, k=10)
    monkeypatch.setattr(knn, "_QUERY_BLOCK", 7)
    np.testing.assert_allclose(knn_predict(features, labels, queries, num_classes=5, k=10), whole, atol=1e-6)


def test_k_above_the_bank_votes_with_the_whole_bank():
    features, queries, labels = random_features(9, 4, 0), random_features(6, 4, 1), np.arange(9) % 3
    got = knn_predict(features, labels, queries, num_classes=3, k=200)
    np.testing.assert_allclose(got, slow_knn(features, labels, queries, 3, 9, 0.1), atol=2e-6)


def test_unlabeled_rows_neither_vote_nor_fill_the_k():
    bank = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    got = knn_predict(bank, np.array([-1, -1, 1]), np.array([[1.0, 0.0]]), num_classes=2, k=1)
    np.testing.assert_array_equal(got, [[0.0, 1.0]])


def test_only_the_direction_counts_from_the_smallest_to_the_largest_magnitudes():
    features, queries, labels = random_features(60, 5, 0), random_features(20, 5, 1), np.arange(60) % 4
    base = knn_predict(features, labels, queries, num_classes=4, k=9)
    scales = np.logspace(-30, 30, 60, dtype=np.float32)[:, None]
    got = knn_predict(features * scales, labels, queries * 1e-25, num_classes=4, k=9)
    np.testing.assert_allclose(got, base, atol=1e-5)


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e6])
def test_extreme_temperatures_neither_overflow_nor_vanish(temperature):
    features, labels = random_features(40, 6, 0), np.arange(40) % 4
    scores = knn_predict(features, labels, -features, num_classes=4, k=10, temperature=temperature)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-5)


def test_a_zero_vector_is_at_right_angles_to_everything():
    # Row 0 lies at cosine 0.1, row 1 is zero: were it left at the origin it would win.
    bank = np.array([[0.1, np.sqrt(0.99)], [0.0, 0.0], [-1.0, 0.0]])
    got = knn_predict(bank, np.array([0, 1, 2]), np.array([[1.0, 0.0]]), num_classes=3, k=3)
    expected = np.exp(np.array([0.1, 0.0, -1.0]) / 0.1)
    np.testing.assert_allclose(got[0], expected / expected.sum(), rtol=1e-5)


def test_zero_queries_and_a_collapsed_encoder_vote_evenly():
    labels = np.array([0, 0, 0, 1])
    for bank in (np.zeros((4, 3)), random_features(4, 3, 0), np.diag([1.0, 1, 1, 0])[:, :3]):
        scores = knn_predict(bank, labels, np.zeros((2, 3)), num_classes=2)
        np.testing.assert_allclose(scores, [[0.75, 0.25]] * 2, rtol=1e-6)


def test_a_tie_between_classes_is_an_equal_vote_and_a_miss():
    bank, labels = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([0, 1])
    query = np.array([[1.0, 0.0]])
    np.testing.assert_array_equal(knn_predict(bank, labels, query, num_classes=2), [[0.5, 0.5]])
    for label in (0, 1):
        assert knn_accuracy(bank, labels, query, np.array([label]), num_classes=2).top1 == 0.0


def test_one_class_is_always_right():
    features = random_features(5, 3, 0)
    zeros = np.zeros(5, int)
    assert knn_accuracy(features, zeros, features, zeros, num_classes=1) == (1.0, 1.0, 5, 1.0)


def test_accuracy_counts_top1_and_top5_of_labeled_queries():
    # Class c sits on axis c; query q leans first to axis q, then to the later ones in turn.
    bank, labels = np.eye(8), np.arange(8)
    queries = np.array([np.roll(np.linspace(1, 0, 8), q) for q in range(8)])
    truth = np.array([0, 1, 2, 7, 0, 2, -1, -1])  # places 1, 1, 1, 5, 5, 6
    assert knn_accuracy(bank, labels, queries, truth, num_classes=8) == pytest.approx(
        (3 / 6, 5 / 6, 6, 1 / 2)
    )


def test_bfloat16_features_are_taken():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    features, labels = random_features(30, 8, 0).astype(ml_dtypes.bfloat16), np.arange(30) % 3
    got = knn_predict(features, labels, features, num_classes=3, k=5)
    expected = knn_predict(
        features.astype(np.float32), labels, features.astype(np.float32), num_classes=3, k=5
    )
    np.testing.assert_array_equal(got, expected)


def test_the_arguments_are_left_as_they_were():
    features, labels = random_features(30, 8, 0), np.arange(30) % 3
    before = features.copy()
    knn_predict(features, labels, features, num_classes=3, k=5)
    np.testing.assert_array_equal(features, before)


@pytest.mark.slow
def test_the_search_blocks_its_distances():
    # 4,000 x 20,000 distances would be 320 MB (float32); a fresh process shows the peak.
    code = """if True:
        import resource, numpy as np
        from simclr_keras.evaluation.knn import knn_predict
        x = np.random.default_rng(0).standard_normal((20_000, 8), dtype=np.float32)
        knn_predict(x[:500], np.zeros(500, int), x[:50], num_classes=1, k=20)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        knn_predict(x, np.zeros(len(x), int), x[:4000], num_classes=1, k=20)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100e6


def test_euclidean_search_finds_the_cosine_neighbors():
    bank, queries = knn._unit_rows(random_features(400, 32, 0), "")[0], random_features(20, 32, 1)
    queries = knn._unit_rows(queries, "")[0]
    by = {m: NearestNeighbors(n_neighbors=9, algorithm="brute", metric=m) for m in ("cosine", "euclidean")}
    cosine, euclidean = (by[m].fit(bank).kneighbors(queries) for m in by)
    np.testing.assert_array_equal(cosine[1], euclidean[1])
    np.testing.assert_allclose(1 - cosine[0], 1 - euclidean[0] ** 2 / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 0}, "k >= 1"),
        ({"temperature": 0.0}, "temperature > 0"),
        ({"bank_labels": np.full(6, -1)}, "at least one labeled row"),
        ({"bank_labels": np.full(6, 3)}, r"in \[0, 3\)"),
        ({"bank_labels": np.zeros(5, int)}, "bank_features must be"),
        ({"query_features": np.ones((2, 5))}, "same width.*4 and 5"),
        ({"query_features": np.ones(4)}, "query_features must be"),
        ({"query_features": np.full((2, 4), np.nan)}, "query_features must be finite"),
        ({"bank_features": np.full((6, 4), np.inf)}, "bank_features must be finite"),
    ],
)
def test_wrong_input_is_named_in_one_line(change, said):
    good = {
        "bank_features": np.ones((6, 4)),
        "bank_labels": np.zeros(6, int),
        "query_features": np.ones((2, 4)),
        "num_classes": 3,
    }
    assert knn_predict(**good).shape == (2, 3)
    with pytest.raises(InputError, match=said) as error:
        knn_predict(**{**good, **change})
    assert "\n" not in str(error.value)


def test_capping_keeps_the_same_share_of_every_class():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, -1], [600, 300, 100, 500]))
    rows = cap_bank(1500, labels, 100, seed=1)
    np.testing.assert_array_equal(np.bincount(labels[rows]), [60, 30, 10])
    assert np.all(np.diff(rows) > 0)


def test_capping_keeps_one_row_of_every_class_while_the_limit_allows():
    labels = np.repeat([0, 1, 2], [1000, 1, 1])
    assert set(labels[cap_bank(1002, labels, 3, seed=0)]) == {0, 1, 2}
    assert len(cap_bank(1002, labels, 2, seed=0)) == 2


def test_capping_without_labels_is_uniform():
    counts = np.zeros(50)
    for seed in range(400):
        counts[cap_bank(50, None, 10, seed)] += 1
    # 80 expected in each place, deviation 8.
    assert counts.sum() == 4000
    assert np.all(np.abs(counts - 80) < 5 * 8)


def test_capping_is_a_function_of_the_seed():
    labels = np.arange(200) % 4
    np.testing.assert_array_equal(cap_bank(200, labels, 20, 3), cap_bank(200, labels, 20, 3))
    assert not np.array_equal(cap_bank(200, labels, 20, 3), cap_bank(200, labels, 20, 4))


@pytest.mark.parametrize("limit", [None, 4, 100])
def test_a_bank_within_the_limit_keeps_all_rows_that_can_vote(limit):
    np.testing.assert_array_equal(cap_bank(5, np.array([1, -1, 0, 0, 1]), limit, 0), [0, 2, 3, 4])
    np.testing.assert_array_equal(cap_bank(4, None, limit, 0), [0, 1, 2, 3])


def test_capping_refuses_an_empty_bank_and_labels_of_other_rows():
    with pytest.raises(InputError, match="limit=0"):
        cap_bank(5, None, 0, 0)
    with pytest.raises(InputError, match=r"labels must be \[5\]"):
        cap_bank(5, np.zeros(4, int), 2, 0)


@pytest.mark.slow
def test_evaluation_imports_no_tensorflow():
    names = ("classification", "knn", "linear_probe", "metrics", "plots")
    code = "".join(f"import simclr_keras.evaluation.{name}\n" for name in names)
    code += "import sys\nprint([m for m in ('tensorflow', 'keras', 'matplotlib.pyplot') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
