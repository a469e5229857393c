"""Batches that cannot be made: what went wrong in plain words, a few attempts, then a stop."""

import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.training.engine.data_recovery import WAITS, Recovery, data_failure


def failure(path, bytes_of=None):
    """The error of a batch whose file is missing, or holds `bytes_of`, met inside a graph as in training."""
    if bytes_of is not None:
        path.write_bytes(bytes_of)
    images = tf.data.Dataset.from_tensors(str(path)).map(lambda p: tf.io.decode_jpeg(tf.io.read_file(p)))
    iterator = iter(images)

    @tf.function(autograph=False)
    def step(iterator):
        return tf.shape(next(iterator))

    with pytest.raises(tf.errors.OpError) as error:
        step(iterator)
    return error.value


def test_a_missing_file_is_named(tmp_path):
    assert data_failure(failure(tmp_path / "a.jpg")) == f"{tmp_path}/a.jpg; No such file or directory"


def test_a_damaged_file_says_so(tmp_path):
    why = data_failure(failure(tmp_path / "a.jpg", b"\xff\xd8\xff\xe0" + bytes(99)))
    assert "Invalid JPEG data" in why
    assert "\n" not in why


def test_errors_of_the_network_are_no_failures_of_data():
    error = tf.errors.InvalidArgumentError(None, None, "Incompatible shapes: [2] vs. [3] [Op:AddV2]")
    assert data_failure(error) is None
    with pytest.raises(tf.errors.InvalidArgumentError):
        Recovery(wait=None).load_again(error, 6, dict)


class TestAttempts:
    @pytest.fixture
    def waited(self):
        return []

    @pytest.fixture
    def said(self):
        return []

    @pytest.fixture
    def recovery(self, waited, said):
        return Recovery(said.append, waited.append)

    @pytest.fixture
    def error(self, tmp_path):
        return failure(tmp_path / "a.jpg")

    def test_every_attempt_waits_longer_and_is_told(self, recovery, error, waited, said):
        for _ in WAITS:
            recovery.load_again(error, 6, dict)
        assert waited == list(WAITS) == sorted(WAITS)
        assert len(said) == len(WAITS)
        assert "No such file or directory): looking at the data again, to go on from step 6" in said[0]

    def test_too_many_without_progress_stop(self, recovery, error):
        for _ in WAITS:
            recovery.load_again(error, 6, dict)
        with pytest.raises(TrainingError, match=r"4 times after step 6 \(.*a.jpg.*\).*mend the data") as stop:
            recovery.load_again(error, 6, dict)
        assert "\n" not in str(stop.value)

    def test_progress_begins_the_count_anew(self, recovery, error, waited):
        for step in (6, 6, 6, 11, 11, 11, 16):
            recovery.load_again(error, step, dict)
        assert waited == [*WAITS, *WAITS, WAITS[0]]

    def test_data_that_cannot_be_loaded_is_a_failure_too(self, recovery, error, waited, said):
        answers = iter([InputError("there is no folder"), InputError("there is no folder"), "the data"])

        def load():
            answer = next(answers)
            if isinstance(answer, InputError):
                raise answer
            return answer

        assert recovery.load_again(error, 6, load) == "the data"
        assert waited == list(WAITS)
        assert "there is no folder" in said[-1]

    def test_data_that_stays_away_stops_with_what_is_wrong_with_it(self, recovery, error):
        def load():
            raise InputError("there is no folder")

        with pytest.raises(TrainingError, match=r"4 times after step 6 \(there is no folder\)"):
            recovery.load_again(error, 6, load)
