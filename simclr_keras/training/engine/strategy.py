"""The only place that builds a tf.distribute strategy, and that knows which arithmetic the hardware has."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.formatting import counted
from simclr_keras.hosts import Hosts, connect_within
from simclr_keras.training.hosts.cluster import Cluster, read_cluster
from simclr_keras.training.hosts.peers import wait_for_peers


class Devices(NamedTuple):
    """What a run computes on.

    Attributes:
        strategy: the tf.distribute strategy.
        hosts: Hosts.
        reason: the kind of strategy and why it is used, for the first line of a run.
    """

    strategy: tf.distribute.Strategy
    hosts: Hosts
    reason: str


_connected: dict[Cluster, Devices] = {}


def make_devices(
    kind: str = "auto",
    tpu: str | None = None,
    num_replicas: int = 0,
    host_timeout: float = 300.0,
    say: Callable[[str], object] = print,
) -> Devices:
    """Return the strategy for this machine's devices, and the hosts of the run.

    Several hosts, and `num_replicas` on CPUs, need a process whose TensorFlow devices were not used yet.

    Args:
        kind: "auto" (a TPU, else several hosts, else all GPUs if there are several, else one device), "one",
            "mirrored" (all GPUs, or the logical CPU devices), "multi_worker" (the hosts of TF_CONFIG or Slurm) or
            "tpu".
        tpu: name or address of a TPU, "local" on a TPU VM.
        num_replicas: GPUs of this machine, or logical CPU devices; 0 for all that there are.
        host_timeout: seconds to wait for the other hosts.
        say: prints a line if hosts are late.

    Raises:
        InputError: the machine does not offer this; the hosts are described wrongly; or one does not answer.
    """
    if tpu and kind not in ("auto", "tpu"):
        raise InputError(
            f"--tpu={tpu} is not used with --strategy={kind}; leave one of them out, or give --strategy=tpu."
        )
    has_tpu = bool(tpu or (kind == "auto" and tf.config.list_physical_devices("TPU")))
    if kind == "tpu" or has_tpu:
        reason = f"--tpu={tpu}" if tpu else "--strategy=tpu" if kind == "tpu" else "this machine has one"
        _refuse_replicas(num_replicas, "a TPU, whose cores are all used")
        return Devices(_tpu_strategy(tpu or "local"), Hosts(), f"tpu: {reason}")
    cluster = read_cluster() if kind in ("auto", "multi_worker") else None
    if kind == "multi_worker" and not cluster:
        raise InputError(
            "--strategy=multi_worker needs several hosts, and neither TF_CONFIG nor Slurm names them; set TF_CONFIG on "
            "every host, start the run with srun, or leave --strategy out."
        )
    gpus = _select_gpus(num_replicas)
    if cluster:
        if not gpus:
            _refuse_replicas(num_replicas, "several hosts without GPUs, which have one replica each")
        if cluster not in _connected:  # by an earlier run in this process
            wait_for_peers(cluster, host_timeout, say)
            strategy = _multi_worker_strategy(cluster, len(gpus), host_timeout)
            reason = f"multi_worker: {cluster.source} names {len(cluster.addresses)} hosts"
            _connected[cluster] = Devices(strategy, Hosts(cluster.index, len(cluster.addresses)), reason)
        return _connected[cluster]
    if kind == "one":
        return Devices(tf.distribute.get_strategy(), Hosts(), "one: --strategy=one")
    names = _device_names(gpus, num_replicas)
    if kind == "mirrored" and len(names) < 2 and not gpus:
        raise InputError(
            "--strategy=mirrored needs several devices, and this machine has one CPU device; give --num_replicas=2 for "
            "logical ones, or --strategy=one."
        )
    if kind == "mirrored" or (len(names) > 1 and (gpus or num_replicas)):
        reason = f"--num_replicas={num_replicas}" if num_replicas else f"this machine has {len(names)} GPUs"
        reason = "--strategy=mirrored" if kind == "mirrored" else reason
        return Devices(tf.distribute.MirroredStrategy(names), Hosts(), f"mirrored: {reason}")
    reason = f"one: no TPU, no other host, {'1' if gpus else 'no'} GPU"
    return Devices(tf.distribute.get_strategy(), Hosts(), reason)


def _refuse_replicas(num_replicas, where):
    if num_replicas:
        raise InputError(
            f"--num_replicas={num_replicas} is not for {where}; leave it out. It is the number of a machine's GPUs or "
            "logical CPU devices."
        )


def _select_gpus(num_replicas):
    """Return the GPUs to use; the others are hidden from TensorFlow."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus or not num_replicas:
        return gpus
    if num_replicas > len(gpus):
        raise InputError(
            f"--num_replicas={num_replicas}, and this machine has {counted(len(gpus), 'GPU')}; give fewer."
        )
    with _before_start(num_replicas):
        tf.config.set_visible_devices(gpus[:num_replicas], "GPU")
    return gpus[:num_replicas]


