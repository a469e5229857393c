"""A run directory: bound to one set of settings, written whole, on any file system TensorFlow knows."""

import dataclasses
import json

import keras
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.runs import run_dir as run_dir_module
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.runs.history import History, read_metrics, write_metrics
from simclr_keras.runs.records import ResultRecord
from simclr_keras.runs.run_dir import RunDir
from tests.training.begun import begin, begin_and_save, config, files


@pytest.fixture(params=["local", "remote"])
def path(request, tmp_path):
    """A path on the disk, and one of a file system that Python's open knows nothing of."""
    return str(tmp_path / "deep" / "run") if request.param == "local" else f"ram://{tmp_path.name}/run"


def test_nothing_is_written_before_it_is_opened(path):
    RunDir(path).check("pretrain", config())
    assert files(path) is None


def test_config_json_holds_mode_and_settings(path):
    run_dir = begin(path, seed=5)
    held = json.loads(run_dir.read_text("config.json"))
    assert held == {"mode": "pretrain", **dataclasses.asdict(config(seed=5)), "extended_from": []}
    assert files(path) == ["config.json"]


def test_a_host_that_is_not_the_chief_writes_nothing(path):
    run_dir, state = RunDir(path, writes=False), {"model/weight": keras.Variable([1.0])}
    run_dir.check("pretrain", config())
    run_dir.open_for("pretrain", config())
    run_dir.bind("pretrain", config())
    run_dir.write_result({"mode": "pretrain"})
    checkpoints = Checkpoints(run_dir.checkpoints, state, keep=1, writes=False)
    assert checkpoints.restore() == 0
    checkpoints.save(1)
    history = History(run_dir, ("epoch", "step"), 0)
    history.add({"epoch": 1, "step": 1})
    history.close()
    run_dir.close()
    assert files(path) is None


def test_the_same_settings_open_it_again(path):
    for _ in range(2):
        begin_and_save(path)


def test_a_slash_at_the_end_means_nothing(path):
    begin(path)
    RunDir(path + "/").write("a.txt", "a")
    assert files(path) == ["a.txt", "config.json"]


@pytest.mark.parametrize("method", ["check", "open_for"])
def test_other_settings_are_refused_by_name_with_those_that_may_change(path, method):
    begin_and_save(path)
    before = RunDir(path).read_text("config.json")
    with pytest.raises(InputError, match=r"\(--seed was 0, now 1, --hue was 0.2, now 0.3\)"):
        getattr(RunDir(path), method)("pretrain", config(seed=1, hue=0.3))
    with pytest.raises(
        InputError, match=r"What may change: --epochs upward, .*--eval_every_epochs.*\.$"
    ) as refusal:
        getattr(RunDir(path), method)("pretrain", config(seed=1, hue=0.3))
    rest = str(refusal.value).partition("What may change")[2]
    assert "--model_dir," not in rest
    assert "--num_replicas" in rest
    assert RunDir(path).read_text("config.json") == before


def test_a_run_that_depends_on_replicas_may_not_change_them(path):
    begin_and_save(path, microbatch_size=4)
    with pytest.raises(
        InputError, match=r"What may change: (?!.*--(num_replicas|strategy|tpu)).*--keep_checkpoints"
    ):
        RunDir(path).check("pretrain", config(seed=1))


def test_free_settings_are_written_down_anew(path):
    begin_and_save(path)
    begin(path, keep_checkpoints=9)
    assert json.loads(RunDir(path).read_text("config.json"))["keep_checkpoints"] == 9


def test_where_nothing_was_saved_other_settings_are_free(path):
    begin(path)
    begin(path, seed=5, proj_dim=4)
    held = json.loads(RunDir(path).read_text("config.json"))
    assert (held["seed"], held["proj_dim"], held["extended_from"]) == (5, 4, [])
    begin(path, "finetune")


def test_a_result_without_checkpoints_keeps_its_settings_too(path):
    begin(path).write_result({"finished": True, "epochs": 2})
    with pytest.raises(InputError, match="--seed was 0, now 5"):
        RunDir(path).check("pretrain", config(seed=5))


def test_a_refusal_after_opening_changes_no_settings(path):
    begin_and_save(path)
    RunDir(path).open_for("pretrain", config(epochs=5))
    assert json.loads(RunDir(path).read_text("config.json"))["epochs"] == 2
    RunDir(path).check("pretrain", config())


@pytest.mark.parametrize(("change", "words"), [({"epochs": "2"}, "epochs is '2'"), ({"model": "r51"}, "r51")])
def test_settings_of_another_kind_are_refused_by_name(path, change, words):
    held = json.loads(begin_and_save(path).read_text("config.json"))
    RunDir(path).write("config.json", json.dumps({**held, **change}))
    with pytest.raises(InputError, match=words):
        RunDir(path).check("pretrain", config())


