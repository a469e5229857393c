"""Color and blur on the device: the release's outputs, plain twins, distributions, replicas, XLA."""

import colorsys
import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.views import color
from simclr_keras.data.views.color_blur import ColorBlur, blur_band, gaussian_blur
from simclr_keras.errors import InputError
from tests import tpu_tracing

ADJUST = {
    "brightness_x1.3": lambda planes: color.adjust_brightness(planes, [1.3]),
    "contrast_0.7": lambda planes: color.adjust_contrast(planes, [0.7]),
    "contrast_1.7": lambda planes: color.adjust_contrast(planes, [1.7]),
    "saturation_0": lambda planes: color.adjust_saturation_and_hue(planes, [0.0], [0.0]),
    "saturation_0.3": lambda planes: color.adjust_saturation_and_hue(planes, [0.3], [0.0]),
    "saturation_1.6": lambda planes: color.adjust_saturation_and_hue(planes, [1.6], [0.0]),
    "hue_-0.2": lambda planes: color.adjust_saturation_and_hue(planes, [1.0], [-0.2]),
    "hue_-0.05": lambda planes: color.adjust_saturation_and_hue(planes, [1.0], [-0.05]),
    "hue_0.11": lambda planes: color.adjust_saturation_and_hue(planes, [1.0], [0.11]),
    "hue_0.2": lambda planes: color.adjust_saturation_and_hue(planes, [1.0], [0.2]),
    "grayscale": color.to_grayscale,
}


# XLA compiles each object anew, which takes seconds.
plain = functools.partial(ColorBlur, compile=False)


