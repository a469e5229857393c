"""Checkpoints: exact, the newest few, whole at every instant, and clear about what is damaged or does not fit."""

import os
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.runs.checkpoints import CheckpointReader, Checkpoints, newest_readable, steps_in

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


def test_names_with_dots_are_read(tmp_path):
    names = ("model/encoder/conv1.2/kernel", "model/a.S/b..c", "model/..")
    variables = {name: keras.Variable(float(index)) for index, name in enumerate(names)}
    Checkpoints(str(tmp_path), variables, 3).save(1)
    reader = CheckpointReader(str(tmp_path), 1)
    assert {name: float(reader.read(name)) for name in reader.shapes} == dict(zip(names, (0.0, 1.0, 2.0)))


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_surplus_weights_are_refused(directory, name):
    Checkpoints(directory, state(), 3).save(1)
    fewer = {key: variable for key, variable in state().items() if key != name}
    with pytest.raises(InputError, match="does not fit"):
        Checkpoints(directory, fewer, 3).restore()
    more = {**state(), "model/new": keras.Variable(1.0)}
    with pytest.raises(InputError, match="does not fit"):
        Checkpoints(directory, more, 3).restore()


def damage(directory, step, kind):
    """Does to a checkpoint what disks and people do."""
    data = directory / f"step-{step}.data-00000-of-00001"
    index = directory / f"step-{step}.index"
    whole = data.read_bytes()
    if kind == "data cut":
        data.write_bytes(whole[:-1])
    elif kind == "data empty":
        data.write_bytes(b"")
    elif kind == "data gone":
        data.unlink()
    elif kind == "a bit of the data turned":
        data.write_bytes(whole[:10] + bytes([whole[10] ^ 1]) + whole[11:])
    elif kind == "index cut":
        index.write_bytes(index.read_bytes()[:-20])
    elif kind == "index empty":
        index.write_bytes(b"")
    elif kind == "index overwritten":
        index.write_bytes(b"nothing")


DAMAGE = (
    "data cut",
    "data empty",
    "data gone",
    "a bit of the data turned",
    "index cut",
    "index empty",
    "index overwritten",
)


@pytest.fixture
def three(tmp_path):
    """A directory with the checkpoints 1, 2 and 3."""
    for step in (1, 2, 3):
        Checkpoints(str(tmp_path), state(step), 3).save(step)
    return tmp_path


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(three, kind):
    damage(three, 3, kind)
    found, said = state(9), []
    assert Checkpoints(str(three), found, 3).restore(said.append) == 2
    for name, value in arrays(state(2)).items():
        assert arrays(found)[name].tobytes() == value.tobytes()
    assert len(said) == 1
    assert said[0].startswith("the checkpoint of step 3 is damaged (")
    assert said[0].endswith("continuing from step 2")
    assert "\n" not in said[0]
    assert newest_readable(str(three))[0] == 2


def test_two_damaged_checkpoints_fall_back_to_the_third(three):
    damage(three, 3, "index empty")
    damage(three, 2, "data gone")
    said = []
    assert Checkpoints(str(three), state(), 3).restore(said.append) == 1
    assert len(said) == 2


def test_a_byte_of_an_index_may_turn(three):
    index = three / "step-3.index"
    whole = index.read_bytes()
    steps = set()
    for place in range(0, len(whole), 9):
        index.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        found = state(9)
        step = Checkpoints(str(three), found, 3).restore(lambda line: None)
        steps.add(step)
        # Some bytes mean nothing; whatever is loaded is what was saved.
        for name, value in arrays(state(step)).items():
            assert arrays(found)[name].tobytes() == value.tobytes()
    assert 2 in steps


def test_a_directory_of_damaged_checkpoints_is_refused_in_one_line(three):
    for step in (1, 2, 3):
        damage(three, step, "data cut")
    words = r"all 3 checkpoints in .* are unreadable \(step 3: .*\); restore one, or start a new run"
    with pytest.raises(InputError, match=words) as refusal:
        Checkpoints(str(three), state(), 3).restore()
    assert "\n" not in str(refusal.value)


def test_what_cannot_be_removed_is_no_obstacle(three, monkeypatch):
    (three / "step-4.partial.index").write_bytes(b"")

    def refuse(path):
        raise tf.errors.FailedPreconditionError(None, None, "Read-only file system")

    monkeypatch.setattr(tf.io.gfile, "remove", refuse)
    assert Checkpoints(str(three), state(), 3).restore() == 3


