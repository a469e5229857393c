"""A check that every host of a run answers, before TensorFlow connects them: its own wait names nobody."""

import socket
import time
from collections.abc import Callable

from simclr_keras.errors import InputError, some
from simclr_keras.formatting import counted
from simclr_keras.training.hosts.cluster import Cluster

QUIET_SECONDS = 5.0  # before a line names the hosts that are missing
ATTEMPT_SECONDS = 1.0  # for one connection


def wait_for_peers(cluster: Cluster, seconds: float, say: Callable[[str], object] = print) -> None:
    """Return as soon as every other host listens at its address; print a line if some are late.

    This host listens at its own meanwhile, so that all of them may wait for each other.

    Raises:
        InputError: some do not answer in so many seconds, or the port of this host is in use.
    """
    with _listener(cluster):
        missing = [address for number, address in enumerate(cluster.addresses) if number != cluster.index]
        started, is_said = time.monotonic(), False
        while missing := [address for address in missing if not _answers(address)]:
            waited = time.monotonic() - started
            if waited >= seconds:
                raise InputError(
                    f"no answer from {some(missing)} after {seconds:g} s; start the same command there, correct "
                    f"{cluster.source}, or wait longer with --host_timeout."
                )
            if waited >= QUIET_SECONDS and not is_said:
                say(f"hosts    waiting for {counted(len(missing), 'host')}: {some(missing)}")
                is_said = True
            time.sleep(0.1)


def _listener(cluster: Cluster) -> socket.socket:
    """Return a socket at this host's port; connections wait in its queue, and none is answered."""
    address = cluster.addresses[cluster.index]
    port = int(address.rpartition(":")[2])
    listener = socket.socket()
    # The port of a run that has just ended may be taken at once.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("", port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise InputError(
            f"port {port} of this host, {address} in {cluster.source}, cannot be used ({error.strerror}); end the "
            "program that uses it, or give another port on all hosts."
        ) from error
    return listener


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ATTEMPT_SECONDS).close()
    except OSError:  # refused, no such host, no route
        return False
    return True
