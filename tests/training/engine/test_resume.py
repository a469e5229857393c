"""A run that was killed or stopped, wherever it was, ends as one that never was, when its command is repeated."""

import json
import os
import signal

import pytest
import tensorflow as tf

from benchmarks.compare_runs import curves, differing
from simclr_keras import files
from simclr_keras.errors import Stopped, TrainingError
from simclr_keras.evaluation import features
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.runs.history import History
from simclr_keras.training.engine import data_recovery, loop
from simclr_keras.training.stages import pretrain
from tests.training.killing import Killed, raise_at
from tests.training.tiny import (
    TINY,
    checkpointed_steps,
    configure,
    make_config,
    make_tiny,
    metrics,
    result,
    run,
    silent,
    write_npz,
)

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


def is_killed(config):
    try:
        pretrain.run(config, say=silent)
    except Killed:
        return True
    return False


# Where a run is killed, one after the other: the owner and name of what it was about to do, for which time since it
# was continued.
KILLS = {
    "in the middle of epoch 1, a step after a checkpoint": (loop.Bar, "advance", 5),
    "about to save the checkpoint of epoch 1": (Checkpoints, "save", 1),
    "in the evaluation of epoch 1": (features.RepresentationScore, "__call__", 1),
    "between checkpoint and row of epoch 1": (History, "add", 1),
    "after the last checkpoint": (pretrain.plots, "curves_figure", 1),
}


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        data = "npz:" + write_npz(folder / "stripes.npz")
        pretrain.run(make_config(data, folder / "run", checkpoint_every_steps=2), say=silent)
    return folder / "run", data


def test_kill_anywhere(tiny, never_killed, tmp_path, monkeypatch):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_every_steps=2)
    for place, (owner, name, call) in KILLS.items():
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, raise_at(call, getattr(owner, name)))
            assert is_killed(config), place
        assert not (tmp_path / "run" / "result.json").exists()
    lines = []
    pretrain.run(config, say=lines.append)
    assert any("continued at step 11" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


def test_saving_and_steps_per_execution_change_no_weights(tiny, never_killed, tmp_path):
    whole, data = never_killed
    settings = {"keep_checkpoints": 1, "steps_per_execution": 4}
    pretrain.run(make_config(data, tmp_path / "run", **settings), say=silent)
    assert not differing(tmp_path / "run", whole)


def test_more_epochs_continue_a_finished_run(tiny, data, tmp_path):
    folder = tmp_path / "run"
    pretrain.run(make_config(data, folder, eval_every_epochs=2), say=silent)
    first = metrics(folder)
    pretrain.run(make_config(data, folder, eval_every_epochs=2, epochs=3), say=silent)
    rows = metrics(folder)
    assert rows[:2] == first
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "6"), ("2", "11"), ("3", "16")]
    # Every second epoch, and always the last.
    assert [bool(row["knn_top1"]) for row in rows] == [False, True, True]
    # The last epoch follows the schedule of three epochs, which is higher there than two epochs' end.
    assert float(rows[2]["learning_rate"]) > 0
    held = json.loads((folder / "config.json").read_text())
    assert (held["epochs"], held["extended_from"]) == (3, [2])
    assert (result(folder)["epochs"], result(folder)["step"]) == (3, 16)
    assert [step for step, _ in curves(folder)["contrastive_loss"]] == [6, 11, 16]


def test_finished_run_returns_its_result_at_once(tiny, never_killed, monkeypatch):
    whole, data = never_killed
    config = make_config(data, whole, checkpoint_every_steps=2)
    written = {path: path.stat().st_mtime_ns for path in whole.rglob("*.*")}

    def not_again(*args, **kwargs):
        raise AssertionError("a finished run trains, evaluates or draws again")

    for owner, name in (
        (pretrain, "make_learner"),
        (pretrain.plots, "curves_figure"),
        (features.Extractor, "__call__"),
    ):
        monkeypatch.setattr(owner, name, not_again)
    assert pretrain.run(config, say=silent) == result(whole)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*.*")} == written


