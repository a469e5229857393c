"""Raw pixels and the untrained encoder beside the trained one, measured at the right moment and kept."""

import numpy as np
import pytest

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.evaluation.baselines import Baselines, table
from simclr_keras.evaluation.features import RepresentationScore
from simclr_keras.hosts import Hosts
from tests.training.tiny import write_npz

KNN = {"num_classes": 3, "k": 3, "temperature": 0.1}


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return load_dataset("npz:" + write_npz(tmp_path_factory.mktemp("data") / "data.npz"))


class Encoder:
    """Stands for an Extractor: before training it sees nothing, afterwards the class itself."""

    hosts = Hosts()

    def __init__(self):
        self.trained = False
        self.calls = 0

    def __call__(self, source):
        self.calls += 1
        features = np.eye(3)[source.labels] if self.trained else np.ones((len(source), 3))
        return {"final_avg_pool": features.astype(np.float32), "label": source.labels}


def make(encoder, splits):
    return Baselines(RepresentationScore(encoder, splits.train, splits.evaluation, **KNN), 8)


def test_the_untrained_encoder_is_measured_before_and_the_trained_one_after(splits):
    encoder = Encoder()
    compared = make(encoder, splits)
    before = compared.before(0, {})
    encoder.trained = True
    after = compared.after()
    assert set(before) == {"raw_pixels_knn_top1", "random_encoder_knn_top1", "random_encoder_logistic_top1"}
    # Stripes are plain to see in the pixels; constant features tell nothing.
    assert before["raw_pixels_knn_top1"] == 1.0
    assert max(before["random_encoder_knn_top1"], before["random_encoder_logistic_top1"]) < 0.5
    assert after == {"pretrained_encoder_knn_top1": 1.0, "pretrained_encoder_logistic_top1": 1.0}


def test_a_resumed_run_keeps_what_was_measured_before_training(splits):
    encoder = Encoder()
    before = make(encoder, splits).before(0, {})
    encoder.trained = True
    calls = encoder.calls
    assert make(encoder, splits).before(7, before) == before
    assert encoder.calls == calls


def test_a_run_resumed_without_them_does_not_call_a_trained_encoder_untrained(splits):
    encoder = Encoder()
    encoder.trained = True
    assert set(make(encoder, splits).before(7, {})) == {"raw_pixels_knn_top1"}


def test_figures_left_by_another_run_are_measured_anew(splits):
    saved = {"raw_pixels_knn_top1": 0.125}
    assert make(Encoder(), splits).before(0, saved)["raw_pixels_knn_top1"] == 1.0


@pytest.mark.slow
def test_the_table_shows_percent_and_a_dash_where_nothing_was_measured():
    figures = {
        "raw_pixels_knn_top1": 0.9,
        "random_encoder_knn_top1": 0.25,
        "random_encoder_logistic_top1": 0.5,
        "pretrained_encoder_knn_top1": 0.875,
        "pretrained_encoder_logistic_top1": 1.0,
    }
    assert [line.split() for line in table(figures, online_probe=0.75)] == [
        ["top-1", "kNN", "linear"],
        ["raw", "pixels", "90.0%", "-"],
        ["untrained", "encoder", "25.0%", "50.0%"],
        ["pretrained", "encoder", "87.5%", "100.0%"],
        ["online", "linear", "probe", "-", "75.0%"],
    ]
    assert len({len(line) for line in table(figures, 0.75)}) == 1
    assert len(table(figures)) == 4
