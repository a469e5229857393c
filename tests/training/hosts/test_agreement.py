"""What hosts agree on, with threads in place of machines."""

import os
import signal
import threading
import types

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, Stopped
from simclr_keras.hosts import Hosts
from simclr_keras.training.engine import signals
from simclr_keras.training.stages.base import Stage
from simclr_keras.training.stages.training_stage import TrainingStage


class ThreadHosts(Hosts):
    """Hosts that are threads of one process, and gather through a list."""

    def __init__(self, index, shared, barrier):
        super().__init__(index, len(shared))
        self._shared, self._barrier = shared, barrier

    def gather(self, values):
        self._shared[self.index] = np.asarray(values)
        self._barrier.wait(10)
        gathered = np.stack(self._shared)
        self._barrier.wait(10)
        return gathered


def on_hosts(count, function):
    """Returns what function(hosts) returns, or raises, on each of so many hosts."""
    shared, barrier, results = [None] * count, threading.Barrier(count), [None] * count

    def work(index):
        try:
            results[index] = function(ThreadHosts(index, shared, barrier))
        except InputError as error:
            results[index] = error

    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_largest_number_of_all_hosts():
    assert (
        on_hosts(3, lambda hosts: hosts.largest(hosts.index == 2, False, 1, [2, None, 15][hosts.index]))
        == [[1, 0, 1, 15]] * 3
    )


def test_rows_are_divided_and_come_back_in_order():
    for count in (2, 3, 4):
        for rows in (1, 2, 7, 8):
            numbers, sizes = np.arange(rows)[:, np.newaxis], []

            def square(part):
                sizes.append(len(part))  # noqa: B023  called at once
                return part**2

            for squares in on_hosts(count, lambda hosts: hosts.map_rows(square, numbers)):  # noqa: B023
                np.testing.assert_array_equal(squares, numbers**2)
            assert sizes == [-(-rows // count)] * count


@pytest.mark.parametrize("piece", [4, 64, 1 << 20])
def test_a_value_of_the_chief_is_computed_there_alone(piece, monkeypatch):
    monkeypatch.setattr("simclr_keras.hosts.PIECE", piece)
    computed = []

    def value(hosts):
        several = hosts.from_chief(
            lambda: computed.append(hosts.index) or ("name", np.arange(30), True, 1.5), list
        )
        return [*several, hosts.from_chief(lambda: np.full(2, -np.inf))]

    for name, numbers, yes, rate, array in on_hosts(3, value):
        assert (name, yes, rate) == ("name", True, 1.5)
        np.testing.assert_array_equal(numbers, np.arange(30))
        np.testing.assert_array_equal(array, [-np.inf, -np.inf])
    assert computed == [0]


def test_hosts_with_other_settings_are_named():
    def check(hosts):
        hosts.check_same({"--seed": 1, "--batch_size": 8 if hosts.index < 2 else 16})

    for refusal in on_hosts(3, check):
        assert "host 0 and host 2 differ in --batch_size; start the same command" in str(refusal)


def test_host_that_a_signal_ended_stops_the_others(tmp_path):
    """The connection fails before the signal is passed on."""
    stage = types.SimpleNamespace(hosts=Hosts(0, 2), run_dir=types.SimpleNamespace(checkpoints=str(tmp_path)))
    with signals.listening() as stage.stop:
        stage.stop.nothing_to_save = False
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Stopped, match="SIGTERM: no step was taken"), Stage._hosts_that_answer(stage):
            raise tf.errors.UnavailableError(None, None, "Socket closed")


@pytest.mark.parametrize("indexed", [True, False])
def test_streams_alone_keep_their_number_of_hosts(indexed):
    stage = types.SimpleNamespace(
        splits=types.SimpleNamespace(train=types.SimpleNamespace(indexed=indexed)),
        hosts=Hosts(0, 4),
        config=types.SimpleNamespace(model_dir="runs/a", dataset="imagenet2012"),
    )
    TrainingStage.check_hosts(stage, types.SimpleNamespace(hosts=4))
    for before in (2, None):
        if indexed:
            TrainingStage.check_hosts(stage, types.SimpleNamespace(hosts=before))
            continue
        with pytest.raises(InputError, match=rf"was trained on {before or 1} host.*use {before or 1} again"):
            TrainingStage.check_hosts(stage, types.SimpleNamespace(hosts=before))
