"""Leaf: the exceptions a user sees as one line, and the line that other libraries' errors give them."""


class InputError(ValueError):
    """Bad input from the user: one line saying what is wrong and what would be right.

    The command line prints the message alone, without a traceback, and exits with code 2.
    Library callers may catch it as a ValueError.
    """


class TrainingError(RuntimeError):
    """Training cannot go on, through no fault of the command: one line saying why and what to try.

    The command line prints the message alone and exits with code 1; checkpoints already saved stay good.
    """


def reason(error, width=200):
    """The first line of another library's exception, for a message of ours.

    TensorFlow's later lines name its own graph and stack.
    """
    text = getattr(error, "message", None) or str(error)
    return text.splitlines()[0][:width] if text else type(error).__name__
