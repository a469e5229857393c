"""Leaf: the exceptions a user sees as one line, and the line that other libraries' errors give them."""

import re


class InputError(ValueError):
    """Bad input from the user: one line saying what is wrong and what would be right.

    The command line prints the message alone, without a traceback, and exits with code 2.
    Library callers may catch it as a ValueError.
    """


class TrainingError(RuntimeError):
    """Training cannot go on, through no fault of the command: one line saying why and what to try.

    The command line prints the message alone and exits with code 1; checkpoints already saved stay good.
    """


class Stopped(KeyboardInterrupt):
    """The user (SIGINT) or the system (SIGTERM) asked the program to stop; what could be saved has been.

    The command line prints the message alone and exits with `code`, 128 and the number of the signal, as shells do:
    130 or 143.

    Args:
        message: one line.
        signal_number: of the signal.
    """

    def __init__(self, message, signal_number):
        super().__init__(message)
        self.code = 128 + signal_number


def reason(error, width=200):
    """The line of another library's exception that says what happened, for a message of ours.

    TensorFlow's other lines name its own graph, functions and stack.
    """
    text = getattr(error, "message", None) or str(error)
    text = re.sub(r"\{\{function_node.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", text)
    text = re.sub(r"Error in user-defined function .*?Iterator::\S+: ", "", text)
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith(_FRAMES)]
    return told[0][:width] if told else type(error).__name__


_FRAMES = ("Graph execution error", "Detected at node", "<stack traces", 'File "', "Traceback (")
