"""What the hosts of a run agree on: when to stop, what is due, and results that each computes a part of."""

import contextlib
import hashlib
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context  # the only way to the values that hosts leave for each other

from simclr_keras.errors import InputError, some

GROUP_KEY = 1_000_003  # of the collectives here; those of strategies count from 1
HEARTBEAT_SECONDS = 20.0  # without a sign of life from a host, before the others end
PIECE = 1 << 20  # bytes of the chief's values that travel at a time
STOP_KEY = "simclr_keras/stop"
SIGNAL_SECONDS = 0.2  # until a signal has come to all hosts, if it was sent to all


class Hosts:
    """The processes that train together, one on each host; every one calls the same methods in the same order.

    Args:
        index: of this host; host 0 is the chief, which alone prints and writes files.
        count: number of hosts. If it is 1, nothing is communicated.

    >>> from simclr_keras.hosts import Hosts
    >>> Hosts().largest(True, False)
    [1, 0]
    """

    def __init__(self, index: int = 0, count: int = 1) -> None:
        self.index, self.count = index, count
        self._gathers: dict[tuple, Callable] = {}
        self._stop: Any = None

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def gather(self, values: Any) -> np.ndarray:
        """Return [hosts, *shape], the numbers of every host; shape and type are the same on all of them."""
        values = np.asarray(values)[np.newaxis]
        if self.count == 1:
            return values
        key = (values.dtype, values.shape)
        if key not in self._gathers:
            # All hosts number their collectives in the same order.
            self._gathers[key] = self._make_gather(len(self._gathers) + 1)
        return self._gathers[key](tf.constant(values)).numpy()

    def _make_gather(self, instance_key):
        @tf.function(autograph=False)
        def gather(values):
            # On the CPU, so that no host waits for the steps that its devices still have to take.
            with tf.device(f"/job:worker/task:{self.index}/device:CPU:0"):
                return tf.raw_ops.CollectiveGatherV2(
                    input=values,
                    group_size=self.count,
                    group_key=GROUP_KEY,
                    instance_key=instance_key,
                    ordering_token=[],
                    communication_hint="ring",
                )

        return gather

    def largest(self, *numbers: int | None) -> list[int]:
        """Return for each integer, flag or None, which is 0, the largest one of all hosts."""
        return self.gather([int(number or 0) for number in numbers]).max(axis=0).tolist()

    def wait(self) -> None:
        """Return when every host has called this."""
        self.largest(0)

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """Run the block on the chief, then on the other hosts: it may prepare files that they find then."""
        if not self.is_chief:
            self.wait()
        yield
        if self.is_chief:
            self.wait()

    def from_chief(self, function: Callable[[], Any], make: Callable[[tuple], Any] | None = None) -> Any:
        """Return function() of the chief; the other hosts wait for it.

        Args:
            function: returns a number, an array or a text, or a tuple of those if `make` is given.
            make: puts the tuple together on the other hosts: tuple, or `_make` of a NamedTuple.
        """
        if self.count == 1:
            return function()
        content = b""
        if self.is_chief:
            value = function()
            file = io.BytesIO()
            np.savez(file, *(value if make else [value]))
            content = file.getvalue()
        size = int(self.gather(len(content))[0])
        content = content.ljust(-(-size // PIECE) * PIECE, b"\0")
        # Pieces of one size, because every shape is traced, and gathering multiplies the memory by the hosts.
        pieces = (np.frombuffer(content[start : start + PIECE], np.int32) for start in range(0, size, PIECE))
        received = io.BytesIO(b"".join(self.gather(piece)[0].tobytes() for piece in pieces)[:size])
        with np.load(received, allow_pickle=False) as arrays:
            values = tuple(arrays[name] if arrays[name].ndim else arrays[name].item() for name in arrays)
        if self.is_chief:
            return value
        return make(values) if make else values[0]

    def check_same(self, values: dict[str, Any]) -> None:
        """Raise InputError, naming the value, unless the representations are the same on every host."""
        hashes = [hashlib.sha256(repr(value).encode()).digest() for value in values.values()]
        digests = self.gather([np.frombuffer(content, np.int32) for content in hashes])
        differs = (digests != digests[0]).any(axis=2)  # [hosts, values]
        if differs.any():
            hosts = [str(host) for host in np.flatnonzero(differs.any(axis=1))]
            names = [name for name, is_other in zip(values, differs.any(axis=0)) if is_other]
            raise InputError(
                f"host 0 and host {some(hosts)} differ in {some(names)}; start the same command with the same files on "
                "every host."
            )

    def map_rows(self, function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        """Return function(rows), of which every host computes a part.

        `rows` [n, ...] are the same on every host; the function maps rows [m, ...] to results [m, ...] row by row.
        """
        if self.count == 1:
            return function(rows)
        size = -(-len(rows) // self.count)
        # The last host takes rows of the first, if its own are fewer: all parts have one shape.
        own = np.arange(self.index * size, (self.index + 1) * size) % len(rows)
        parts = self.gather(function(rows[own]))
        return parts.reshape(-1, *parts.shape[2:])[: len(rows)]

    def share_stop(self, stop: Any) -> None:
        """Pass the first signal of any host on to all others: each ends as if it had received it."""
        if self.count == 1:
            return

        def pass_on(number: int) -> None:
            try:
                context.context().set_config_key_value(STOP_KEY, str(int(number)))
            except tf.errors.OpError:  # another host was first
                return

        stop.on_first_signal(pass_on)
        is_listening, self._stop = self._stop is not None, stop
        if not is_listening:
            threading.Thread(target=self._listen, name="stop of other hosts", daemon=True).start()

    def _listen(self):
        try:
            number = int(context.context().get_config_key_value(STOP_KEY))
        except (tf.errors.OpError, ValueError):  # the run ends
            return
        time.sleep(SIGNAL_SECONDS)  # it may come to this host, too: Ctrl-C twice would end it at once
        if not self._stop.requested:
            if os.name == "nt":  # its os.kill would end the process
                signal.raise_signal(number)
            else:
                os.kill(os.getpid(), number)


def connect_within(seconds: float, count: int) -> None:
    """Set how many seconds the hosts wait to be connected, before the strategy connects them."""
    configuration = context.coordination_config_pb2
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=int(1000 * seconds),
        heartbeat_timeout_in_ms=int(1000 * HEARTBEAT_SECONDS),
        coordinated_jobs=[configuration.CoordinatedJob(name="worker", num_tasks=count)],
    )
    service = context.context().coordination_service
    if hasattr(service, "cluster_register_with_barrier"):  # not in TensorFlow 2.18
        # Or the first host waits without end if an address is that of another program, or of this host itself.
        service.cluster_register_with_barrier = True
