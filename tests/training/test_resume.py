"""A run that was killed, wherever it was, ends as one that never was, when its command is repeated."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import folder as folder_module
from simclr_keras.data import manifest
from simclr_keras.errors import Stopped, TrainingError
from simclr_keras.training import evaluate, loop, pretrain, recovery, setup
from simclr_keras.training.checkpoints import Checkpoints
from simclr_keras.training.compare import curves, differing
from simclr_keras.training.progress import History
from simclr_keras.training.run_dir import RunDir
from tests.training.tiny import (
    checkpointed_steps,
    create_tiny_model,
    make_config,
    metrics,
    result,
    silent,
    write_npz,
)

ROOT = pathlib.Path(__file__).parents[2]


def make_tiny(patch):
    """A network of two layers in place of the ResNet, and pictures that are drawn but not rendered."""
    patch.setattr(pretrain, "create_model", create_tiny_model)
    patch.setattr(RunDir, "save_figure", lambda run_dir, name, figure: run_dir.write_bytes(name, b"drawn"))


@pytest.fixture
def tiny(monkeypatch):
    make_tiny(monkeypatch)


@pytest.fixture
def data(tmp_path):
    return "npz:" + write_npz(tmp_path / "stripes.npz")


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def raise_at(call, real):
    """A method that runs as ever until its call number `call`, and is killed there."""
    calls = 0

    def method(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return real(*args, **kwargs)

    return method


# Where a run is killed: the owner and name of what it was about to do, for which time.
KILLS = {
    "in the middle of epoch 1, a step after a checkpoint": (loop.Bar, "advance", 5),
    "about to save the checkpoint of epoch 1": (Checkpoints, "save", 3),
    "between checkpoint and row of epoch 1": (History, "add", 1),
    "in the evaluation of epoch 1": (evaluate.RepresentationScore, "__call__", 1),
    "in the evaluation of epoch 2": (evaluate.RepresentationScore, "__call__", 2),
    "after the last checkpoint": (pretrain.plots, "curves_figure", 1),
}


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        data = "npz:" + write_npz(folder / "stripes.npz")
        pretrain.run(make_config(data, folder / "run", checkpoint_steps=2, baselines=True), say=silent)
    return folder / "run", data


@pytest.mark.parametrize(
    "kill", [next(iter(KILLS)), *(pytest.param(kill, marks=pytest.mark.slow) for kill in list(KILLS)[1:])]
)
def test_a_run_killed_and_repeated_ends_as_one_never_killed(tiny, never_killed, tmp_path, monkeypatch, kill):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_steps=2, baselines=True)
    owner, name, call = KILLS[kill]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raise_at(call, getattr(owner, name)))
        with pytest.raises(Killed):
            pretrain.run(config, say=silent)
    assert not (tmp_path / "run" / "result.json").exists()
    lines = []
    pretrain.run(config, say=lines.append)
    assert any("continued at step" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_one_never_killed(tiny, never_killed, tmp_path, monkeypatch):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_steps=2, baselines=True)
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(loop.Bar, "advance", raise_at(4, loop.Bar.advance))
            with pytest.raises(Killed):
                pretrain.run(config, say=silent)
    assert checkpointed_steps(tmp_path / "run")[-1] < 11
    pretrain.run(config, say=silent)
    assert not differing(tmp_path / "run", whole)


def test_the_same_settings_give_the_same_weights_however_often_they_are_saved(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", baselines=True, keep_checkpoints=1), say=silent)
    assert not differing(tmp_path / "run", whole)


def test_several_steps_a_call_are_the_same_steps(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", baselines=True, steps_per_call=4), say=silent)
    assert not differing(tmp_path / "run", whole)


def test_another_seed_is_another_run(tiny, never_killed, tmp_path):
    whole, data = never_killed
    pretrain.run(make_config(data, tmp_path / "run", seed=1), say=silent)
    assert metrics(tmp_path / "run")[0]["contrastive_loss"] != metrics(whole)[0]["contrastive_loss"]


def test_a_finished_run_may_go_on_to_more_epochs(tiny, data, tmp_path):
    folder = tmp_path / "run"
    pretrain.run(make_config(data, folder, eval_every=2), say=silent)
    first = metrics(folder)
    pretrain.run(make_config(data, folder, eval_every=2, epochs=3), say=silent)
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


def test_a_finished_run_returns_at_once_with_the_same_result(tiny, data, tmp_path, monkeypatch):
    config = make_config(data, tmp_path / "run", baselines=True)
    first = pretrain.run(config, say=silent)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")}

    def not_again(*args, **kwargs):
        raise AssertionError("a finished run trains, evaluates or draws again")

    for owner, name in (
        (pretrain, "make_learner"),
        (pretrain.plots, "curves_figure"),
        (evaluate.Extractor, "__call__"),
    ):
        monkeypatch.setattr(owner, name, not_again)
    assert pretrain.run(config, say=silent) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")} == written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_run_stopped_by_a_signal_saves_its_step_and_ends_as_one_never_stopped(
    tiny, never_killed, tmp_path, monkeypatch, number
):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", baselines=True)
    with monkeypatch.context() as patch:
        patch.setattr(loop.Bar, "advance", lambda bar, steps: os.kill(os.getpid(), number))
        with pytest.raises(Stopped, match=f"stopped by {number.name}: step [12] is saved") as stopped:
            pretrain.run(config, say=silent)
    assert stopped.value.code == 128 + number
    (step,) = checkpointed_steps(tmp_path / "run")
    lines = []
    pretrain.run(config, say=lines.append)
    assert any(f"continued at step {step}" in line for line in lines)
    assert not differing(tmp_path / "run", whole)


def test_a_run_whose_newest_checkpoint_is_damaged_ends_as_one_never_killed(
    tiny, never_killed, tmp_path, monkeypatch
):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_steps=2, baselines=True)
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


@pytest.mark.parametrize(("owner", "name"), [(loop, "make_step_function"), (evaluate.Extractor, "__call__")])
def test_too_little_memory_is_one_clear_line(tiny, data, tmp_path, monkeypatch, owner, name):
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
    words = r"out of memory with --batch_size=8 \(OOM when allocating tensor\); give a smaller one"
    with pytest.raises(TrainingError, match=words) as error:
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)
    assert "\n" not in str(error.value)


def test_a_stop_is_heard_though_the_data_fails_meanwhile(tiny, data, tmp_path, monkeypatch):
    def fail(iterator, count):
        os.kill(os.getpid(), signal.SIGTERM)
        raise tf.errors.NotFoundError(None, None, "IteratorGetNext: photo.jpg; No such file")

    def make_step_function(learner, strategy, stop):
        stop.nothing_to_save = False
        return fail

    monkeypatch.setattr(loop, "make_step_function", make_step_function)
    monkeypatch.setattr(recovery.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(Stopped, match="SIGTERM"):
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)


@pytest.mark.slow
def test_a_run_on_replicas_that_is_stopped_and_damaged_ends_as_one_that_was_not(
    tiny, data, tmp_path, monkeypatch, own_collectives
):
    settings = {"strategy": "mirrored", "checkpoint_steps": 2, "on_nan": "skip_batch"}
    pretrain.run(make_config(data, tmp_path / "whole", **settings), say=silent)
    config = make_config(data, tmp_path / "run", **settings)
    for call in (2, 3):
        own_collectives()
        signal_at = raise_at(call, loop.Bar.advance)

        def advance(bar, steps, signal_at=signal_at):
            try:
                signal_at(bar, steps)
            except Killed:
                os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(loop.Bar, "advance", advance)
            with pytest.raises(Stopped, match="is saved"):
                pretrain.run(config, say=silent)
    own_collectives()
    newest = checkpointed_steps(tmp_path / "run")[-1]
    (tmp_path / "run" / "checkpoints" / f"step-{newest}.index").write_bytes(b"")
    lines = []
    pretrain.run(config, say=lines.append)
    assert any("is damaged" in line for line in lines)
    assert not differing(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("call", ["write", "GFile"])
def test_a_disk_that_fills_up_stops_the_run_with_its_last_checkpoint_good(
    tiny, never_killed, tmp_path, monkeypatch, call
):
    whole, data = never_killed
    config = make_config(data, tmp_path / "run", checkpoint_steps=2, baselines=True)
    owner, what, words = {
        "write": (tf.train.Checkpoint, "step-4", "cannot save the checkpoint of step 4"),
        "GFile": (tf.io.gfile, "metrics.csv", "cannot write .*metrics.csv"),
    }[call]
    real = getattr(owner, call)

    def full(*args, **kwargs):
        if any(what in str(value) for value in args):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, full)
        with pytest.raises(TrainingError, match=rf"{words}.*No space left.*free space"):
            pretrain.run(config, say=silent)
    pretrain.run(config, say=silent)
    assert not differing(tmp_path / "run", whole)


@pytest.mark.slow
class TestFilesThatGo:
    """A folder whose files are read as they are needed, while somebody works on it."""

    @pytest.fixture
    def folder(self, tiny, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(folder_module, "_fits", lambda paths, limit: False)
        monkeypatch.setattr(recovery, "WAITS", (0, 0, 0))
        arrays = np.load(write_npz(tmp_path / "stripes.npz"))
        for i, (image, label) in enumerate(zip(arrays["x_train"], arrays["y_train"])):
            path = tmp_path / "photos" / f"class{label}" / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(image).numpy())
        return tmp_path / "photos"

    def run(self, folder, run, monkeypatch, harm=None):
        """Runs with harm() done once epoch 1 is over; returns what was said."""
        lines = []
        config = make_config(f"folder:{folder}", run, epochs=4)
        with monkeypatch.context() as patch:
            if harm is not None:
                real = History.add

                def add(history, row):
                    real(history, row)
                    if row["epoch"] == 1:
                        harm()

                patch.setattr(History, "add", add)
            pretrain.run(config, say=lines.append)
        return lines

    def test_a_file_that_is_deleted_has_a_stand_in_and_the_run_goes_on(self, folder, tmp_path, monkeypatch):
        gone = []

        def harm():
            held = json.loads((tmp_path / "run" / "split.json").read_text())["held_out"]
            name = next(p for p in sorted(folder.rglob("*.png")) if str(p.relative_to(folder)) not in held)
            name.unlink()
            gone.append(str(name.relative_to(folder)))

        lines = self.run(folder, tmp_path / "run", monkeypatch, harm)
        assert any("a batch could not be made" in line and "No such file" in line for line in lines)
        assert any(f"1 images the run began with are gone: {gone[0]}" in line for line in lines)
        assert [row["epoch"] for row in metrics(tmp_path / "run")] == ["1", "2", "3", "4"]
        # The same command again, after a kill say, finds its way too.
        (tmp_path / "run" / "result.json").unlink()
        self.run(folder, tmp_path / "run", monkeypatch)

    def test_a_file_that_is_overwritten_by_nonsense_is_named_at_the_end(self, folder, tmp_path, monkeypatch):
        def harm():
            for path in sorted(folder.rglob("*.png"))[:1]:
                path.write_bytes(b"nonsense")

        lines = self.run(folder, tmp_path / "run", monkeypatch, harm)
        assert any(
            line.startswith("left out 1 images that cannot be read: class0/00.png (") for line in lines
        )
        assert result(tmp_path / "run")["unreadable_images"] == 1

    def test_a_file_that_rots_is_found_though_its_size_and_time_say_nothing(
        self, folder, tmp_path, monkeypatch
    ):
        def harm():
            path = min(folder.rglob("*.png"))
            before = path.stat()
            path.write_bytes(bytes(before.st_size))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        # As a disk does it, which changes no time at all.
        monkeypatch.setattr(manifest, "_local_stamp", lambda path: (7, 7, 7))
        self.run(folder, tmp_path / "run", monkeypatch, harm)
        assert result(tmp_path / "run")["unreadable_images"] == 1

    def test_a_drive_that_comes_back_leaves_no_trace_in_the_run(self, folder, tmp_path, monkeypatch):
        self.run(folder, tmp_path / "whole", monkeypatch)
        hidden = folder.with_name("hidden")
        real_load, real_make, learners = setup.load_data, pretrain.make_learner, []

        def load(config, **settings):
            if hidden.exists():
                hidden.rename(folder)
            return real_load(config, **settings)

        def make_learner(*arguments):
            # There may be no room for two.
            assert all(learner() is None for learner in learners)
            learner, schedule = real_make(*arguments)
            learners.append(weakref.ref(learner))
            return learner, schedule

        monkeypatch.setattr(setup, "load_data", load)
        monkeypatch.setattr(pretrain, "make_learner", make_learner)
        lines = self.run(folder, tmp_path / "run", monkeypatch, lambda: folder.rename(hidden))
        assert any("a batch could not be made" in line for line in lines)
        assert len(learners) == 2
        assert not differing(tmp_path / "run", tmp_path / "whole")

    def test_a_drive_that_does_not_come_back_stops_the_run_in_one_line(self, folder, tmp_path, monkeypatch):
        with pytest.raises(TrainingError, match=r"could not be made, 4 times after step 5 \(.*no folder"):
            self.run(folder, tmp_path / "run", monkeypatch, lambda: folder.rename(folder.with_name("gone")))
        assert checkpointed_steps(tmp_path / "run") == [5]


@pytest.fixture
def start(tmp_path):
    """Starts the real program on a small run of a real network, in a directory of this name."""
    data = "npz:" + write_npz(tmp_path / "stripes.npz")

    def start(name):
        values = vars(make_config(data, tmp_path / name, checkpoint_steps=1, epochs=3))
        flags = [
            f"--{key}={value}" for key, value in values.items() if value is not None and value is not False
        ]
        command = [sys.executable, "train.py", "--mode=pretrain", *flags]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def wait_for(path, process):
    deadline = time.monotonic() + 600
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
def test_a_process_killed_by_the_system_and_one_told_to_end_continue_to_the_same_end(start, tmp_path):
    whole = start("whole")
    assert whole.communicate(timeout=600)[0].splitlines()[-1].startswith("done in")
    assert whole.returncode == 0
    for number in (signal.SIGKILL, signal.SIGTERM):
        name = number.name
        process = start(name)
        wait_for(tmp_path / name / "metrics.csv", process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=600)
        assert not (tmp_path / name / "result.json").exists()
        if number == signal.SIGTERM:
            assert process.returncode == 143
            last = said.splitlines()[-1]
            assert last.startswith("train.py: stopped by SIGTERM: ")
            assert last.endswith("; the same command continues.")
        again = start(name)
        said, _ = again.communicate(timeout=600)
        assert again.returncode == 0
        assert "continued at step" in said
        assert not differing(tmp_path / name, tmp_path / "whole")
