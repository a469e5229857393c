"""The networks compute what the released code computes: outputs, moving statistics, gradients."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.models.zoo import create_model
from tests.models.released import load_recipe, places

RECIPE = load_recipe()
CASES = {
    "r18_cifar": ("r18_1x_sk0", 32),
    "r50_1x": ("r50_1x_sk0", 64),
    "r50_1x_sk": ("r50_1x_sk1", 64),
}
ENDPOINTS = {"final_avg_pool": "final_avg_pool", "proj_head_3": "proj_head_output", "logits": "logits_sup"}
GROUPS = ("initial_conv", "initial_max_pool", *(f"block_group{i}" for i in range(1, 5)))
cases = pytest.mark.parametrize(
    "case", [name if name == "r18_cifar" else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)


@functools.cache
def build(case, dtype, names, shapes):
    """The model with the released code's golden weights, their places in model.weights, and its statistics."""
    name, size = CASES[case]
    model = create_model(name, num_classes=10, stop_gradient=True, image_size=size, dtype=dtype)
    found = places(names, model.weights)
    for index, (name, shape) in enumerate(zip(names, shapes)):
        value = RECIPE.value(index, name, shape_of(shape))
        assert model.weights[found[index]].shape == value.shape
        model.weights[found[index]].assign(value)
    return model, found, [variable.numpy() for variable in model.non_trainable_variables]


def released_model(case, dtype, names, shapes):
    """The model with the golden weights, and where each of those is in model.weights; it is made once."""
    model, found, statistics = build(case, dtype, tuple(map(str, names)), tuple(map(str, shapes)))
    for variable, value in zip(model.non_trainable_variables, statistics):
        variable.assign(value)
    return model, found


def shape_of(shape):
    return [int(size) for size in str(shape).strip("[]").split(",")]


def difference(ours, released):
    return np.abs(np.asarray(ours, np.float64) - released).max()


@pytest.mark.slow
@cases
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_evaluation_outputs_are_those_of_the_release(case, dtype, golden):
    data = golden(f"forward_{case}.npz")
    model, _ = released_model(case, dtype, data["names"], data["shapes"])
    before = [weight.numpy() for weight in model.non_trainable_variables]
    endpoints = model(tf.cast(data["input"], dtype), training=False)
    for ours, released in ENDPOINTS.items():
        tolerance = 1e-12 if dtype == "float64" else 2e-5
        assert difference(endpoints[ours], data[f"f64/eval/{released}"]) < tolerance
    for j in range(3):
        assert difference(endpoints[f"proj_head_{j + 1}"], data[f"eval/proj_{j}_out"]) < 2e-5
    # The files of the r50 describe the larger endpoints by their first 2**17 numbers.
    summary_length = None if case == "r18_cifar" else 2**17
    for name in GROUPS:
        corner = data[f"eval/{name}_image0_corner"]
        height, width, channels = corner.shape
        assert difference(endpoints[name][0, :height, :width, :channels], corner) < 2e-5
        summarized = np.ravel(endpoints[name]).astype("float64")[:summary_length]
        mean_std = summarized.mean(), summarized.std()
        np.testing.assert_allclose(mean_std, data[f"eval/{name}_mean_std"], rtol=1e-5)
    for weight, value in zip(model.non_trainable_variables, before):
        np.testing.assert_array_equal(weight.numpy(), value)


@cases
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_training_outputs_and_moving_statistics_are_those_of_the_release(case, dtype, golden):
    data = golden(f"forward_{case}.npz")
    model, found = released_model(case, dtype, data["names"], data["shapes"])
    endpoints = model(tf.cast(data["input"], dtype), training=True)
    for ours, released in ENDPOINTS.items():
        # The release's own float32 rounding is the measure of ours.
        rounding = 5 * data[f"f64err/train/{released}"][0]
        tolerance = 1e-9 if dtype == "float64" else rounding
        assert difference(endpoints[ours], data[f"f64/train/{released}"]) < tolerance
    for key in data.files:
        if key.startswith("train/moving/"):
            ours, released = model.weights[found[int(key.rpartition("/")[2])]].numpy(), data[key]
            spread = released.max() - released.min()
            # The release computed these in float32: the farthest, in float64, is 0.0012 away.
            assert difference(ours, released) < 0.003 * spread, key


def nt_xent(embeddings, temperature):
    """The released contrastive loss, slowly: [view 1 of all; view 2 of all] against all the others."""
    normalized = embeddings / tf.norm(embeddings, axis=-1, keepdims=True)
    views = normalized.shape[0]
    similarities = tf.matmul(normalized, normalized, transpose_b=True) / temperature
    losses = []
    for anchor in range(views):
        others = [similarities[anchor, other] for other in range(views) if other != anchor]
        positive = similarities[anchor, (anchor + views // 2) % views]
        losses.append(tf.reduce_logsumexp(tf.stack(others)) - positive)
    return tf.add_n(losses) / (views // 2)


@pytest.mark.slow
@cases
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_are_those_of_the_release(case, dtype, golden):
    data = golden(f"forward_{case}.npz")
    model, found = released_model(case, dtype, data["names"], data["shapes"])
    size = CASES[case][1]
    views = np.concatenate([RECIPE.images(4, size, seed=7), RECIPE.images(4, size, seed=9)])
    labels = np.tile(RECIPE.labels(4), [2, 1]).astype(dtype)
    with tf.GradientTape() as tape:
        endpoints = model(tf.cast(views, dtype), training=True)
        contrastive = nt_xent(endpoints["proj_head_3"], temperature=0.5)
        cross_entropies = tf.nn.softmax_cross_entropy_with_logits(labels, endpoints["logits"])
        supervised = tf.reduce_mean(cross_entropies)
        decay = 1e-4 * tf.nn.l2_loss(tf.convert_to_tensor(model.classifier.kernel))
        total = contrastive + supervised + decay
    variables = [model.weights[found[index]].value for index in data["grad/index"]]
    gradients = tape.gradient(total, variables)
    # In float32 the release's own rounding is the measure of ours: at most 5 times that without oneDNN, 8 times with
    # its convolutions for AVX2.
    absolute, relative = (0, 1e-6) if dtype == "float64" else (10, 0)

    def check(ours, key, row=...):
        released = data[f"f64/grad/{key}"][row]
        rounding, largest = data[f"f64err/grad/{key}"]
        tolerance = absolute * rounding + 1e-8 * largest
        np.testing.assert_allclose(ours, released[: len(ours)], rtol=relative, atol=tolerance)

    check([contrastive, supervised, decay, total], "losses_con_sup_wd_total")
    check([np.linalg.norm(gradient) for gradient in gradients], "norm")
    for row, gradient in enumerate(gradients):
        check(np.ravel(gradient)[:8], "first8", row)


@pytest.mark.slow
def test_float32_gradients_are_those_of_float64(golden):
    """The fused kernels against the unfused path, through a whole network."""
    data = golden("forward_r18_cifar.npz")
    gradients = {}
    for dtype in ("float32", "float64"):
        model, _ = released_model("r18_cifar", dtype, data["names"], data["shapes"])
        with tf.GradientTape() as tape:
            endpoints = model(tf.cast(data["input"], dtype), training=True)
            loss = tf.reduce_mean(tf.math.square(endpoints["proj_head_1"]))
        variables = model.encoder.trainable_variables
        gradients[dtype] = [np.asarray(g, np.float64) for g in tape.gradient(loss, variables)]
    for single, double in zip(gradients["float32"], gradients["float64"]):
        assert np.linalg.norm(single - double) < 1e-2 * np.linalg.norm(double)
