"""The graphs of a run are freed when it ends, so that a process can train many times."""

import gc
import weakref

import pytest
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from simclr_keras.backend import custom_gradients_freed
from tests.training.tiny import configure, run


@tf.custom_gradient
def double(x):
    return 2 * x, lambda upstream: 2 * upstream


def traced_graph():
    with custom_gradients_freed():
        return weakref.ref(tf.function(double).get_concrete_function(tf.TensorSpec([])).graph)


def test_a_graph_with_a_custom_gradient_is_freed():
    graph = traced_graph()
    gc.collect()
    assert graph() is None


@pytest.mark.slow
def test_a_run_leaves_no_custom_gradient(tiny, pretrained, tmp_path):
    before = {*gradient_registry.list()}
    run(configure("finetune", tmp_path / "run", init=str(pretrained.folder)))
    assert {*gradient_registry.list()} == before
