"""Runs are found at any depth, each once, and what is damaged is said in one line."""

import dataclasses
import json
import os

import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.tools.reporting.find_runs import find_runs
from tests.as_windows import link, pipe
from tests.tools.made_runs import begin, finish, rows


def paths(runs):
    return [run.path for run in runs]


def test_runs_are_found_at_any_depth_and_within_other_runs(tmp_path):
    outer = finish(tmp_path / "a" / "b", "pretrain")
    inner = finish(tmp_path / "a" / "b" / "tuned", "finetune")
    other = begin(tmp_path / "c", "supervised")
    (tmp_path / "a" / "notes").mkdir()
    assert paths(find_runs([tmp_path])) == [outer, inner, other]
    assert paths(find_runs([other, inner])) == [other, inner]


def test_a_run_that_is_named_in_several_ways_counts_once(tmp_path):
    run = finish(tmp_path / "runs" / "a", "pretrain")
    link(tmp_path / "link", run)
    link(tmp_path / "runs" / "up", tmp_path)
    assert paths(find_runs([run, f"{run}/", tmp_path / "runs", tmp_path / "link", tmp_path])) == [run]


def test_links_to_runs_are_followed(tmp_path):
    run = finish(tmp_path / "disk" / "a", "pretrain")
    (tmp_path / "runs").mkdir()
    link(tmp_path / "runs" / "mine", run)
    assert paths(find_runs([tmp_path / "runs"])) == [f"{tmp_path}/runs/mine"]


def test_a_folder_is_looked_at_once_whatever_links_lead_there(tmp_path, monkeypatch):
    for name in ("a", "b"):
        finish(tmp_path / name, "pretrain")
        link(tmp_path / name / "up", tmp_path)
    looked_at = []
    real = os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: looked_at.append(path) or real(path))
    assert len(find_runs([tmp_path])) == 2
    assert len(looked_at) == 6  # three files each


def test_the_insides_of_a_run_hold_no_runs(tmp_path):
    run = finish(tmp_path / "a", "pretrain")
    for name in ("checkpoints", "best", "tensorboard"):
        finish(tmp_path / "a" / name / "x", "pretrain")
    assert paths(find_runs([tmp_path])) == [run]
    assert len(find_runs([tmp_path / "a" / "best"])) == 1  # unless it is asked for


def test_settings_of_other_programs_are_passed_over(tmp_path):
    run = finish(tmp_path / "a", "pretrain")
    for name, text in (("keras", '{"module": "keras"}'), ("list", "[1]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    assert paths(find_runs([tmp_path])) == [run]
    with pytest.raises(InputError, match="keras contains no run: give a run directory"):
        find_runs([run, tmp_path / "keras"])


def test_a_run_is_finished_when_its_result_is_of_all_its_epochs(tmp_path):
    assert find_runs([finish(tmp_path / "a", "pretrain")])[0].finished
    assert not find_runs([finish(tmp_path / "b", "pretrain", finished=False)])[0].finished
    extended = find_runs([finish(tmp_path / "c", "pretrain", config={"epochs": 40})])[0]
    assert not extended.finished
    assert extended.epochs_done == 3
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "config.json").write_text('{"mode": "knn"}')
    (tmp_path / "d" / "result.json").write_text('{"mode": "knn", "finished": true, "epochs": null}')
    assert find_runs([tmp_path / "d"])[0].finished


def test_remote_runs_are_read_through_tensorflow(tmp_path):
    run = finish(tmp_path / "a", "pretrain")
    for name in ("config.json", "result.json", "metrics.csv"):
        tf.io.gfile.makedirs("ram://found/deep/a/checkpoints")
        tf.io.gfile.copy(f"{run}/{name}", f"ram://found/deep/a/{name}", overwrite=True)
    (remote,) = find_runs(["ram://found"])
    assert remote.path == "ram://found/deep/a"
    assert dataclasses.replace(remote, path=run) == find_runs([run])[0]
    with pytest.raises(InputError, match="ram://none does not exist"):
        find_runs(["ram://none"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("result.json", b"", "result.json is damaged"),
        ("result.json", b'{"top1": 0.5', "result.json is damaged"),
        ("result.json", b"\xff\xfe", "result.json is damaged"),
        ("result.json", b"[" * 100_000, "result.json is damaged"),
        ("result.json", b"[1]", "it holds a list"),
        ("result.json", b'{"top1": "high"}', "top1 is 'high'"),
        ("result.json", b'{"top1": 55.0}', "top1 is 55.0"),
        ("result.json", b'{"knn_top1": NaN}', "knn_top1 is nan"),
        ("result.json", b'{"top1": true}', "top1 is True"),
        ("result.json", b'{"top1_interval": [0.1]}', r"top1_interval is \[0.1\]"),
        ("result.json", b'{"parameters": -1}', "parameters is -1"),
        ("result.json", b'{"evaluation_images": "many"}', "evaluation_images is 'many'"),
        ("result.json", b'{"model": ["a"]}', r"model is \['a'\]"),
        ("result.json", b'{"seed": "a"}', "seed is 'a'"),
        ("result.json", b'{"ancestors": {}}', "ancestors is {}"),
        ("result.json", b'{"ancestors": [3]}', r"ancestors is \[3\]"),
        (
            "result.json",
            b'{"ancestors": [{"run": "a", "dataset": "b", "mode": {}}]}',
            "mode of an ancestor is {}",
        ),
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"{}", "it names no mode"),
        ("config.json", b'{"mode": "pretrain", "epochs": "9"}', "epochs is '9'"),
        ("config.json", b'{"mode": "distill", "alpha": "1"}', "alpha is '1'"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, content, said):
    finish(tmp_path / "a", "pretrain")
    (tmp_path / "a" / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        find_runs([tmp_path])
    assert str(error.value).startswith(f"{tmp_path}/a/{name} is damaged")
    assert "\n" not in str(error.value)


def test_a_file_beyond_all_measure_is_refused(tmp_path):
    finish(tmp_path / "a", "pretrain")
    os.truncate(tmp_path / "a" / "result.json", 65_000_000)
    with pytest.raises(InputError, match="larger than 64,000,000 bytes"):
        find_runs([tmp_path])


def test_a_pipe_is_not_waited_for(tmp_path):
    finish(tmp_path / "a", "pretrain")
    (tmp_path / "a" / "result.json").unlink()
    pipe(tmp_path / "a" / "result.json")
    assert not find_runs([tmp_path])[0].finished


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing", "missing does not exist"),
        ("file", "file is a file; give a run directory"),
        ("empty", "empty contains no run"),
    ],
)
def test_what_is_no_run_directory_is_said(tmp_path, path, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=said):
        find_runs([tmp_path / path])


def test_paths_a_hostile_file_may_hold_do_no_harm(tmp_path):
    path = finish(tmp_path / "a", "finetune", config={"init": "\0" * 3})
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    result["ancestors"] = [{"run": "\0", "mode": "\0", "dataset": "\0"}]
    (tmp_path / "a" / "result.json").write_text(json.dumps(result))
    assert len(rows([path])) == 1
