"""The hosts that TF_CONFIG and Slurm name; malformed ones are refused in one line that shows a right one."""

import json
import socket

import pytest

from simclr_keras.errors import InputError
from simclr_keras.training.hosts.cluster import Cluster, read_cluster
from simclr_keras.training.hosts.peers import wait_for_peers
from tests.training.hosts.processes import free_ports

TWO = ["a:1", "b:2"]


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURMD_NODENAME", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def config(cluster, kind="worker", index=0):
    return {"cluster": cluster, "task": {"type": kind, "index": index}}


def test_tf_config_names_hosts(monkeypatch):
    offenders = {}
    for values, expected in (
        (config({"worker": TWO}, index=1), (("a:1", "b:2"), 1)),
        (config({"worker": TWO}, index="1"), (("a:1", "b:2"), 1)),
        (config({"chief": ["c:3"], "worker": TWO}, "chief"), (("c:3", "a:1", "b:2"), 0)),
        (config({"chief": ["c:3"], "worker": TWO}, index=1), (("c:3", "a:1", "b:2"), 2)),
        (config({"worker": ["a:1"]}), None),
        ({"task": {"type": "worker", "index": 0}}, None),
        ({}, None),
    ):
        monkeypatch.setenv("TF_CONFIG", json.dumps(values))
        if read_cluster() != (expected and Cluster(*expected, "TF_CONFIG")):
            offenders[str(values)] = read_cluster()
    assert not offenders


def test_malformed_tf_config_is_refused(monkeypatch):
    for text, words in (
        ("{worker", "it is not JSON"),
        ("[]", "(it is not an object"),
        (json.dumps(config([1])), "cluster is not an object"),
        (json.dumps(config({"worker": "a:1"})), "worker is not a list"),
        (json.dumps(config({"worker": TWO, "ps": ["c:3"]})), "the job ps"),
        (json.dumps(config({"worker": ["a:1", "b"]})), "'b' is not an address host:port"),
        (json.dumps(config({"worker": ["a:1", "b:70000"]})), "'b:70000' is not an address"),
        (json.dumps(config({"worker": ["a:1", 7]})), "'7' is not an address"),
        (json.dumps(config({"worker": ["a:1", "a:1"]})), "two hosts have the address a:1"),
        (json.dumps(config({"worker": TWO}, index=2)), '"index": 2}, which is not in its cluster'),
        (json.dumps(config({"worker": TWO}, index=True)), "not in its cluster"),
        (json.dumps(config({"worker": TWO}, "evaluator")), '"evaluator"'),
        (json.dumps({"cluster": {"worker": TWO}}), "task is not an object"),
    ):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(InputError) as refusal:
            read_cluster()
        message = str(refusal.value)
        assert message.startswith("TF_CONFIG is malformed (")
        assert words in message
        assert '{"cluster": {"worker": ["host0:12345"' in message
        assert "\n" not in message


def slurm(monkeypatch, task, nodes="n[9-10]", tasks="2", each="1(x2)", node=None):
    values = {"STEP_NUM_TASKS": tasks, "PROCID": task, "STEP_NODELIST": nodes, "STEP_TASKS_PER_NODE": each}
    for name, value in {**values, "JOB_ID": "40123"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    if node:
        monkeypatch.setenv("SLURMD_NODENAME", node)


def test_slurm_names_hosts_in_the_order_of_its_tasks(monkeypatch):
    slurm(monkeypatch, "1", node="n10")
    assert read_cluster() == Cluster(("n9:10123", "n10:10123"), 1, "Slurm")
    slurm(monkeypatch, "2", tasks="3", each="2,1")
    assert read_cluster() == Cluster(("n9:10123", "n9:10124", "n10:10123"), 2, "Slurm")
    slurm(monkeypatch, "0", tasks="1", each="1")
    assert read_cluster() is None


def test_slurm_that_does_not_describe_its_hosts_is_refused(monkeypatch):
    slurm(monkeypatch, "0", nodes="n[9")
    with pytest.raises(
        InputError, match=r"Slurm's variables do not describe the hosts .* start the run with srun"
    ):
        read_cluster()
    slurm(monkeypatch, "0", node="n10")
    with pytest.raises(InputError, match="Slurm runs task 0 on n10, not n9; use srun --distribution=block"):
        read_cluster()


def test_a_host_that_does_not_come_is_named():
    own, there, missing = (f"127.0.0.1:{port}" for port in free_ports(3))
    cluster, lines = Cluster((own, there, missing), 0, "TF_CONFIG"), []
    with (
        socket.create_server(("127.0.0.1", int(there.rpartition(":")[2]))),
        pytest.raises(
            InputError, match=rf"no answer from {missing} after 0\.3 s; start the same command there"
        ),
    ):
        wait_for_peers(cluster, 0.3, lines.append)
    assert lines == []


def test_late_hosts_are_said_once(monkeypatch):
    monkeypatch.setattr("simclr_keras.training.hosts.peers.QUIET_SECONDS", 0.1)
    own, missing = (f"127.0.0.1:{port}" for port in free_ports(2))
    lines = []
    with pytest.raises(InputError):
        wait_for_peers(Cluster((own, missing), 0, "TF_CONFIG"), 0.5, lines.append)
    assert lines == [f"hosts    waiting for 1 host: {missing}"]


def test_a_port_in_use_is_refused():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"port {port} of this host, .* in use.*give another port on all"
        ):
            wait_for_peers(Cluster((f"127.0.0.1:{port}", "127.0.0.1:1"), 0, "TF_CONFIG"), 1.0)
