"""Leaf: the one exception that means "the user's input is at fault"."""


class InputError(ValueError):
    """Bad input from the user: one line saying what is wrong and what would be right.

    The command line prints the message alone, without a traceback, and exits with code 2.
    Library callers may catch it as a ValueError.
    """


class TrainingError(RuntimeError):
    """Training cannot go on, through no fault of the command: one line saying why and what to try.

    The command line prints the message alone and exits with code 1; checkpoints already saved stay good.
    """