def test_stop_by_signal(tiny, never_killed, tmp_path, monkeypatch):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run")
    before = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        with monkeypatch.context() as patch:
            patch.setattr(loop.Bar, "advance", lambda bar, steps, n=number: os.kill(os.getpid(), n))
            with pytest.raises(Stopped, match=rf"stopped by {number.name}: step \d is saved") as stopped:
                pretrain.run(config, say=silent)
        assert stopped.value.code == 128 + number
        step = checkpointed_steps(tmp_path / "run")[-1]
        assert before < step <= before + 2
        before = step
    lines = []
    pretrain.run(config, say=lines.append)
    assert any(f"continued at step {step}" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


def test_damaged_newest_checkpoints(tiny, never_killed, tmp_path, monkeypatch):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_every_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(History, "add", raise_at(2, History.add))
        with pytest.raises(Killed):
            pretrain.run(config, say=silent)
    steps = checkpointed_steps(tmp_path / "run")
    assert steps == [8, 10, 11]
    for step in steps[1:]:
        (tmp_path / "run" / "checkpoints" / f"step-{step}.data-00000-of-00001").write_bytes(b"")
    lines = []
    pretrain.run(config, say=lines.append)
    assert sum("is damaged" in line for line in lines) == 2
    assert any("continued at step 8" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


@pytest.mark.parametrize(("owner", "name"), [(loop, "make_step_function"), (features.Extractor, "__call__")])
def test_out_of_memory_is_one_line(tiny, data, tmp_path, monkeypatch, owner, name):
    def fail(*args):
        lines = (
            "Graph execution error:",
            "",
            "Detected at node MatMul",
            "OOM when allocating tensor",
            "\t [[{{n}}]]",
        )
        raise tf.errors.ResourceExhaustedError(None, None, "\n".join(lines))

    monkeypatch.setattr(owner, name, fail)
    words = (
        r"out of memory with --batch_size=8 \(OOM when allocating tensor\); repeat the command with --remat, which "
        r"needs less; or give --microbatch_size=4, which keeps the batch and its negatives, or a smaller batch, or a "
        r"smaller --model or --image_size, in another --model_dir"
    )
    with pytest.raises(TrainingError, match=words) as error:
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)
    assert "\n" not in str(error.value)
    divided = make_config(data, tmp_path / "divided", microbatch_size=4)
    with pytest.raises(
        TrainingError, match=r"--microbatch_size=4 .*; or give a smaller one, or a smaller --model"
    ):
        pretrain.run(divided, say=silent)


def test_stop_while_the_data_fails(tiny, data, tmp_path, monkeypatch):
    def fail(iterator, count):
        os.kill(os.getpid(), signal.SIGTERM)
        raise tf.errors.NotFoundError(None, None, "IteratorGetNext: photo.jpg; No such file")

    def make_step_function(learner, strategy, stop, hosts):
        stop.nothing_to_save = False
        return fail

    monkeypatch.setattr(loop, "make_step_function", make_step_function)
    monkeypatch.setattr(data_recovery.Recovery, "retry", lambda *given: pytest.fail("it waits"))
    with pytest.raises(Stopped, match="SIGTERM"):
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)


def test_stop_and_damage_on_replicas(tiny, data, two_devices, tmp_path, monkeypatch, own_collectives):
    settings = {"dataset": data, "model": TINY, "augment": "none", "strategy": "mirrored"}
    settings |= {"checkpoint_every_steps": 2, "on_nan": "skip_batch"}
    run(configure("supervised", tmp_path / "whole", **settings))
    config = configure("supervised", tmp_path / "run", **settings)
    signal_at = raise_at(3, loop.Bar.advance)

    def advance(bar, steps):
        try:
            signal_at(bar, steps)
        except Killed:
            os.kill(os.getpid(), signal.SIGTERM)

    own_collectives()
    with monkeypatch.context() as patch:
        patch.setattr(loop.Bar, "advance", advance)
        with pytest.raises(Stopped, match="is saved"):
            run(config)
    own_collectives()
    newest = checkpointed_steps(tmp_path / "run")[-1]
    (tmp_path / "run" / "checkpoints" / f"step-{newest}.index").write_bytes(b"")
    assert any("is damaged" in line for line in run(config).lines)
    assert not differing(tmp_path / "run", tmp_path / "whole")


def test_full_disk_leaves_the_last_checkpoint_good(tiny, never_killed, tmp_path, monkeypatch):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_every_steps=2)
    for owner, call, what, words in (
        (tf.train.Checkpoint, "write", "step-4", "cannot save the checkpoint of step 4"),
        (files._LocalFiles, "open", "metrics.csv", "cannot write .*metrics.csv"),
    ):
        real = getattr(owner, call)

        def full(*args, what=what, real=real, **kwargs):
            if any(what in str(value) for value in args):
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, call, full)
            with pytest.raises(TrainingError, match=rf"{words}.*No space left.*free space"):
                pretrain.run(config, say=silent)
    pretrain.run(config, say=silent)
    assert not differing(tmp_path / "run", whole)
