"""Batches that cannot be read: the reason in one line, a few attempts, then a stop."""

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


def test_reason_of_missing_and_damaged_files(tmp_path):
    assert data_failure(failure(tmp_path / "a.jpg")) == f"{tmp_path}/a.jpg; No such file or directory"
    why = data_failure(failure(tmp_path / "a.jpg", b"\xff\xd8\xff\xe0" + bytes(99)))
    assert "Invalid JPEG data" in why
    assert "\n" not in why


def test_errors_of_the_network_are_raised():
    error = tf.errors.InvalidArgumentError(None, None, "Incompatible shapes: [2] vs. [3] [Op:AddV2]")
    assert data_failure(error) is None
    with pytest.raises(tf.errors.InvalidArgumentError):
        Recovery(wait=None).retry(error, 6, dict)


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

    def test_waits_grow_until_there_are_too_many_without_progress(self, recovery, error, waited, said):
        for _ in WAITS:
            recovery.retry(error, 6, dict)
        assert waited == list(WAITS) == sorted(WAITS)
        assert len(said) == len(WAITS)
        assert "No such file or directory): checking the data again, then resuming from step 6" in said[0]
        with pytest.raises(
            TrainingError, match=r"4 times after step 6 \(.*a.jpg.*\).*repair the data"
        ) as stop:
            recovery.retry(error, 6, dict)
        assert "\n" not in str(stop.value)

    def test_progress_resets_the_count(self, recovery, error, waited):
        for step in (6, 6, 6, 11, 11, 11, 16):
            recovery.retry(error, step, dict)
        assert waited == [*WAITS, *WAITS, WAITS[0]]

    @pytest.mark.slow
    @pytest.mark.parametrize("failures", [2, 3])
    def test_data_that_cannot_be_loaded_counts_as_a_failure(self, recovery, error, waited, said, failures):
        answers = iter([True] * failures + [False])

        def load():
            if next(answers):
                raise InputError("folder not found")

        if failures < len(WAITS):
            recovery.retry(error, 6, load)
            assert waited == list(WAITS)
            assert "folder not found" in said[-1]
        else:
            with pytest.raises(TrainingError, match=r"4 times after step 6 \(folder not found\)"):
                recovery.retry(error, 6, load)
