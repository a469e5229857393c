"""Sides that take no time, in a module that imports nothing: each runs in a process of its own."""

import os


def prepare_count(start):
    """Return a Run that reports start seconds, then one more each time."""
    numbers = iter(range(start, 100))
    print("no answer")
    return lambda: {"seconds": next(numbers)}


def prepare_without_package():
    import a_package_that_nobody_has  # noqa: F401


def prepare_end():
    return lambda: os._exit(3)