def pixels(shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def levels(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def blur(images, sigma, radius, chosen=None):
    n = len(images)
    chosen = tf.fill([n], True) if chosen is None else tf.constant(chosen)
    planes = gaussian_blur(color.to_planes(tf.constant(images)), tf.fill([n], sigma), radius, chosen)
    return color.to_images(planes).numpy()


def test_each_operation_matches_the_release(golden):
    data = golden("augment.npz")
    for source, image in (("img32", data["in/img32"]), ("overshoot", data["in/img32_overshoot"])):
        planes = color.to_planes(tf.constant(image[None]))
        for name, adjust in ADJUST.items():
            expected = data[f"adjust/{source}/{name}"]
            np.testing.assert_allclose(
                color.to_images(adjust(planes))[0], expected, atol=3e-6, err_msg=f"{name} {source}"
            )


@pytest.mark.parametrize(("source", "key"), [("in/img32", "jitter/out"), ("in/img32_overshoot", None)])
def test_all_orders_of_jitter_match_the_release(golden, source, key):
    data = golden("augment.npz")
    np.testing.assert_array_equal(color.ORDERS, data["jitter/perms"])
    expected = data[key] if key else data["jitter/overshoot_out"][None]
    planes = color.to_planes(tf.constant(np.repeat(data[source][None], 24, axis=0)))
    for factors, outputs in zip(data["jitter/factors_b_c_s_h"], expected):
        strengths = [tf.fill([24], np.float32(factor)) for factor in factors]
        found = color.to_images(color.jitter(planes, tf.constant(color.ORDERS), *strengths))
        np.testing.assert_allclose(found, outputs, atol=3e-6)


def test_images_of_one_batch_keep_their_own_order_and_strengths():
    images = pixels([24, 8, 8, 3])
    strengths = [np.float32(v) for v in np.random.default_rng(1).uniform(0.5, 1.5, (4, 24))]
    strengths[3] -= 1.0

    def jitter(rows):
        planes = color.to_planes(tf.constant(images[rows]))
        return color.to_images(
            color.jitter(planes, color.ORDERS[rows], *(s[rows] for s in strengths))
        ).numpy()

    together = jitter(slice(None))
    for i in range(24):
        np.testing.assert_allclose(together[i], jitter(slice(i, i + 1))[0], atol=2e-6)


def test_hue_and_saturation_match_the_standard_library_pixel_by_pixel():
    image = np.concatenate(
        [pixels([1, 6, 6, 3]), np.eye(3, dtype=np.float32)[None, :, None].repeat(6, axis=2)], 1
    )
    image[0, 0, 0] = 0.5
    planes = color.to_planes(tf.constant(image))
    for factor, turns in ((1.0, -0.3), (1.4, 0.0), (0.6, 0.45)):
        adjusted = color.to_images(color.adjust_saturation_and_hue(planes, [factor], [turns]))[0]
        for y, x in np.ndindex(image.shape[1:3]):
            h, s, v = colorsys.rgb_to_hsv(*image[0, y, x].astype(float))
            expected = colorsys.hsv_to_rgb((h + turns) % 1, min(1.0, factor * s), v)
            np.testing.assert_allclose(adjusted[y, x], expected, atol=2e-6)


def test_blur_matches_the_release(golden):
    data, cases = golden("augment.npz"), {3: "0.1 1 2", 9: "0.5 2", 8: "1.3", 22: "0.7 2"}
    for size, sigmas in cases.items():
        for sigma in sigmas.split():
            found = blur(data["in/img32"][None], float(sigma), size // 2)[0]
            np.testing.assert_allclose(
                found, data[f"blur/k{size}_s{sigma}"], atol=2e-6, err_msg=f"{size} {sigma}"
            )
    np.testing.assert_allclose(blur(data["in/batch3"], 1.1, 1), data["blur/batch3_k3_s1.1"], atol=2e-6)


def test_blur_is_a_convolution_with_black_around_the_image():
    image, radius, sigma = pixels([35, 70, 3]), 3, 1.2  # of several blocks
    taps = np.exp(-np.square(np.arange(-radius, radius + 1)) / (2 * sigma**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    padded = np.pad(image, [[radius, radius], [radius, radius], [0, 0]])
    expected = np.zeros_like(image)
    for y, x in np.ndindex(35, 70):
        window = padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
        expected[y, x] = np.einsum("ij,ijc->c", kernel, window)
    np.testing.assert_allclose(blur(image[None], sigma, radius)[0], expected, atol=1e-6)


def test_images_not_chosen_are_not_blurred():
    images = pixels([2, 8, 8, 3])
    found = blur(images, 1.0, 1, chosen=[False, True])
    np.testing.assert_array_equal(found[0], images[0])
    assert np.abs(found[1] - images[1]).max() > 0.05
    band = blur_band(tf.constant([0.1, 1.0]), 1, tf.constant([True, False]), 8)
    np.testing.assert_array_equal(band[1], np.eye(8, 10, 1))


def test_parameters_are_distributed_as_in_the_release(golden):
    stats = json.loads(str(golden("augment.npz")["stats"]))
    drawn = ColorBlur(32).parameters(5, 20_000)
    drawn = {name: values.numpy().reshape(40_000, *values.shape[2:]) for name, values in drawn.items()}
    assert abs(drawn["jittered"].mean() - 0.8) < 0.01
    assert abs(drawn["gray"].mean() - 0.2) < 0.01
    assert abs(drawn["blurred"].mean() - 0.5) < 0.01
    untouched = (~drawn["jittered"] & ~drawn["gray"]).mean()
    assert abs(untouched - stats["color"]["unchanged_fraction(expected .2*.8)"]) < 0.01
    released = stats["brightness_factor_simclrv2_max_delta_.8"]
    for name in ("brightness", "contrast", "saturation"):
        np.testing.assert_allclose(drawn[name].min(), released["min"], atol=0.002)
        np.testing.assert_allclose(drawn[name].max(), released["max"], atol=0.002)
        np.testing.assert_allclose(drawn[name].mean(), 1.0, atol=0.01)
    np.testing.assert_allclose([drawn["hue"].min(), drawn["hue"].max()], [-0.2, 0.2], atol=0.001)
    np.testing.assert_allclose([drawn["sigma"].min(), drawn["sigma"].max()], [0.1, 2.0], atol=0.001)
    orders, counts = np.unique(drawn["order"], axis=0, return_counts=True)
    assert len(orders) == 24
    assert np.abs(counts / 40_000 - 1 / 24).max() < 0.005
    numbers = np.stack([drawn[n] for n in ("brightness", "contrast", "saturation", "hue", "sigma")])
    assert np.abs(np.corrcoef(numbers) - np.eye(5)).max() < 0.02


def test_strength_above_a_quarter_more_than_full_is_clamped(golden):
    stats = json.loads(str(golden("augment.npz")["stats"]))
    drawn = ColorBlur(32, color_strength=1.5).parameters(0, 20_000)
    released = stats["brightness_factor_simclrv2_max_delta_1.2"]
    np.testing.assert_allclose(tf.reduce_min(drawn["brightness"]), released["min"], atol=0.001)
    np.testing.assert_allclose(tf.reduce_max(drawn["brightness"]), released["max"], atol=0.001)
    assert float(tf.reduce_max(tf.abs(ColorBlur(32, color_strength=4.0).parameters(0, 1000)["hue"]))) <= 0.5


def test_version_1_adds_brightness(golden):
    stats = json.loads(str(golden("augment.npz")["stats"]))["brightness_delta_simclrv1_max_delta_.8"]
    augment = ColorBlur(32, brightness_mode="add")
    drawn = augment.parameters(0, 20_000)["brightness"].numpy()
    np.testing.assert_allclose([drawn.min(), drawn.max()], [stats["min"], stats["max"]], atol=0.002)
    dark = np.zeros([4, 2, 16, 16, 3], np.uint8)
    only = {
        "jitter_probability": 1.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
        "grayscale_probability": 0.0,
    }
    assert np.all(plain(16, **only)(dark, 0) == 0)
    assert np.any(plain(16, brightness_mode="add", **only)(dark, 0) > 0.1)


def test_every_operation_can_be_switched_off():
    views = levels([6, 2, 40, 40, 3])
    ordered = np.concatenate([views[:, 0], views[:, 1]]) / np.float32(255)
    off = {"color_strength": 0.0, "blur": False}
    np.testing.assert_allclose(plain(40, **off)(views, 3), ordered, atol=1e-7)
    off = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
    np.testing.assert_allclose(plain(40, **off)(views, 3), ordered, atol=1e-7)
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grayscale_probability": 0.0}
    np.testing.assert_allclose(plain(40, blur=False, **off)(views, 3), ordered, atol=2e-6)
    gray = plain(40, jitter_probability=0.0, grayscale_probability=1.0, blur=False)(views, 3).numpy()
    np.testing.assert_array_equal(gray[..., 0], gray[..., 2])


def test_augmentation_is_a_function_of_seed_and_step():
    views = levels([4, 2, 16, 16, 3])
    first = plain(16, seed=1)(views, 2)
    np.testing.assert_array_equal(first, plain(16, seed=1)(views, tf.constant(2, tf.int64)))
    assert np.abs(first - plain(16, seed=1)(views, 3)).max() > 0.1
    assert np.abs(first - plain(16, seed=2)(views, 2)).max() > 0.1
    same = np.repeat(views[:1, :1], 2, axis=1).repeat(4, axis=0)
    outputs = plain(16, jitter_probability=1.0)(same, 0).numpy()
    assert len(np.unique(outputs.reshape(8, -1), axis=0)) == 8


def test_xla_and_plain_kernels_see_the_same_views():
    views = levels([16, 2, 40, 40, 3])
    without_xla, compiled = (ColorBlur(40, compile=on)(views, 11) for on in (False, True))
    np.testing.assert_allclose(without_xla, compiled, atol=5e-6)
    assert without_xla.dtype == tf.float32
    assert without_xla.shape == [32, 40, 40, 3]
    assert 0 <= np.min(without_xla) < np.max(without_xla) <= 1


def test_batches_of_unknown_size_are_augmented_as_others():
    augment, views = ColorBlur(40, seed=3, compile=False), levels([3, 2, 40, 40, 3])
    signature = [tf.TensorSpec([None, *views.shape[1:]], tf.uint8), tf.TensorSpec([], tf.int64)]
    of_any_size = tf.function(augment, autograph=False, input_signature=signature)
    np.testing.assert_allclose(of_any_size(views, 5), augment(views, 5), atol=1e-5)  # rounding of graphs


def test_a_single_view_is_augmented_by_the_parameters_of_its_row():
    views = levels([6, 1, 40, 40, 3])
    augment = ColorBlur(40, seed=3, compile=False)
    parameters = {name: values[0] for name, values in augment.parameters(5, 6, windows=1).items()}
    assert len(np.unique(parameters["hue"])) == 6
    found = augment(views, 5)
    assert found.shape == [6, 40, 40, 3]
    for row in range(6):
        own = {name: values[row : row + 1] for name, values in parameters.items()}
        np.testing.assert_allclose(found[row], augment.apply(views[row], own)[0], atol=1e-6)


def test_parts_of_a_batch_see_the_views_of_the_whole():
    augment = ColorBlur(40, seed=3, compile=False)
    views = levels((6, 2, 40, 40, 3))
    whole = tf.split(augment(views, 5), 2)
    for start in (0, 2, 4):
        part = tf.split(augment(views[start : start + 2], 5, (tf.constant(start), 6)), 2)
        for ours, expected in zip(part, whole):
            np.testing.assert_allclose(ours, expected[start : start + 2], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("windows", [1, 2])
def test_replicas_see_what_one_device_sees(mirrored, windows):
    replicas = mirrored.num_replicas_in_sync
    views, size = levels([8, windows, 40, 40, 3]), 8 // replicas
    augment = ColorBlur(40, seed=3, compile=windows == 2)  # with and without XLA
    expected = augment(views, 6).numpy().reshape(windows, 8, 40, 40, 3)

    @tf.function(autograph=False)
    def run(parts):
        return mirrored.run(lambda part: augment(part, tf.constant(6)), args=(parts,))

    parts = mirrored.experimental_distribute_values_from_function(
        lambda context: tf.constant(views[context.replica_id_in_sync_group * size :][:size])
    )
    found = mirrored.experimental_local_results(run(parts))
    found = np.concatenate([part.numpy().reshape(windows, size, 40, 40, 3) for part in found], axis=1)
    np.testing.assert_allclose(found, expected, atol=5e-6)


@pytest.mark.parametrize(("compiled", "windows"), [(True, 2), (False, 1)])
def test_it_traces_for_tpus(compiled, windows):
    augment = ColorBlur(40, compile=compiled)
    spec = tf.TensorSpec([4, windows, 40, 40, 3], tf.uint8)
    graph = tpu_tracing.trace(
        tpu_tracing.fake_tpu_strategy(),
        lambda views, step: augment(views, step),
        spec,
        tf.TensorSpec([], tf.int64),
    )
    found = tpu_tracing.findings(graph)
    assert not found.without_kernel
    assert not found.without_shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color_strength": -1.0}, "color_strength"),
        ({"hue": -0.1}, "hue"),
        ({"jitter_probability": 1.5}, "jitter_probability"),
        ({"brightness_mode": "scale"}, "brightness_mode"),
        ({"blur_sigma_min": 0.0}, "blur_sigma_min"),
        ({"blur_sigma_min": 2.5}, "blur_sigma_max"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        ColorBlur(32, **arguments)
    assert "\n" not in str(error.value)