def test_a_checkpoint_is_on_the_disk_before_an_older_one_is_removed(three, monkeypatch):
    done = []
    real_sync, real_remove, real_rename = os.fsync, tf.io.gfile.remove, tf.io.gfile.rename

    def sync(descriptor):
        done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        real_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(
        tf.io.gfile,
        "remove",
        lambda path: (done.append(("remove", os.path.basename(path))), real_remove(path)),
    )
    monkeypatch.setattr(
        tf.io.gfile,
        "rename",
        lambda a, b, overwrite: (done.append(("rename", os.path.basename(b))), real_rename(a, b, overwrite)),
    )
    Checkpoints(str(three), state(), 1).save(4)
    expected = [
        ("sync", "step-4.partial.data-00000-of-00001"),
        ("sync", "step-4.partial.index"),
        ("rename", "step-4.data-00000-of-00001"),
        ("rename", "step-4.index"),
        ("sync", three.name),
    ]
    assert sorted(done[:2]) == expected[:2]
    assert done[2:5] == expected[2:]
    assert ("remove", "step-3.index") in done[5:]


def test_a_damaged_checkpoint_is_passed_over_until_it_is_written_anew(three):
    damage(three, 3, "data cut")
    checkpoints = Checkpoints(str(three), state(5), 2)
    assert checkpoints.restore(lambda line: None) == 2
    checkpoints.save(4)
    # The two newest that are good; the damaged one is gone.
    assert steps_in(str(three)) == [2, 4]
    checkpoints.save(6)
    assert steps_in(str(three)) == [4, 6]


@pytest.mark.parametrize("state_file", [None, "", "nonsense", 'model_checkpoint_path: "step-1"\n'])
def test_the_file_that_names_the_newest_is_not_relied_upon(three, state_file):
    (three / "checkpoint").unlink()
    if state_file is not None:
        (three / "checkpoint").write_text(state_file)
    assert Checkpoints(str(three), state(), 3).restore() == 3


def test_tensorflow_finds_the_newest_too(three):
    assert tf.train.latest_checkpoint(str(three)) == f"{three}/step-3"


def test_a_checkpoint_that_turned_out_bad_is_forgotten(three):
    checkpoints = Checkpoints(str(three), state(), 3)
    for left in ([1, 2], [1], [1], []):
        checkpoints.forget(max(steps_in(str(three))), unless_only=left == [1])
        assert steps_in(str(three)) == left
        newest = tf.train.latest_checkpoint(str(three))
        assert newest == (f"{three}/step-{left[-1]}" if left else None)


class TestKilledWhileSaving:
    """Killed at every single thing that saving asks of the file system."""

    FUNCTIONS = ("rename", "remove", "exists", "listdir")

    @pytest.mark.parametrize("call", range(40))
    def test_a_whole_checkpoint_is_there_at_every_instant(self, three, monkeypatch, call):
        calls = 0

        def killed_at(real):
            def function(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls > call:
                    raise KeyboardInterrupt
                return real(*args, **kwargs)

            return function

        checkpoints = Checkpoints(str(three), state(4), 1)
        for name in self.FUNCTIONS:
            monkeypatch.setattr(tf.io.gfile, name, killed_at(getattr(tf.io.gfile, name)))
        try:
            checkpoints.save(4)
        except KeyboardInterrupt:
            pass
        else:
            assert calls <= call
        assert calls <= call or call < 39  # else there would be calls that none of these is killed at
        monkeypatch.undo()
        found, said = state(9), []
        step = Checkpoints(str(three), found, 1).restore(said.append)
        assert step in (3, 4)
        assert not said
        for name, value in arrays(state(step)).items():
            assert arrays(found)[name].tobytes() == value.tobytes()
        # What was half written is gone.
        assert not [name for name in os.listdir(three) if "partial" in name]


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


def test_a_disk_that_really_takes_no_more_spares_the_checkpoints_there(tmp_path):
    large = state(shape=(300, 1000))
    checkpoints = Checkpoints(str(tmp_path), large, 3)
    checkpoints.save(1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # A limit on the size of a file fails a write as a full disk does, for root too.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(
            TrainingError, match=r"cannot save the checkpoint of step 2 \(.*\); free space"
        ) as error:
            checkpoints.save(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    checkpoints.save(2)
    assert Checkpoints(str(tmp_path), large, 3).restore() == 2
