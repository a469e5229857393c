"""Which strategy is used, and why; what this machine cannot offer is refused."""

import pathlib
import types

import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.hosts import Hosts
from simclr_keras.training.engine import strategy as strategies
from simclr_keras.training.engine.strategy import (
    describe,
    fastest_precision,
    make_devices,
    resolve_precision,
)
from simclr_keras.training.hosts.cluster import Cluster
from tests.tpu_tracing import fake_tpu_strategy


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine whose devices can be set, and whose strategies are the names of their devices."""
    machine = types.SimpleNamespace(GPU=[], TPU=[], CPU=["cpu"], visible=None, cluster=None)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: getattr(machine, kind))
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda devices, _: setattr(machine, "visible", devices)
    )
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: names)
    monkeypatch.setattr(strategies, "_tpu_strategy", lambda tpu: f"TPU {tpu}")
    monkeypatch.setattr(strategies, "_multi_worker_strategy", lambda *arguments: arguments)
    monkeypatch.setattr(strategies, "wait_for_peers", lambda *_: None)
    monkeypatch.setattr(strategies, "read_cluster", lambda: machine.cluster)
    monkeypatch.setattr(strategies, "_connected", {})
    return machine


def test_auto_prefers_tpu_then_hosts_then_gpus_then_one_device(machine):
    one = tf.distribute.get_strategy()
    assert make_devices()[::2] == (one, "one: no TPU, no other host, no GPU")
    machine.GPU = ["gpu0"]
    assert make_devices()[::2] == (one, "one: no TPU, no other host, 1 GPU")
    machine.GPU = ["gpu0", "gpu1"]
    assert make_devices()[::2] == (["GPU:0", "GPU:1"], "mirrored: this machine has 2 GPUs")
    machine.cluster = Cluster(("a:1", "b:2"), 1, "Slurm")
    devices = make_devices(host_timeout=7.0)
    assert devices.strategy == (machine.cluster, 2, 7.0)
    assert (devices.hosts.index, devices.hosts.count) == (1, 2)
    assert devices.reason == "multi_worker: Slurm names 2 hosts"
    assert make_devices() is devices  # a process connects once
    machine.TPU = ["tpu"]
    assert make_devices()[::2] == ("TPU local", "tpu: this machine has one")
    assert make_devices(tpu="mine")[::2] == ("TPU mine", "tpu: --tpu=mine")


def test_a_flag_decides_against_what_is_there(machine):
    machine.cluster = Cluster(("a:1", "b:2"), 1, "Slurm")
    machine.GPU = machine.TPU = ["first", "second"]
    assert make_devices("one")[::2] == (tf.distribute.get_strategy(), "one: --strategy=one")
    assert make_devices("mirrored")[::2] == (["GPU:0", "GPU:1"], "mirrored: --strategy=mirrored")
    assert make_devices("mirrored", num_replicas=1).strategy == ["GPU:0"]
    assert machine.visible == ["first"]
    assert make_devices("tpu")[::2] == ("TPU local", "tpu: --strategy=tpu")


def test_num_replicas_makes_logical_cpu_devices(machine, monkeypatch):
    made = []
    monkeypatch.setattr(tf.config, "get_logical_device_configuration", lambda cpu: None)
    monkeypatch.setattr(
        tf.config, "set_logical_device_configuration", lambda cpu, devices: made.append((cpu, len(devices)))
    )
    devices = make_devices(num_replicas=3)
    assert devices.reason == "mirrored: --num_replicas=3"
    assert [name[-5:] for name in devices.strategy] == ["CPU:0", "CPU:1", "CPU:2"]
    assert made == [("cpu", 3)]


def test_what_the_machine_cannot_offer_is_refused(machine, monkeypatch):
    def refused(words, *arguments, **settings):
        with pytest.raises(InputError, match=words):
            make_devices(*arguments, **settings)

    refused("--strategy=multi_worker needs several hosts, .* set TF_CONFIG", "multi_worker")
    refused("--num_replicas=2 is not for a TPU", tpu="mine", num_replicas=2)

    def too_late(*_):
        raise RuntimeError("devices cannot be modified")

    with monkeypatch.context() as patch:
        patch.setattr(tf.config, "get_logical_device_configuration", lambda cpu: None)
        patch.setattr(tf.config, "set_logical_device_configuration", too_late)
        refused("--num_replicas=3 comes too late, .* in a new process", num_replicas=3)
    with monkeypatch.context() as patch:
        patch.setattr(tf.config, "list_logical_devices", lambda kind: [types.SimpleNamespace(name="CPU:0")])
        refused("--strategy=mirrored needs several devices, .* give --num_replicas=2", "mirrored")
    machine.cluster = Cluster(("a:1", "b:2"), 0, "TF_CONFIG")
    refused("--num_replicas=2 is not for several hosts without GPUs", num_replicas=2)
    machine.GPU = ["gpu0", "gpu1"]
    refused("--num_replicas=3, and this machine has 2 GPUs", num_replicas=3)
    with monkeypatch.context() as patch:
        patch.setattr(tf.config, "set_visible_devices", too_late)
        refused("--num_replicas=1 comes too late", num_replicas=1)


def test_description_counts_devices_and_hosts():
    strategy = types.SimpleNamespace(num_replicas_in_sync=4)
    assert describe(strategy, "mixed_bfloat16") == "4 CPU devices, bfloat16"
    assert describe(strategy, "float32", hosts=2) == "4 CPU devices on 2 hosts, float32"


def test_auto_is_the_precision_that_is_fast_on_all_gpus(machine, monkeypatch):
    one = tf.distribute.get_strategy()
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: gpu)
    for capabilities, policy, reason in (
        ([(8, 0), (9, 0)], "mixed_bfloat16", "all GPUs have compute capability 8.0 or higher"),
        ([(7, 5), (8, 6)], "mixed_float16", "compute capability 7.5 has fast float16, and no bfloat16"),
        ([(7, 0)], "mixed_float16", "compute capability 7.0 has fast float16, and no bfloat16"),
        ([(7, 5), (6, 1)], "float32", "a GPU has a compute capability below 7.0"),
        ([None], "float32", "a GPU has a compute capability below 7.0"),
    ):
        machine.GPU = [{"compute_capability": value} if value else {} for value in capabilities]
        assert resolve_precision("auto", one) == policy
        assert fastest_precision(one)[1] == reason
    assert resolve_precision("bfloat16", one) == "mixed_bfloat16"
    assert resolve_precision("float64", one) == "float64"


def test_auto_is_the_precision_that_is_fast_on_the_cpu(monkeypatch):
    for processor, precision in (
        ("vendor_id: AuthenticAMD flags: avx512f avx512_bf16", "bfloat16"),
        ("vendor_id: GenuineIntel flags: avx512f avx512_bf16", "float32"),
        ("vendor_id: GenuineIntel flags: avx512f avx512_bf16 amx_bf16", "bfloat16"),
        ("vendor_id: AuthenticAMD flags: avx2", "float32"),
    ):
        monkeypatch.setattr(pathlib.Path, "read_text", lambda path, encoding, text=processor: text)
        assert fastest_precision(tf.distribute.get_strategy())[0] == precision


def test_float16_is_refused_on_tpus():
    tpu = fake_tpu_strategy()
    assert resolve_precision("auto", tpu) == "mixed_bfloat16"
    with pytest.raises(
        InputError, match=r"--precision=float16 is not for TPUs, .* give --precision=bfloat16"
    ):
        resolve_precision("float16", tpu)


def test_one_host_agrees_with_itself():
    hosts = Hosts()
    assert hosts.is_chief
    assert hosts.largest(True, 0, None, 15) == [1, 0, 0, 15]
    assert hosts.from_chief(lambda: 0.25) == 0.25
    assert hosts.map_rows(lambda rows: [row + 1 for row in rows], [1, 2]) == [2, 3]
    hosts.check_same({"text": "text"})
