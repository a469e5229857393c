"""Checkpoints: exact, the newest few, and clear about what does not fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.training.checkpoints import Checkpoints

NAMES = ("model/encoder/kernel", "model/encoder/bias", "optimizer/iteration")


def state(seed=0, shape=(3, 4)):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=shape).astype("float32"), rng.normal(size=4), np.int64(seed))
    kinds = ("float32", "float64", "int64")
    return {
        name: keras.Variable(value, dtype=kind, trainable=False)
        for name, value, kind in zip(NAMES, values, kinds)
    }


def arrays(variables):
    return {name: variable.value.numpy() for name, variable in variables.items()}


@pytest.fixture(params=["local", "remote"])
def directory(request, tmp_path):
    return str(tmp_path / "checkpoints") if request.param == "local" else f"ram://{tmp_path.name}/checkpoints"


def steps_in(directory):
    return sorted(
        int(name.removeprefix("step-").removesuffix(".index"))
        for name in tf.io.gfile.listdir(directory)
        if name.endswith(".index")
    )


def test_a_new_run_starts_at_step_0(directory):
    assert Checkpoints(directory, state(), 3).restore() == 0


def test_what_is_saved_comes_back_bit_for_bit(directory):
    saved = state(1)
    Checkpoints(directory, saved, 3).save(17)
    found = state(2)
    assert Checkpoints(directory, found, 3).restore() == 17
    for name, value in arrays(saved).items():
        assert arrays(found)[name].tobytes() == value.tobytes()
        assert arrays(state(2))[name].tobytes() != value.tobytes()


def test_the_newest_are_kept_across_restarts(directory):
    for steps in ((1, 2), (3, 4, 5)):
        checkpoints = Checkpoints(directory, state(), 3)
        checkpoints.restore()
        for step in steps:
            checkpoints.save(step)
    assert steps_in(directory) == [3, 4, 5]
    assert Checkpoints(directory, state(), 3).restore() == 5


def test_a_step_may_be_saved_twice(tmp_path):
    # As after a kill between writing a checkpoint and naming it the newest.
    first, second = state(1), state(2)
    Checkpoints(str(tmp_path), first, 3).save(6)
    Checkpoints(str(tmp_path), second, 3).save(6)
    found = state(3)
    assert Checkpoints(str(tmp_path), found, 3).restore() == 6
    np.testing.assert_array_equal(arrays(found)[NAMES[0]], arrays(second)[NAMES[0]])


def test_weights_of_another_shape_are_refused(directory):
    Checkpoints(directory, state(), 3).save(1)
    with pytest.raises(InputError, match=r"step-1 does not fit this run .*give another --model_dir"):
        Checkpoints(directory, state(shape=(3, 5)), 3).restore()


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_surplus_weights_are_refused(directory, name):
    Checkpoints(directory, state(), 3).save(1)
    fewer = {key: variable for key, variable in state().items() if key != name}
    with pytest.raises(InputError, match="does not fit"):
        Checkpoints(directory, fewer, 3).restore()
    more = {**state(), "model/new": keras.Variable(1.0)}
    with pytest.raises(InputError, match="does not fit"):
        Checkpoints(directory, more, 3).restore()


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path):
    Checkpoints(str(tmp_path), state(), 3).save(1)
    (tmp_path / "step-1.index").write_bytes(b"nothing")
    with pytest.raises((InputError, TrainingError), match=r"step-1 (does not fit|cannot be read)") as refusal:
        Checkpoints(str(tmp_path), state(), 3).restore()
    assert "\n" not in str(refusal.value)


def test_a_checkpoint_that_cannot_be_written_stops_training_and_spares_the_ones_there(directory, monkeypatch):
    checkpoints = Checkpoints(directory, state(), 3)
    checkpoints.save(1)

    def full(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.Checkpoint, "_write", full)
    monkeypatch.setattr(tf.train.Checkpoint, "write", full)
    with pytest.raises(TrainingError, match=r"checkpoint of step 2 \(No space left on device\); free space"):
        checkpoints.save(2)
    monkeypatch.undo()
    assert Checkpoints(directory, state(), 3).restore() == 1
