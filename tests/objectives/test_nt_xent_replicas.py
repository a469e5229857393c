"""NT-Xent on several replicas: the released code's figures on two, one device's on any, and TPU tracing."""

import json

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.objectives.nt_xent import nt_xent
from tests import tpu_tracing
from tests.objectives.nt_xent_twin import draw, gradients, step_with_gradients


def on_replicas(strategy, views, step):
    """Runs step(view1, view2) on each replica's rows; returns its outputs, lists over replicas."""
    rows = len(views[0]) // strategy.num_replicas_in_sync
    local = [
        strategy.experimental_distribute_values_from_function(
            lambda context, view=view: tf.constant(view[context.replica_id_in_sync_group * rows :][:rows])
        )
        for view in views
    ]
    outputs = tf.function(lambda: strategy.run(step, args=tuple(local)), autograph=False)()
    return tf.nest.map_structure(strategy.experimental_local_results, outputs)


@pytest.mark.parametrize("index", range(3))
def test_two_replicas_agree_with_the_released_code_on_two(golden, index):
    data = golden("nt_xent.npz")
    case = json.loads(str(data["cases"]))[7 + index]
    prefix = f"replicas2/{index}"
    assert case["case"] == prefix
    hidden = [np.split(data[f"{prefix}/hidden_r{replica}"], 2) for replica in range(2)]
    views = [np.concatenate(view) for view in zip(*hidden)]
    options = {"temperature": case["temperature"], "normalize": case["hidden_norm"]}
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results, grads = on_replicas(strategy, views, step_with_gradients(**options))
    for replica in range(2):
        actual = [values[replica] for values in results]
        np.testing.assert_allclose(actual, data[f"{prefix}/metrics_r{replica}"], rtol=2e-6, atol=1e-6)
        gradient = np.concatenate([values[replica] for values in grads])
        np.testing.assert_allclose(gradient, data[f"{prefix}/grad_r{replica}"], rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(np.mean(results[0]), data[f"{prefix}/global_loss"], rtol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("normalize", [True, False])
def test_replicas_equal_one_device(mirrored, normalize):
    views = draw(8, 6)
    options = {"temperature": 0.3, "normalize": normalize}
    results, grads = on_replicas(mirrored, views, step_with_gradients(**options))
    np.testing.assert_allclose(np.mean(results, axis=1), nt_xent(*views, **options), rtol=1e-9)
    np.testing.assert_allclose(
        [np.concatenate(grad) for grad in grads], gradients(*views, **options), rtol=1e-9, atol=1e-12
    )


def test_both_views_are_gathered_by_one_collective(mirrored):
    values = [tf.zeros([4, 3])] * 2
    function = tf.function(
        lambda: mirrored.run(lambda *views: nt_xent(*views).loss, args=tuple(values)), autograph=False
    )
    operations = function.get_concrete_function().graph.get_operations()
    gathers = [op for op in operations if op.type.startswith("CollectiveGather")]
    gathers = [op for op in gathers if op.get_attr("T") == tf.float32]  # TensorFlow gathers lengths as well
    assert len(gathers) == mirrored.num_replicas_in_sync


def test_memory_on_replicas_equals_one_device(mirrored):
    view1, view2, key1, key2 = draw(8, 6, count=4)
    options = {"keys": (tf.constant(key1), tf.constant(key2)), "queue": tf.constant(draw(5, 6, seed=2)[0])}
    options |= {"ids": tf.range(8) % 7, "queue_ids": tf.constant([6, -1, 3, 9, -2])}
    results, grads = on_replicas(mirrored, (view1, view2), step_with_gradients(**options))
    np.testing.assert_allclose(np.mean(results, axis=1), nt_xent(view1, view2, **options), rtol=1e-9)
    expected = gradients(view1, view2, **options)
    np.testing.assert_allclose([np.concatenate(grad) for grad in grads], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("memory", [False, True])
def test_traces_for_tpus(memory):
    options = {"keys": (tf.ones([8, 16]),) * 2, "queue": tf.ones([5, 16])} if memory else {}
    strategy = tpu_tracing.fake_tpu_strategy()
    spec = tf.TensorSpec([4, 16], tf.bfloat16)
    findings = tpu_tracing.findings(tpu_tracing.trace(strategy, step_with_gradients(**options), spec, spec))
    assert set(findings.collectives) == (set() if memory else {"CrossReplicaSum"})
    assert not findings.without_kernel
    assert not findings.without_shape


def test_a_call_outside_of_the_replicas_is_refused():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope(), pytest.raises(InputError, match=r"inside strategy.run.*Received"):
        nt_xent(np.ones((2, 3)), np.ones((2, 3)))