@contextlib.contextmanager
def _before_start(num_replicas):
    """Report in one line that TensorFlow's devices can no longer be chosen."""
    try:
        yield
    except RuntimeError as error:
        raise InputError(
            f"--num_replicas={num_replicas} comes too late, because TensorFlow's devices are in use; start the run in "
            "a new process."
        ) from error


def _device_names(gpus, num_replicas):
    """Return the names of the devices of one machine; makes logical CPU devices if there are too few."""
    if gpus:
        return [f"GPU:{number}" for number in range(len(gpus))]
    if num_replicas > 1:
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < num_replicas:
            with _before_start(num_replicas):
                tf.config.set_logical_device_configuration(
                    cpu, [tf.config.LogicalDeviceConfiguration()] * num_replicas
                )
    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    return names[: num_replicas or None]


def _multi_worker_strategy(cluster, num_gpus, host_timeout):
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": num_gpus},
        rpc_layer="grpc",
    )
    try:
        connect_within(host_timeout, len(cluster.addresses))
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"the hosts of {cluster.source} cannot be connected ({one_line(error, 100)}); check that each address is "
            "another host's, then start the same command on all of them again."
        ) from error


def _tpu_strategy(tpu):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # the network's, Google's client's, TensorFlow's: each part raises its own
        raise InputError(
            f"no TPU found at --tpu={tpu} ({one_line(error)}); check its name, or drop --tpu and --strategy=tpu."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def on_accelerator(strategy: tf.distribute.Strategy) -> bool:
    """Return whether the strategy computes on TPUs or GPUs."""
    return isinstance(strategy, tf.distribute.TPUStrategy) or bool(tf.config.list_logical_devices("GPU"))


def resolve_precision(precision: str, strategy: tf.distribute.Strategy) -> str:
    """Return the Keras dtype policy name of a --precision.

    Raises:
        InputError: float16 on a TPU.
    """
    if precision == "auto":
        precision, _ = fastest_precision(strategy)
    if precision == "float16" and isinstance(strategy, tf.distribute.TPUStrategy):
        raise InputError(
            "--precision=float16 is not for TPUs, which compute in bfloat16; give --precision=bfloat16, or leave it "
            "out."
        )
    return f"mixed_{precision}" if precision in ("bfloat16", "float16") else precision


def fastest_precision(strategy: tf.distribute.Strategy) -> tuple[str, str]:
    """Return the --precision that "auto" is, and why, in words.

    It is bfloat16 on TPUs, on GPUs of compute capability 8.0 (Ampere) or newer, on CPUs with AMX-BF16 instructions and
    on AMD's CPUs with AVX512-BF16; float16 if all GPUs have compute capability 7.0 (Volta) or newer; float32
    elsewhere.
    """
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return "bfloat16", "TPUs compute in bfloat16"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        lowest = min(detail.get("compute_capability", (0, 0)) for detail in details)
        if lowest >= (8, 0):
            return "bfloat16", "all GPUs have compute capability 8.0 or higher"
        if lowest >= (7, 0):
            return "float16", f"compute capability {lowest[0]}.{lowest[1]} has fast float16, and no bfloat16"
        return "float32", "a GPU has a compute capability below 7.0"
    try:
        processor = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "float32", "the instructions of the CPU are unknown on this system"
    if "amx_bf16" in processor or ("avx512_bf16" in processor and "AuthenticAMD" in processor):
        return "bfloat16", "the CPU has fast bfloat16 instructions"
    if "avx512_bf16" in processor:  # figures in docs/precision.md
        return "float32", "the CPU has bfloat16 instructions, but is slower with them"
    return "float32", "the CPU has no bfloat16 instructions"


def describe(strategy: tf.distribute.Strategy, policy: str, hosts: int = 1) -> str:
    """Return number and kind of the devices, the hosts if there are several, and the precision."""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        kind = "TPU core"
    else:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU device"
    count = strategy.num_replicas_in_sync
    where = f" on {hosts} hosts" if hosts > 1 else ""
    return f"{counted(count, kind)}{where}, {policy.removeprefix('mixed_')}"
