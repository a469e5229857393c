"""SIGINT and SIGTERM while a stage runs: stop at the next step and save; a second SIGINT leaves at once."""

import contextlib
import os
import signal
import sys
import threading

from simclr_keras.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the program was asked to stop, and what happens then.

    Attributes:
        nothing_to_save: True lets the first signal end the program wherever Python is. False only notes it: whoever
            set it looks at `requested` when a step is done, saves, and calls `leave` or `all_saved`.
        requested: number of the signal, or None.
    """

    def __init__(self):
        self.nothing_to_save = True
        self.requested = None
        self._listener = None
        self._saved = "no step was taken yet"

    def on_request(self, listener):
        """Calls listener() as soon as a signal comes, from another thread, whatever the main thread waits for.

        There is one listener, the last; a signal that came before calls it at once.
        """
        self._listener = listener
        if self.requested:
            listener()

    def all_saved(self, saved=None):
        """From here on a signal may end the program wherever Python is; one that came before ends it now.

        Args:
            saved: what is safe, for the message; None for what was said last.
        """
        self._saved = saved or self._saved
        self.nothing_to_save = True
        if self.requested:
            self.leave(self._saved)

    def leave(self, saved):
        """Raises Stopped. saved: what is safe, for the message."""
        name = signal.Signals(self.requested).name
        raise Stopped(f"stopped by {name}: {saved}; the same command continues.", self.requested)

    def _handle(self, number, frame):
        # Python calls this in the main thread, between two of its own instructions.
        self.requested = self.requested or number
        if self.nothing_to_save:
            self.all_saved()

    def _listen(self, pipe):
        heard = set()
        while received := os.read(pipe, 1):
            number = received[0]
            if number not in SIGNALS:
                continue
            if number == signal.SIGINT and heard:
                # Past Python, which may be waiting for a long call; a checkpoint half written does not count.
                os.write(2, b"\nleaving at once; the same command continues from the last checkpoint.\n")
                os._exit(128 + number)
            heard.add(number)
            self.requested = self.requested or number
            if self._listener:
                self._listener()


@contextlib.contextmanager
def listening():
    """Listens for the signals while the block runs; gives a Stop.

    Outside the main thread Python hears no signals: there the Stop is never requested.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    sys.stdout.flush()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    old_wakeup = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    # A signal that is ignored, as under nohup, stays ignored.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    old_handlers = {number: signal.signal(number, stop._handle) for number in heard}
    thread = threading.Thread(target=stop._listen, args=(read_end,), name="signals", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_wakeup)
        os.close(write_end)
        thread.join()
        os.close(read_end)
