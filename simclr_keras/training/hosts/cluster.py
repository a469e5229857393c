"""The hosts that TF_CONFIG or Slurm names for a run."""

import json
import os
import re
from typing import Any, NamedTuple

import tensorflow as tf

from simclr_keras.errors import InputError, one_line

EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
JOBS = ("chief", "worker")
FIRST_PORT, PORTS = 10_000, 20_000  # of Slurm jobs; two jobs on a machine have different ports


class Cluster(NamedTuple):
    """The hosts of a run.

    Attributes:
        addresses: "host:port" of every host, the chief's first.
        index: of this host.
        source: what named them, for messages.
    """

    addresses: tuple[str, ...]
    index: int
    source: str


def read_cluster() -> Cluster | None:
    """Return the hosts of this run, or None if neither TF_CONFIG nor Slurm names several.

    Raises:
        InputError: TF_CONFIG or Slurm's variables are malformed.
    """
    if os.environ.get("TF_CONFIG", "").strip():
        cluster = _from_tf_config(os.environ["TF_CONFIG"])
    elif os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        cluster = _from_slurm()
    else:
        return None
    return cluster if cluster and len(cluster.addresses) > 1 else None


def _from_tf_config(text: str) -> Cluster | None:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise _malformed(f"it is not JSON: {one_line(error)}") from error
    jobs = _dict(values, "it").get("cluster")
    if not jobs:  # some services set TF_CONFIG on a single machine, too
        return None
    others = sorted({*_dict(jobs, "cluster")} - {*JOBS})
    if others:
        raise _malformed(f"its cluster has the job {others[0]}, and only {' and '.join(JOBS)} are used")
    addresses = [_address(address) for job in JOBS for address in _list(jobs.get(job, []), job)]
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise _malformed(f"two hosts have the address {twice[0]}")
    task = _dict(values.get("task"), "task")
    job, index = task.get("type"), task.get("index")
    count = len(jobs.get(job, [])) if job in JOBS else 0
    # Some services write the index as text.
    index = int(index) if isinstance(index, str) and index.isdecimal() else index
    if type(index) is not int or not 0 <= index < count:
        raise _malformed(f"its task is {one_line(json.dumps(task), 60)}, which is not in its cluster")
    return Cluster(
        tuple(addresses), index + (len(jobs.get("chief", [])) if job == "worker" else 0), "TF_CONFIG"
    )


def _malformed(problem: str) -> InputError:
    return InputError(
        f"TF_CONFIG is malformed ({problem}); on every host set it like {EXAMPLE}, or unset it to train on one host."
    )


def _dict(values: Any, name: str) -> dict:
    if not isinstance(values, dict):
        raise _malformed(f"{name} is not an object in braces")
    return values


def _list(values: Any, job: str) -> list:
    if not isinstance(values, list):
        raise _malformed(f"{job} is not a list of addresses")
    return values


def _address(address: Any) -> str:
    port = address.rpartition(":")[2] if isinstance(address, str) else ""
    if not re.fullmatch(r".+:\d+", str(address)) or not 0 < int(port) < 65536:
        raise _malformed(f"{one_line(address, 60)!r} is not an address host:port")
    return address


def _from_slurm() -> Cluster:
    """Return the cluster of a job step: a port for each task, from one that depends on the job."""
    try:
        port = FIRST_PORT + int(os.environ.get("SLURM_JOB_ID") or 0) % PORTS
        # It needs GPUs to count with. Slurm itself selects those of a task, so their number does not matter here.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=port, gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
        index = resolver.get_task_info()[1]
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"Slurm's variables do not describe the hosts ({one_line(error)}); start the run with srun, or set "
            "TF_CONFIG yourself."
        ) from error
    # The resolver sorts n10 before n9; Slurm numbers its tasks by node numbers.
    addresses = sorted(addresses, key=_by_numbers)
    node, own = os.environ.get("SLURMD_NODENAME"), addresses[index].rpartition(":")[0]
    if node and node != own:
        raise InputError(
            f"Slurm runs task {index} on {node}, not {own}; use srun --distribution=block, or set TF_CONFIG yourself."
        )
    return Cluster(tuple(addresses), index, "Slurm")


def _by_numbers(address: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", address)]
