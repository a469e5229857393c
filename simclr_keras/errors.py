"""Leaf: the exceptions a user sees as one line, and what such lines are made of."""

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


class DivergedError(TrainingError):
    """Loss, weights or outputs are no longer finite."""


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


def one_line(error, width=300):
    """Another library's exception, or anything else with a text, on one line for a message of ours.

    Of TensorFlow's many lines it is the one that says what happened; the others name its graph, functions and stack.

    Args:
        error: exception, file name or the like; characters that are no UTF-8 are written as escapes.
        width: most characters.
    """
    text = str(error)
    if hasattr(error, "message"):
        text = re.sub(r"\{\{function_node.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", str(error.message))
        text = re.sub(r"\d+ root error\(s\) found\.", "", text)
        text = re.sub(r"Error in user-defined function .*?Iterator::\S+: ", "", text)
        lines = [line.strip() for line in text.splitlines()]
        text = next((line for line in lines if line and not line.startswith(_FRAMES)), "")
        text = re.sub(r"^\(\d+\) [A-Z_]+: ", "", text)  # where several replicas failed
    text = " ".join(text.split()) or type(error).__name__
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= width else text[: width - 3] + "..."


def some(names, most=5):
    """The first few of a list of names, for a message of ours; dots tell of more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


_FRAMES = ("Graph execution error", "Detected at node", "<stack traces", 'File "', "Traceback (")
