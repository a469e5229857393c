"""SIGINT and SIGTERM while a stage runs: stop at the next step and save; a second SIGINT ends at once."""

import contextlib
import os
import signal
import socket
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable
from typing import NoReturn

from simclr_keras.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A request to stop the program, and how it ends then.

    Attributes:
        nothing_to_save: True lets the first signal end the program at any point. False only records it: the caller
            checks `requested` after every step, saves, and calls `leave` or `all_saved`.
        requested: number of the signal, or None.
    """

    def __init__(self):
        self.nothing_to_save = True
        self.requested = None
        self._listener = None
        self._first_listener = None
        self._saved = "no step was taken yet"

    def on_request(self, listener: Callable[[], None]) -> None:
        """Call listener() as soon as a signal comes, from another thread, even if the main thread is blocked.

        It replaces the listener before it; after a signal it is called at once.
        """
        self._listener = listener
        if self.requested:
            listener()

    def on_first_signal(self, listener: Callable[[int], None]) -> None:
        """Call listener(number) once, as `on_request` does; the program does not end before it returns."""
        self._first_listener = listener

    def all_saved(self, saved: str | None = None) -> None:
        """Let a signal end the program at any point from now on; an earlier one ends it now.

        The message says what is saved; without it, that of the last call.
        """
        self._saved = saved or self._saved
        self.nothing_to_save = True
        if self.requested:
            self.leave(self._saved)

    def leave(self, saved: str, number: int = 0) -> NoReturn:
        """Raise Stopped, with what is saved, and the number of the signal that this or another host received."""
        self.requested = number or self.requested
        name = signal.Signals(self.requested).name
        raise Stopped(f"stopped by {name}: {saved}; rerun the same command to continue.", self.requested)

    def _handle(self, number, frame):
        # Python calls this in the main thread, between two of its own instructions.
        self.requested = self.requested or number
        if self.nothing_to_save:
            self.all_saved()

    def _raise_again(self, unraisable):
        """Raise again what Python swallows, because a destructor was running when the signal came."""
        if not isinstance(unraisable.exc_value, Stopped):
            sys.__unraisablehook__(unraisable)
            return
        # Later, or it would be swallowed again. As SIGTERM: a second SIGINT ends the program at once.
        threading.Timer(0.05, interrupt_main, [signal.SIGTERM]).start()

    def _listen(self, receiver):
        heard = set()
        while received := receiver.recv(1):
            number = received[0]
            if number not in SIGNALS:
                continue
            if number == signal.SIGINT and heard:
                # Not through Python, which may wait for a long call. A half-written checkpoint is ignored later.
                os.write(
                    2, b"\nstopped at once; rerun the same command to continue from the last checkpoint.\n"
                )
                os._exit(128 + number)
            is_first = not heard
            heard.add(number)
            self.requested = self.requested or number
            if is_first and self._first_listener:
                self._first_listener(number)
            if self._listener:
                self._listener()


@contextlib.contextmanager
def listening():
    """Listen for the signals while the block runs; yields a Stop.

    Outside the main thread Python gets no signals, and the Stop is never requested.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    sys.stdout.flush()
    receiver, sender = socket.socketpair()  # a pipe would do, but not on Windows
    sender.setblocking(False)
    old_wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    # A signal that is ignored, as under nohup, stays ignored.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    old_handlers = {number: signal.signal(number, stop._handle) for number in heard}
    thread = threading.Thread(target=stop._listen, args=(receiver,), name="signals", daemon=True)
    thread.start()
    old_hook, sys.unraisablehook = sys.unraisablehook, stop._raise_again
    try:
        yield stop
    finally:
        sys.unraisablehook = old_hook
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_wakeup)
        sender.close()
        thread.join()
        receiver.close()
