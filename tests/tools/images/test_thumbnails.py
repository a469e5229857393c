"""Pictures of images: the centered square, sharp, found by name."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.errors import InputError
from simclr_keras.tools.images.open_images import open_images
from simclr_keras.tools.images.thumbnails import square, thumbnails
from tests.data.pictures import flat, pixels


def test_a_small_image_s_pixels_become_equal_squares():
    image = pixels(0, size=(8, 8))
    np.testing.assert_array_equal(square(image, 48), image.repeat(6, 0).repeat(6, 1))


def test_of_an_oblong_image_the_middle_is_shown():
    image = pixels(0, size=(6, 10))
    np.testing.assert_array_equal(square(image, 6), image[:, 2:8])
    image = pixels(0, size=(11, 6))
    np.testing.assert_array_equal(square(image, 6), image[2:8])


def test_a_large_image_is_averaged_not_picked_from():
    image = np.indices((96, 96)).sum(0)[..., None].repeat(3, 2) % 2 * 200
    found = square(tf.constant(image, tf.uint8), 24).numpy()
    np.testing.assert_array_equal(found, np.full([24, 24, 3], 100))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (23, 23), (24, 24), (25, 25), (47, 50), (500, 333)])
def test_every_size_comes_out_right_and_within_its_colors(size):
    image = np.full([*size, 3], 77, np.uint8)
    np.testing.assert_array_equal(square(image, 24), np.full([24, 24, 3], 77))


def test_they_are_found_by_name_in_any_order_and_again(tmp_path):
    flat(tmp_path / "f", 4)
    images = open_images(f"{tmp_path}/f")
    found = thumbnails(images, ["3.png", "0.png", "3.png"], 10)
    expected = [square(np.asarray(Image.open(tmp_path / "f" / f"{i}.png")), 10) for i in (3, 0, 3)]
    np.testing.assert_array_equal(found, expected)


def test_images_in_memory_too(tmp_path):
    arrays = {"x_train": pixels(0, size=(5, 8, 8))[..., 0], "x_test": pixels(1, size=(2, 8, 8))[..., 0]}
    np.savez(tmp_path / "a.npz", **arrays)
    found = thumbnails(open_images(f"npz:{tmp_path}/a.npz"), ["test/1", "train/4"], 8)
    expected = np.stack([arrays["x_test"][1], arrays["x_train"][4]])[..., None].repeat(3, -1)
    np.testing.assert_array_equal(found, expected)


def test_those_that_are_gone_are_named(tmp_path):
    flat(tmp_path / "f", 2)
    with pytest.raises(
        InputError, match=r"1 images of the features are not in folder:.*: gone\.png; give --images"
    ):
        thumbnails(open_images(f"{tmp_path}/f"), ["0.png", "gone.png"], 8)


def test_one_that_is_damaged_meanwhile_is_one_line(tmp_path):
    flat(tmp_path / "f", 2)
    images = open_images(f"{tmp_path}/f")
    (tmp_path / "f" / "1.png").write_text("x")
    with pytest.raises(InputError, match=r"an image of folder:.* is unreadable"):
        thumbnails(images, ["0.png", "1.png"], 8)
