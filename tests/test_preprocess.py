"""The evaluation preprocessing: decoding, center crop, bicubic resize, against the release's outputs."""

import io
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras import preprocess
from simclr_keras.errors import InputError


def encoded(image, mode, form):
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photo():
    y, x = np.mgrid[0:40, 0:56]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)


def test_integers_fill_zero_to_one_and_floats_pass():
    np.testing.assert_array_equal(preprocess.to_float(np.array([0, 255], np.uint8)), [0.0, 1.0])
    np.testing.assert_array_equal(preprocess.to_float(np.array([0.25, 0.5])), np.float32([0.25, 0.5]))


def test_integers_of_unknown_range_are_refused():
    for dtype in ("int8", "int32", "uint32", "int64", "bool"):
        image = np.zeros((48, 48, 3), dtype)
        for function in (preprocess.to_float, lambda x: preprocess.evaluation_view(x, 40)):
            with pytest.raises(InputError, match=rf"uint8 \(0 to 255\).*Received: dtype={dtype}") as caught:
                function(image)
            assert "\n" not in str(caught.value)
    white = np.full((4, 4, 3), 65535, np.uint16)
    np.testing.assert_array_equal(preprocess.evaluation_view(white, 8), np.ones((8, 8, 3)))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA"])
def test_every_kind_of_png_decodes_to_rgb(photo, mode):
    image = preprocess.decode(encoded(photo, mode, "PNG")).numpy()
    expected = np.asarray(Image.open(io.BytesIO(encoded(photo, mode, "PNG"))).convert("RGB"))
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_decodes_to_rgb(photo, mode):
    image = preprocess.decode(encoded(photo, mode, "JPEG")).numpy()
    expected = np.asarray(Image.fromarray(photo).convert(mode).convert("RGB"), np.int32)
    assert image.shape == (40, 56, 3)
    assert image.dtype == np.uint8
    assert np.abs(image - expected).mean() < 6


def test_center_windows_are_those_of_the_release(golden):
    cases = json.loads(str(golden("augment.npz")["stats"]))["center_crop_shape"]
    assert cases
    for case, expected in cases.items():
        image, size = ([int(n) for n in part.split("x")] for part in case.split("->"))
        top, left, height, width = preprocess.center_window(*image, size).numpy()
        assert {"crop_h": height, "crop_w": width, "off_y": top, "off_x": left} == expected, case


def test_evaluation_view_matches_the_release(golden):
    data = golden("augment.npz")
    image = data["in/u8_60x80"]
    for size in (48, 96):
        view = preprocess.evaluation_view(image, size)
        np.testing.assert_allclose(view, data[f"eval/u8_60x80_size{size}"], atol=2e-6)
    view = preprocess.evaluation_view(image, 224).numpy()
    np.testing.assert_allclose(
        [view.sum(), (view.astype(np.float64) ** 2).sum()], data["eval/u8_60x80_size224_checks"], rtol=1e-6
    )
    view = preprocess.evaluation_view(data["in/u8_32"], 32)
    np.testing.assert_allclose(view, data["eval/u8_32_size32_nocrop"], atol=1e-6)


def test_images_of_any_size_can_be_evaluated():
    for shape, size in itertools.product([(60, 80), (1, 1), (1, 300), (33, 7), (8, 8)], (8, 32, 48)):
        image = np.full((*shape, 3), 200, np.uint8)
        view = preprocess.evaluation_view(image, size).numpy()
        np.testing.assert_allclose(view, np.full((size, size, 3), 200 / 255), atol=1e-6)


def test_a_batch_gives_the_views_of_its_images(photo):
    batch = np.stack([photo, photo[::-1]])
    views = tf.function(lambda x: preprocess.evaluation_view(x, 48))(batch)
    np.testing.assert_allclose(views[1], preprocess.evaluation_view(photo[::-1], 48), atol=1e-6)


def test_views_stay_between_zero_and_one():
    checker = np.uint8(np.indices((9, 9)).sum(axis=0) % 2 * 255)[..., None].repeat(3, axis=-1)
    raw = preprocess.resize_bicubic(preprocess.to_float(checker), (32, 32)).numpy()
    view = preprocess.evaluation_view(checker, 32).numpy()
    assert raw.min() < 0
    assert raw.max() > 1
    assert view.min() == 0
    assert view.max() == 1


def test_bytes_and_floats_give_the_same_views():
    shapes = [(60, 80), (24, 24), (32, 32), (7, 300), (300, 301)]
    for shape, size in itertools.product(shapes, (24, 32, 48, 224)):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        view = preprocess.evaluation_view(image, size)
        assert view.dtype == tf.float32
        np.testing.assert_allclose(view, preprocess.evaluation_view(image / np.float32(255), size), atol=5e-7)


@pytest.mark.parametrize("size", [32, 224])
def test_no_floats_are_made_of_a_large_image(size):
    view = tf.function(lambda image: preprocess.evaluation_view(image, size))
    graph = view.get_concrete_function(tf.TensorSpec([None, None, 3], tf.uint8)).graph
    floats = [
        x for op in graph.get_operations() for x in op.outputs if x.dtype == tf.float32 and x.shape.rank
    ]
    assert all(x.shape.is_fully_defined() for x in floats), floats


@pytest.mark.slow
def test_deep_png_of_shallow_content_keeps_its_range():
    """16-bit files have their upper 8 bits, unless all of these are 0."""
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint16)
    graph = tf.function(preprocess.decode, input_signature=[tf.TensorSpec([], tf.string)])
    for channels in (1, 2, 3, 4):
        shallow = values[..., :channels]
        if channels in (2, 4):
            shallow = np.concatenate([shallow[..., :-1], np.full_like(shallow[..., :1], 65535)], axis=-1)
        expected = np.repeat(shallow[..., :1], 3, axis=-1) if channels < 3 else shallow[..., :3]
        deep = shallow * 256 + values[..., ::-1][..., :channels]
        dark = shallow.copy()
        dark[0, 0, 0] = 256
        for decode in (preprocess.decode, graph):
            np.testing.assert_array_equal(decode(tf.io.encode_png(shallow)), expected)
            for image in (deep, dark):
                file = tf.io.encode_png(image)
                np.testing.assert_array_equal(decode(file), tf.io.decode_image(file, channels=3))
