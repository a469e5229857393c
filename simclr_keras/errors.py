"""The exceptions a user sees as one line, and helpers that write such lines. Imports nothing of the package."""

import re


class InputError(ValueError):
    """Report bad input by one line: what is wrong, then what to do.

    The command line prints the message alone, without a traceback, and exits with code 2.
    Library callers may catch it as a ValueError.
    """

    # Keras and TensorFlow put errors without these marks into 10 to 30 lines of their own.
    _keras_call_info_injected = True
    ag_pass_through = True


class TrainingError(RuntimeError):
    """Report that training cannot continue although the command is right: why, then what to do.

    The command line prints the message alone and exits with code 1; checkpoints already saved stay good.
    """


class DivergedError(TrainingError):
    """Report that the loss, weights or outputs are no longer finite."""


class Stopped(KeyboardInterrupt):
    """Report that SIGINT or SIGTERM stopped the program, after it saved what it could.

    The command line prints the message alone and exits with `code`, 128 and the number of the signal, as shells do:
    130 or 143.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.code = 128 + signal_number


def one_line(error: object, width: int = 300) -> str:
    """Return the text of an exception, a file name or any object on one line.

    TensorFlow writes many lines; the one with the cause is kept, those about its graph and stack are left out.
    Characters outside UTF-8 become escapes.
    """
    text = str(error)
    if hasattr(error, "message"):
        text = re.sub(r"\{\{function_node.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", str(error.message))
        text = re.sub(r"\d+ root error\(s\) found\.", "", text)
        text = re.sub(r"Error in user-defined function .*?Iterator::\S+: ", "", text)
        lines = [line.strip() for line in text.splitlines()]
        text = next((line for line in lines if line and not line.startswith(_FRAMES)), "")
        text = re.sub(r"^\(\d+\) [A-Z_]+: ", "", text)  # if several replicas failed
    text = " ".join(text.split()) or type(error).__name__
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= width else text[: width - 3] + "..."


def some(names: list[str], most: int = 5) -> str:
    """Return the first names of a list for a message, and "..." if there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


_FRAMES = ("Graph execution error", "Detected at node", "<stack traces", 'File "', "Traceback (")