def test_a_run_of_another_mode_is_refused(path):
    begin_and_save(path, "finetune")
    with pytest.raises(InputError, match="contains a run of --mode=finetune"):
        RunDir(path).open_for("pretrain", config())


def test_more_epochs_are_written_down_with_the_length_they_extend(path):
    for epochs in (2, 2, 5, 5, 7):
        begin_and_save(path, epochs=epochs)
    held = json.loads(RunDir(path).read_text("config.json"))
    assert held["epochs"] == 7
    assert held["extended_from"] == [2, 5]


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "metrics.csv", "result.json"])
def test_what_is_not_ours_is_not_overwritten(path, name):
    tf.io.gfile.makedirs(path)
    RunDir(path).write(name, "theirs")
    with pytest.raises(InputError, match=f"contains {name} but no config.json"):
        RunDir(path).open_for("pretrain", config())
    assert files(path) == [name]


def test_other_files_may_lie_there(path):
    tf.io.gfile.makedirs(path)
    RunDir(path).write("log.txt", "theirs")
    begin(path)
    assert files(path) == ["config.json", "log.txt"]


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"cannot be made .*a directory you may write to"):
        RunDir(tmp_path / "file" / "run").open_for("pretrain", config())


def test_a_result_counts_as_finished_for_the_epochs_it_was_made_with(path):
    run_dir = begin(path, epochs=2)
    assert run_dir.finished(config(epochs=2)) is None
    run_dir.write_result({"finished": True, "epochs": 2, "step": 11})
    assert run_dir.finished(config(epochs=2)) == ResultRecord(finished=True, epochs=2, step=11)
    # More epochs do not make a run longer that --train_steps ends.
    assert run_dir.finished(config(epochs=3, train_steps=11))
    assert not run_dir.finished(config(epochs=3, train_steps=12))
    assert run_dir.finished(config(epochs=3)) is None


def test_metrics_come_back_with_gaps_where_nothing_was_measured(path):
    run_dir = begin(path)
    assert read_metrics(run_dir) == []
    rows = [
        {"epoch": 1, "step": 6, "loss": 1 / 3, "top1": None},
        {"epoch": 2, "step": 11, "loss": 1e-9, "top1": 0.5},
    ]
    write_metrics(run_dir, rows, ("epoch", "step", "loss", "top1"))
    assert (
        run_dir.read_text("metrics.csv") == "epoch,step,loss,top1\n1,6,0.3333333333333333,\n2,11,1e-09,0.5\n"
    )
    assert read_metrics(run_dir) == rows


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0" * 50,
        "epoch,step,loss\n1,6,1.0\n2,11,one\n",
        "epoch,step,loss\n1,6.5,1\n",
        "epoch,step,loss\n1,6,1\n2",
        "epoch,step,loss\n1,6,1,2\n",
        "step,loss\n6,1\n",
        'epoch,step,loss\n1,6,"1',
        "epoch,step,loss\n1,6,1\n3,16,1\n",
        "epoch,step,loss\n1,6,1\n1,6,1\n",
    ],
)
def test_damaged_metrics_are_refused_in_one_line(path, text):
    run_dir = begin(path)
    run_dir.write("metrics.csv", text)
    with pytest.raises(InputError, match=r"metrics.csv is damaged \(.*restore it, or delete it"):
        read_metrics(run_dir)


def test_a_damaged_result_is_no_end(path):
    run_dir = begin(path)
    for text in ("", "{", "[]", "17", '{"finished": "yes"}', '{"epochs": 2}'):
        run_dir.write("result.json", text)
        assert run_dir.finished(config()) is None


@pytest.mark.parametrize("name", ["run*", "run[1]", "what?", "back\\slash"])
def test_a_path_that_tensorflow_reads_as_a_pattern_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="takes for a pattern"):
        RunDir(tmp_path / name).check("pretrain", config())
    assert not list(tmp_path.iterdir())


def test_a_directory_that_may_not_be_written_to_is_refused_before_anything_long(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    # Not chmod: root may write everywhere, and the suite may run as root.
    monkeypatch.setattr(run_dir_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"cannot be written to \(Permission denied\); give a directory"):
        RunDir(tmp_path / "run").check("pretrain", config())


def test_a_kind_of_path_that_tensorflow_does_not_know_is_refused():
    with pytest.raises(InputError, match=r"is unreadable \(.*'foo'.*\); give a path that TensorFlow"):
        RunDir("foo://bar").check("pretrain", config())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[1]", b"7", b"null", b"\xff\xfe{}", b"[" * 100_000],
    ids=["empty", "cut", "list", "number", "null", "UTF-16", "deep"],
)
def test_damaged_settings_are_refused_in_one_line(path, data):
    tf.io.gfile.makedirs(path)
    RunDir(path).write("config.json", data)
    with pytest.raises(
        InputError, match=r"config.json is damaged \(.*restore it, or give another"
    ) as refusal:
        RunDir(path).check("pretrain", config())
    assert "\n" not in str(refusal.value)
