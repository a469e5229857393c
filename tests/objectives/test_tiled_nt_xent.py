"""NT-Xent from tiles: the same values and gradients as from one matrix, and no tensor larger than a tile."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.objectives import nt_xent as module
from simclr_keras.objectives import tiled_nt_xent
from simclr_keras.objectives.nt_xent import nt_xent
from tests import tpu_tracing
from tests.objectives.nt_xent_twin import draw, gradients, step_with_gradients, twin
from tests.objectives.test_nt_xent import with_ids
from tests.objectives.test_nt_xent_replicas import on_replicas

DENSE = module.MOST_DENSE_SIMILARITIES


@pytest.fixture
def tiles(monkeypatch):
    """Sets the size of tiles, 4 at first, and takes tiles for every batch; 0 gives one matrix of similarities."""

    def set_size(size):
        monkeypatch.setattr(tiled_nt_xent, "TILE", size)
        monkeypatch.setattr(module, "MOST_DENSE_SIMILARITIES", 0 if size else math.inf)

    set_size(4)
    return set_size


def memory(examples, dimensions, rows=7):
    key1, key2 = draw(examples, dimensions, seed=3)
    return {
        "keys": (tf.constant(key1), tf.constant(key2)),
        "queue": tf.constant(draw(rows, dimensions, seed=2)[0]),
    }


def with_duplicates(views):
    views[:, 3] = views[:, 1]
    views[1, 2] = views[0, 2]
    return views


@pytest.mark.parametrize("size", [4, 64])
def test_agrees_with_the_twin_and_one_matrix(tiles, size):
    """Batches that tiles divide and that they do not, one image, hot and cold, duplicates, with memory."""
    for views, options in [
        (draw(8, 6), {}),
        (draw(5, 3), {"temperature": 0.01}),
        (draw(1, 3), {}),
        (10 * draw(7, 3), {"normalize": False, "temperature": 1.0}),
        (with_duplicates(draw(7, 3)), {"temperature": 0.05}),
        (draw(6, 4), memory(6, 4)),
        (draw(5, 4), memory(5, 4, rows=1) | {"temperature": 0.01}),
        (draw(5, 4), {"keys": memory(5, 4)["keys"]}),
        (draw(5, 4), memory(5, 4, rows=9) | with_ids(9)),
        (draw(5, 4), {"keys": memory(5, 4)["keys"], "ids": with_ids(9)["ids"]}),
    ]:
        tiles(0)
        expected, slopes = nt_xent(*views, **options), gradients(*views, **options)
        tiles(size)
        actual = nt_xent(*views, **options)
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(actual, twin(*views, **options), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(gradients(*views, **options), slopes, rtol=1e-9, atol=1e-11)


def test_float32_is_near_float64(tiles):
    views = draw(333, 32)
    views[1] += 2 * views[0]  # small losses, too: one matrix loses digits of their gradients
    views, single = ([tf.constant(view, dtype) for view in views] for dtype in ("float64", "float32"))
    for temperature in (0.01, 0.1, 1.0):
        step = step_with_gradients(temperature=temperature)
        tiles(0)
        exact, slopes = step(*views)
        tiles(50)
        values, single_slopes = step(*single)
        assert all(value.dtype == tf.float32 for value in [*values, *single_slopes])
        # Similarities are rounded to 6e-8 of 1 / temperature, in sums of 32 products.
        rounding = 3e-7 / temperature
        np.testing.assert_allclose(values, exact, rtol=rounding, atol=rounding)
        error = np.max(np.abs(np.subtract(single_slopes, slopes)))
        assert error < 10 * rounding * np.max(np.abs(slopes))


def test_a_small_loss_is_not_negative_and_not_lost(tiles):
    result = nt_xent(np.eye(9, dtype="float32"), np.eye(9, dtype="float32"), temperature=0.05)
    np.testing.assert_allclose(result.loss, 2 * np.log1p(16 * np.exp(-20.0)), rtol=1e-5)


def test_a_collapsed_encoder_shows_as_chance_and_full_entropy(tiles):
    result = nt_xent(np.ones((6, 3)), np.ones((6, 3)))
    np.testing.assert_allclose(result, [2 * math.log(11), 1 / 6, math.log(6)], rtol=1e-6)


def test_the_entropy_has_its_gradient(tiles):
    views = [tf.constant(view) for view in draw(7, 3)]

    def slopes():
        with tf.GradientTape() as tape:
            tape.watch(views)
            result = nt_xent(*views, temperature=0.3)
            total = 2 * result.entropy - result.loss
        return tape.gradient(total, views)

    actual = slopes()
    tiles(0)
    np.testing.assert_allclose(actual, slopes(), rtol=1e-9, atol=1e-12)


def test_no_gradient_reaches_keys_and_queue(tiles):
    (view1, view2), options = (tf.constant(view) for view in draw(6, 4)), memory(6, 4)
    with tf.GradientTape() as tape:
        memories = [*options["keys"], options["queue"]]
        tape.watch([view1, *memories])
        loss = nt_xent(view1, view2, **options).loss
    assert tape.gradient(loss, memories) == [None] * 3


@pytest.mark.slow
def test_replicas_equal_one_device(tiles, mirrored):
    views = draw(12, 6)
    with_memory = [memory(12, 6)] if mirrored.num_replicas_in_sync == 2 else []
    for options in [{"temperature": 0.3}, *with_memory]:
        tiles(4)
        results, grads = on_replicas(mirrored, views, step_with_gradients(**options))
        tiles(0)
        np.testing.assert_allclose(np.mean(results, axis=1), nt_xent(*views, **options), rtol=1e-9)
        expected = gradients(*views, **options)
        np.testing.assert_allclose([np.concatenate(grad) for grad in grads], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("with_memory", [False, True])
def test_xla_compiles_it(tiles, with_memory):
    views = [tf.constant(view) for view in draw(6, 8)]
    step = step_with_gradients(**(memory(6, 8) if with_memory else {}))
    compiled = tf.function(step, autograph=False, jit_compile=True)(*views)
    tiles(0)
    for actual, expected in zip(tf.nest.flatten(compiled), tf.nest.flatten(step(*views))):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("with_memory", [False, True])
def test_traces_for_tpus(tiles, with_memory):
    options = {"keys": (tf.ones([12, 16]),) * 2, "queue": tf.ones([5, 16])} if with_memory else {}
    options |= {"ids": tf.range(12), "queue_ids": tf.range(5)} if with_memory else {}
    spec = tf.TensorSpec([6, 16], tf.bfloat16)
    graph = tpu_tracing.trace(tpu_tracing.fake_tpu_strategy(), step_with_gradients(**options), spec, spec)
    operations = tpu_tracing.findings(graph)
    assert "StatelessWhile" in {node.op for node in tpu_tracing.replicated_nodes(graph)}
    assert set(operations.collectives) == (set() if with_memory else {"CrossReplicaSum"})
    assert not operations.without_kernel
    assert not operations.without_shape


def largest_tensor(examples, queue_rows=0, dimensions=16):
    """Returns the elements of the largest tensor in the graph of loss and gradient, and whether it has loops."""
    spec = tf.TensorSpec([examples, dimensions])
    keys = (tf.zeros([examples or 0, dimensions]),) * 2
    options = {"keys": keys, "queue": tf.zeros([queue_rows, dimensions])} if queue_rows else {}
    step = tf.function(step_with_gradients(**options), autograph=False)
    graph = step.get_concrete_function(spec, spec).graph.as_graph_def(add_shapes=True)
    nodes = [
        *graph.node,
        *itertools.chain.from_iterable(function.node_def for function in graph.library.function),
    ]
    shapes = [shape for node in nodes for shape in node.attr["_output_shapes"].list.shape]
    return max(math.prod(dim.size for dim in shape.dim) for shape in shapes), any(
        "While" in n.op for n in nodes
    )


@pytest.mark.slow
def test_tiles_replace_the_matrix_above_a_size():
    limit = math.isqrt(DENSE) // 2  # examples, without a queue
    assert largest_tensor(limit) == (DENSE, False)
    assert largest_tensor(limit + 1) == (tiled_nt_xent.TILE**2, True)
    queue_rows = DENSE // 128 - 128
    assert largest_tensor(64, queue_rows) == (DENSE, False)
    assert largest_tensor(64, queue_rows + 1)[1]
    assert not largest_tensor(None)[1]
