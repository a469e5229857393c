"""A loop on every replica whose steps may contain collectives, with one copy of the step in the graph."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from simclr_keras.models.batch_norm import in_xla_context
from simclr_keras.replicas import num_replicas


def loop_on_replicas(step: Callable, count: int, inputs: Any, state: tuple) -> tuple:
    """Return the last state of state = step(index, inputs, *state), for index 0 to count - 1.

    On replicas that are threads of one host (MirroredStrategy), a collective inside a loop would fail: there, the loop
    is outside of the replicas, around a `strategy.run` of the step. Hence `step` may use tensors of a replica only
    if they are among its arguments.

    Args:
        step: function of (index, inputs, *state) to a state; all shapes and types stay the same. It runs in replica
            context and may read and assign variables. It returns None in place of what it never changes.
        count: 1 or more.
        inputs: nested dict, list or tuple of tensors of this replica, the same for every step.
        state: tuple of tensors, or of nested ones, of this replica.

    Returns:
        a tuple like `state`, with None in place of what the step never changes.
    """

    def loop(step, state):
        unchanged = set()

        def body(index, *state):
            new = step(index, *state)
            unchanged.update(place for place, value in enumerate(new) if value is None)
            return index + 1, *(old if value is None else value for old, value in zip(state, new))

        _, *last = tf.while_loop(
            lambda index, *_: index < count,
            body,
            (0, *state),
            parallel_iterations=1,
            maximum_iterations=count,
        )
        return tuple(None if place in unchanged else value for place, value in enumerate(last))

    if num_replicas() == 1 or in_xla_context():
        return loop(lambda index, *state: step(index, inputs, *state), state)

    def around(strategy, inputs, *state):
        return loop(lambda index, *state: strategy.run(step, args=(index, inputs, *state)), state)

    return tf.distribute.get_replica_context().merge_call(around, args=(inputs, *state))
