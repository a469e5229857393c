"""Leaf: the one exception that means "the user's input is at fault"."""


class InputError(ValueError):
    """Bad input from the user: one line saying what is wrong and what would be right.

    The command line prints the message alone, without a traceback, and exits with code 2.
    Library callers may catch it as a ValueError.
    """
