"""Runs that are killed at a chosen place, and repeated."""

import pytest

from tests.training.tiny import run


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def raise_at(call, real):
    """A method that runs as ever until its call number `call`, and is killed there."""
    calls = 0

    def method(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return real(*args, **kwargs)

    return method


def kill(config, monkeypatch, owner, name, call):
    """Goes through a run until it calls a method of `owner` for the `call`th time, where it is killed."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raise_at(call, getattr(owner, name)))
        with pytest.raises(Killed):
            run(config)
