"""NT-Xent, against a loop-by-loop NumPy twin, finite differences and the released code's figures."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.objectives.nt_xent import nt_xent
from tests.objectives.nt_xent_twin import draw, gradients, step_with_gradients, twin


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0])
@pytest.mark.parametrize(("n", "d"), [(1, 4), (2, 3), (5, 8), (16, 2), (9, 64)])
def test_agrees_with_the_twin(n, d, temperature, normalize):
    view1, view2 = draw(n, d)
    actual = nt_xent(view1, view2, temperature=temperature, normalize=normalize)
    np.testing.assert_allclose(actual, twin(view1, view2, temperature, normalize), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("options", "d"), [({}, 5), ({"temperature": 0.5}, 3), ({"normalize": False}, 4)])
def test_gradient_agrees_with_finite_differences_of_the_twin(options, d):
    views = 0.5 * draw(3, d)
    numeric = np.zeros_like(views)
    for index in np.ndindex(views.shape):
        for sign in (1, -1):
            moved = views.copy()
            moved[index] += sign * 1e-6
            numeric[index] += sign * twin(*moved, **options)[0] / 2e-6
    np.testing.assert_allclose(gradients(*views, **options), numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("index", range(7))
def test_agrees_with_the_released_code(golden, index):
    data = golden("nt_xent.npz")
    case = json.loads(str(data["cases"]))[index]
    assert case["case"] == f"single/{index}"
    views = np.split(data[f"single/{index}/hidden"], 2)
    options = {"temperature": case["temperature"], "normalize": case["hidden_norm"]}
    actual = nt_xent(*views, **options)
    np.testing.assert_allclose(actual.loss, data[f"single/{index}/loss"], rtol=2e-6, atol=1e-6)
    expected = data[f"single/{index}/metrics_loss_acc_entropy"]
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=1e-6)
    gradient = np.concatenate(gradients(*views, **options))
    np.testing.assert_allclose(gradient, data[f"single/{index}/grad"], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(
    "views",
    [
        np.zeros((2, 4, 3)),
        np.stack([np.zeros((4, 3)), np.ones((4, 3))]),
        np.stack([np.eye(4)[:, :3], draw(4, 3)[0]]),
        np.full((2, 4, 3), 1e-7),
        1e-5 * draw(4, 3),
        1e-9 * draw(4, 3),
    ],
    ids=["all zero", "one view zero", "one vector zero", "equal 1e-7", "near 1e-5", "near 1e-9"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zero_and_nearly_zero_vectors_give_finite_and_small_gradients(views, dtype):
    views = views.astype(dtype)
    results = nt_xent(*views)
    np.testing.assert_allclose(results[::2], twin(*views)[::2], rtol=1e-4)
    grads = np.stack(gradients(*views))
    lengths = np.linalg.norm(views, axis=-1, keepdims=True)
    bound = 40 / len(views[0])  # 4 / (n * temperature): the largest gradient of a vector of length 1
    assert np.all(np.isfinite(grads))
    assert np.all(grads[np.broadcast_to(lengths == 0, grads.shape)] == 0)
    assert np.all(np.abs(grads[np.broadcast_to(lengths < 1e-3, grads.shape)]) < 1e3 * bound)


def test_vectors_of_any_usual_length_have_the_exact_gradient():
    views = draw(4, 3)
    for scale in (1e-2, 1.0, 1e4):
        np.testing.assert_allclose(
            scale * np.array(gradients(*(scale * views))), gradients(*views), rtol=1e-8, atol=1e-12
        )


@pytest.mark.parametrize("temperature", [0.01, 0.001])
@pytest.mark.parametrize(("scale", "normalize"), [(1.0, True), (1e15, True), (1e3, False)])
def test_small_temperatures_and_large_vectors_stay_finite(temperature, scale, normalize):
    views = (scale * draw(8, 4)).astype("float32")
    options = {"temperature": temperature, "normalize": normalize}
    np.testing.assert_allclose(
        nt_xent(*views, **options)[0], twin(*views, **options)[0], rtol=1e-4, atol=1e-4
    )
    assert np.all(np.isfinite(nt_xent(*views, **options)))
    assert np.all(np.isfinite(gradients(*views, **options)))


def test_identical_views_of_far_images_are_told_apart():
    result = nt_xent(np.eye(6), np.eye(6), temperature=0.05)
    assert float(result.accuracy) == 1
    assert float(result.loss) < 1e-6
    assert float(result.entropy) < 1e-5


def test_a_collapsed_encoder_shows_as_chance_and_full_entropy():
    result = nt_xent(np.ones((6, 3)), np.ones((6, 3)))
    np.testing.assert_allclose(result, [2 * math.log(11), 1 / 6, math.log(6)], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_embeddings_are_lifted_to_float32(dtype):
    views = [tf.cast(view, dtype) for view in draw(6, 16)]
    actual = nt_xent(*views)
    assert actual.loss.dtype == tf.float32
    np.testing.assert_allclose(actual, nt_xent(*[tf.cast(view, tf.float64) for view in views]), rtol=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_memory_agrees_with_the_twin(rows, normalize):
    view1, view2, key1, key2 = draw(5, 4, count=4)
    options = {"temperature": 0.3, "normalize": normalize, "keys": (key1, key2)}
    if rows:
        options["queue"] = draw(rows, 4, seed=1)[0]
    actual = nt_xent(view1, view2, **options)
    np.testing.assert_allclose(actual, twin(view1, view2, **options), rtol=1e-9)


def with_ids(rows):
    """Ids of five examples, two of them equal and one unknown, and of the queue: all kinds of rows."""
    return {
        "ids": np.array([7, 2**31 - 1, -1, 7, 0]),
        "queue_ids": np.resize([7, -1, -2, 3, 0, -1, 2**31 - 1], rows),
    }


def test_own_examples_and_unfilled_places_are_no_negatives():
    view1, view2, key1, key2 = draw(5, 4, count=4)
    options = {"keys": (key1, key2), "queue": draw(9, 4, seed=1)[0]}
    results = []
    for names in [(), ("ids",), ("queue_ids",), ("ids", "queue_ids")]:
        extra = {name: with_ids(9)[name] for name in names}
        results.append(nt_xent(view1, view2, **options, **extra))
        np.testing.assert_allclose(results[-1], twin(view1, view2, **options, **extra), rtol=1e-9)
    assert len({float(result.loss) for result in results}) == 4
    nothing = {"queue_ids": np.full(9, -1)}
    without = nt_xent(view1, view2, keys=(key1, key2))
    np.testing.assert_allclose(nt_xent(view1, view2, **options, **nothing), without, rtol=1e-12)


def test_keys_equal_to_the_views_change_nothing_but_the_gradient():
    views = draw(5, 4)
    np.testing.assert_allclose(nt_xent(*views, keys=tuple(views)), nt_xent(*views), rtol=1e-12)
    assert not np.allclose(gradients(*views, keys=tuple(views)), gradients(*views))


def test_no_gradient_reaches_keys_and_queue():
    view1, view2, key1, key2 = [tf.constant(values) for values in draw(5, 4, count=4)]
    queue = tf.constant(draw(3, 4)[0])
    with tf.GradientTape() as tape:
        tape.watch([view1, key1, key2, queue])
        loss = nt_xent(view1, view2, keys=(key1, key2), queue=queue).loss
    online, *memories = tape.gradient(loss, [view1, key1, key2, queue])
    assert online is not None
    assert memories == [None] * 3


@pytest.mark.parametrize("memory", [False, True])
def test_xla_compiles_it(memory):
    views = [tf.constant(view) for view in draw(6, 8)]
    options = {"keys": tuple(views), "queue": views[0]} if memory else {}
    step = step_with_gradients(**options)
    for actual, expected in zip(
        tf.nest.flatten(tf.function(step, autograph=False, jit_compile=True)(*views)),
        tf.nest.flatten(step(*views)),
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_batch_of_unknown_size_is_possible():
    views = draw(4, 3)
    spec = tf.TensorSpec([None, 3], tf.float64)
    step = tf.function(lambda *pair: nt_xent(*pair), input_signature=[spec, spec])
    np.testing.assert_allclose(step(*views), nt_xent(*views), rtol=1e-12)


TWO_BY_THREE = np.ones((2, 3), "float32")


def test_arguments_that_make_no_sense_are_refused():
    for views, options, message in [
        ((np.ones((2, 3)), np.ones((3, 3))), {}, "of one shape"),
        ((np.ones((2, 3)), TWO_BY_THREE), {}, "dtype"),
        ((np.ones(3), np.ones(3)), {}, r"Received: view1=float64\[3\]"),
        ((np.ones((0, 3)), np.ones((0, 3))), {}, "The batch has no examples"),
        ((TWO_BY_THREE, TWO_BY_THREE), {"temperature": 0.0}, "Received: temperature=0.0"),
        ((TWO_BY_THREE, TWO_BY_THREE), {"queue": TWO_BY_THREE}, "`queue` needs `keys`.*Received: keys=None"),
        ((TWO_BY_THREE, TWO_BY_THREE), {"keys": TWO_BY_THREE}, "a pair.*Received"),
        ((TWO_BY_THREE, TWO_BY_THREE), {"keys": (np.ones((4, 3)),) * 2}, r"\[2, 3\] each.*Received"),
        (
            (TWO_BY_THREE, TWO_BY_THREE),
            {"keys": (TWO_BY_THREE,) * 2, "queue": np.ones((4, 5))},
            r"\[rows, 3\]. Received",
        ),
        (
            (TWO_BY_THREE, TWO_BY_THREE),
            {"keys": [[[1.0] * 3] * 2] * 2, "queue": [[1.0] * 5]},
            r"\[rows, 3\]. Received: queue=float32\[1, 5\]",
        ),
        ((TWO_BY_THREE, TWO_BY_THREE), {"ids": [1, 2]}, "`ids` needs `keys`. Received: keys=None"),
        (
            (TWO_BY_THREE, TWO_BY_THREE),
            {"keys": (TWO_BY_THREE,) * 2, "queue_ids": [1]},
            "`queue_ids` needs `queue`",
        ),
        (
            (TWO_BY_THREE, TWO_BY_THREE),
            {"keys": (TWO_BY_THREE,) * 2, "ids": [1.0, 2.0]},
            r"`ids` must be integers \[2\], one per row of `keys`. Received: float32\[2\]",
        ),
    ]:
        with pytest.raises(InputError, match=message):
            nt_xent(*views, **options)
