"""SIGINT and SIGTERM: the step that runs is finished and saved; what runs longer without need is left at once."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from simclr_keras.errors import Stopped
from simclr_keras.training.engine import signals

ROOT = pathlib.Path(__file__).parents[3]
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


@BOTH
def test_where_nothing_is_to_be_saved_the_first_signal_ends_the_work(number):
    def work():
        os.kill(os.getpid(), number)
        time.sleep(5)
        pytest.fail("the signal was not heard")

    words = rf"stopped by {number.name}: no step was taken yet; rerun the same command"
    with pytest.raises(Stopped, match=words), signals.listening():
        work()


class Destructor:
    """Raises a signal while it is destroyed, when Python swallows exceptions."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)


@pytest.mark.slow
def test_a_signal_within_a_destructor_ends_the_work():
    def work():
        Destructor()
        time.sleep(5)
        pytest.fail("the signal was lost")

    with pytest.raises(Stopped, match="stopped by SIGINT") as stopped, signals.listening():
        work()
    assert stopped.value.code == 130


@BOTH
def test_where_something_is_to_be_saved_it_is_noted(number):
    with signals.listening() as stop:
        stop.nothing_to_save = False
        assert stop.requested is None
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert stop.requested == number
        with pytest.raises(Stopped, match="step 7 is saved") as stopped:
            stop.leave("step 7 is saved")
    # As shells have it: 128 and the number.
    assert stopped.value.code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert isinstance(stopped.value, KeyboardInterrupt)


def test_listeners_hear_it_while_the_main_thread_is_busy():
    heard = threading.Event()
    with signals.listening() as stop:
        stop.nothing_to_save = False
        stop.on_request(heard.set)
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.wait(5)


def test_another_sigterm_is_no_hurry():
    with signals.listening() as stop:
        stop.nothing_to_save = False
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        assert stop.requested == signal.SIGTERM


def test_everything_is_as_before_afterwards():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    threads = threading.active_count()
    with signals.listening():
        assert [signal.getsignal(number) for number in signals.SIGNALS] != before
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_that_is_ignored_stays_so():
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.listening() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            assert stop.requested is None
    finally:
        signal.signal(signal.SIGINT, old)


def test_another_thread_than_the_main_one_hears_nothing_and_works():
    found = []

    def work():
        with signals.listening() as stop:
            found.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_second_sigint_leaves_at_once_whatever_the_main_thread_waits_for(first):
    # A C function that holds the main thread: there Python itself hears nothing.
    code = """
        import ctypes, signal
        from simclr_keras.training.engine import signals
        libc = ctypes.CDLL(None)
        with signals.listening() as stop:
            stop.nothing_to_save = False
            print("waiting", flush=True)
            for _ in range(1000):
                libc.usleep(900_000)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(first)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "\nstopped at once; rerun the same command to continue from the last checkpoint.\n"
    # "At once" is far less than the 1000 waits; the machine may be busy.
    assert time.monotonic() - began < 30
