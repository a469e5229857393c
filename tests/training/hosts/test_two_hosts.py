"""Two and four hosts, real processes: the results of one process, files of the chief alone, stops and kills."""

import signal
import socket
import time

import numpy as np
import pytest

from benchmarks.compare_runs import differing
from simclr_keras.runs.checkpoints import steps_in
from tests.training.hosts.processes import free_ports, outputs, start
from tests.training.tiny import configure, make_config, metrics, result, run, saved_variables, write_npz


@pytest.fixture
def begin():
    """The function `start`, whose processes end with the test."""
    begun = []

    def begin_and_note(*arguments):
        begun.extend(processes := start(*arguments))
        return processes

    yield begin_and_note
    for process in begun:
        process.kill()


def stages_in(folder, data, **settings):
    """Pretraining, fine-tuning, kNN and logistic regression in a folder, as `host_program` takes them."""
    settings = {"precision": "float64", **settings}
    pretrained, finetuned = str(folder / "pretrained"), str(folder / "finetuned")
    memory = {"memory": "queue", "memory_size": 16}
    return [
        ["pretrain", {"dataset": data, "model_dir": pretrained, **memory, **settings}],
        ["finetune", {"init": pretrained, "model_dir": finetuned, **settings}],
        ["knn", {"init": pretrained, "model_dir": str(folder / "knn"), "precision": "float64"}],
        [
            "linear_eval",
            {"init": pretrained, "model_dir": str(folder / "linear"), "protocol": "fast", **settings},
        ],
    ]


def assert_same(one, hosts):
    """Compares the figures of every epoch and the last weights of two runs."""
    for name in metrics(one)[0]:
        values, expected = ([float(row[name] or 0) for row in metrics(path)] for path in (hosts, one))
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9, err_msg=name)
    weights = saved_variables(hosts)
    for name, value in saved_variables(one).items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_hosts_equal_one_process(count, tiny, begin, tmp_path, rewritten_graphs):
    """Pretraining, fine-tuning, kNN and logistic regression; one process then continues what the hosts began."""
    data = "npz:" + write_npz(tmp_path / "stripes.npz", test=13)
    one, hosts = tmp_path / "one", tmp_path / "hosts"
    for folder in (one, hosts):
        folder.mkdir()
    settings = {"steps_per_execution": 3, "eval_every_epochs": 2}
    stages = 4 if count == 2 else 1  # the other stages differ in nothing that more hosts would show
    processes = begin(stages_in(hosts, data, **settings)[:stages], tmp_path, count)
    for mode, values in stages_in(one, data, **settings)[:stages]:
        run(make_config(**values) if mode == "pretrain" else configure(mode, **values))
    ends = outputs(processes)
    assert [code for code, _, _ in ends] == [0] * count, [error[-2000:] for _, _, error in ends]
    assert ends[0][1].startswith(
        f"devices  {count} CPU devices on {count} hosts, float64 (strategy multi_worker: "
    )
    assert not any(out for _, out, _ in ends[1:])
    assert_same(one / "pretrained", hosts / "pretrained")
    if stages == 1:
        return
    assert_same(one / "finetuned", hosts / "finetuned")
    for name in ("knn", "linear"):
        scores = [result(folder / name) for folder in (one, hosts)]
        assert scores[0]["top1"] == scores[1]["top1"]
    for folder in (one, hosts):
        _, values = stages_in(folder, data, epochs=3)[0]
        run(make_config(**values))
    assert_same(one / "pretrained", hosts / "pretrained")


@pytest.mark.slow
def test_num_replicas_divides_the_cpu_of_a_new_process(begin, tmp_path):
    data = "npz:" + write_npz(tmp_path / "stripes.npz")
    settings = {"dataset": data, "model_dir": str(tmp_path / "run"), "num_replicas": 2, "train_steps": 2}
    ((code, out, error),) = outputs(begin([["supervised", {**settings, "augment": "none"}]], tmp_path, 1))
    assert code == 0, error
    assert out.splitlines()[0] == "devices  2 CPU devices, float32 (strategy mirrored: --num_replicas=2)"
    assert error == ""


@pytest.mark.slow
def test_program_that_answers_in_place_of_a_host_is_refused(begin, tmp_path, monkeypatch):
    settings = {"dataset": "npz:" + write_npz(tmp_path / "stripes.npz"), "model_dir": str(tmp_path / "run")}
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = [*free_ports(1), server.getsockname()[1]]
        monkeypatch.setattr("tests.training.hosts.processes.free_ports", lambda count: ports)
        ((code, _, error),) = outputs(
            begin([["pretrain", {**settings, "host_timeout": 2.0}]], tmp_path, 2, [0])
        )
    assert code == 2
    assert "TF_CONFIG cannot be connected (" in error.splitlines()[-1]


def wait_for_step(folder, step, processes):
    """Waits until a run has a checkpoint after `step`."""
    deadline = time.monotonic() + 300
    while max(steps_in(str(folder / "checkpoints")), default=-1) <= step:
        assert all(process.poll() is None for process in processes), [p.stderr.read() for p in processes]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_hosts_of_which_one_was_killed_end_as_undisturbed_ones(begin, tmp_path):
    """For SIGTERM see tests/examples/test_slurm_pretrain.py."""
    data = "npz:" + write_npz(tmp_path / "stripes.npz", test=13)
    settings = {"dataset": data, "epochs": 20, "eval_every_epochs": 20, "checkpoint_every_steps": 5}

    def begin_runs(*names):
        runs = [["pretrain", {**settings, "model_dir": str(tmp_path / name)}] for name in names]
        return begin(runs, tmp_path, 2)

    folder, processes = tmp_path / "killed", begin_runs("whole", "killed")
    wait_for_step(folder, 0, processes)
    processes[1].kill()
    ends = outputs(processes)
    assert [code for code, _, _ in ends] == [1, -signal.SIGKILL], ends
    assert "error: another host has ended, or is unreachable (" in ends[0][2].splitlines()[-1]
    step = steps_in(str(folder / "checkpoints"))[-1]

    ends = outputs(begin_runs("killed"))
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert f", continued at step {step}" in ends[0][1]
    assert not differing(folder, tmp_path / "whole")
