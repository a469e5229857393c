"""How the input is computed: calls of a map that run at the same time, and whether XLA compiles a part alone."""

import os

import tensorflow as tf

# As many as there are processors.
PARALLEL_CALLS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiles_alone() -> bool:
    """Return whether XLA compiles augmentation on its own; not on TPUs, where the step is compiled as a whole."""
    return not tf.config.list_logical_devices("TPU")
