"""Host views: the crop distribution of the release, the batched path against the plain one, JPEG windows."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.data.views import crop
from simclr_keras.errors import InputError
from simclr_keras.orientation import upright
from simclr_keras.preprocess import decode, evaluation_view, resize_bicubic

CONFIG = crop.CropConfig()


def rows_of(crops, rows):
    return crop.CropDraws(*(u[rows] for u in crops))


def window_twin(crops, height, width, config):
    """One window from its uniform numbers, attempt by attempt, as tf's kernel goes about it."""
    f = np.float32

    def rounded(x):
        return int(np.rint(x))

    small = f(f(config.crop_min_area) * f(height)) * f(width)
    large = f(f(config.crop_max_area) * f(height)) * f(width)
    low, high = f(1 / config.crop_aspect), f(config.crop_aspect)
    chosen = (height, width)
    for u_aspect, u_height in zip(crops.aspect.numpy(), crops.height.numpy()):
        aspect = f(low + u_aspect * f(high - low))
        top_height = rounded(np.sqrt(large / aspect))
        while rounded(f(top_height) * aspect) > width:
            top_height -= 1
        top_height = min(top_height, height)
        h = min(rounded(np.sqrt(small / aspect)), top_height)
        h += min(int(u_height * f(top_height - h + 1)), top_height - h)
        if h * rounded(f(h) * aspect) < small:
            h += 1
        if h * rounded(f(h) * aspect) > large:
            h -= 1
        w = rounded(f(h) * aspect)
        fits = 0 < h <= height and 0 < w <= width and small <= h * w <= large
        if fits and h * w >= f(f(config.min_covered) * f(height)) * f(width):
            chosen = (h, w)
            break
    h, w = chosen
    top = int(crops.top.numpy() * f(max(height - h, 1)))
    left = int(crops.left.numpy() * f(max(width - w, 1)))
    return top, left, h, w


@pytest.mark.parametrize("shape", [(32, 32), (375, 500), (8, 8), (97, 23), (40, 400), (1, 1), (3, 50)])
def test_windows_are_those_of_the_plain_twin(shape):
    crops = crop.draw_crops(3, 7, 40, 2)
    windows = crop.crop_windows(crops, *shape, CONFIG).numpy()
    for i in range(40):
        for j in range(2):
            single = crop.CropDraws(*(u[i, j] for u in crops))
            assert tuple(windows[i, j]) == window_twin(single, *shape, CONFIG)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (8, 8), (5, 500), (700, 3), (375, 500)])
def test_windows_stay_inside_the_image(shape):
    top, left, height, width = np.moveaxis(
        crop.crop_windows(crop.draw_crops(0, 0, 500, 2), *shape, CONFIG).numpy(), -1, 0
    )
    assert min(top.min(), left.min()) >= 0
    assert min(height.min(), width.min()) >= 1
    assert (top + height).max() <= shape[0]
    assert (left + width).max() <= shape[1]


@pytest.mark.parametrize(
    ("case", "aspect"),
    [
        ("32x32_to32x32", 1),
        ("224x224_to224x224", 1),
        ("375x500_to224x224", 1),
        ("500x375_to224x224", 1),
        ("375x500_to96x192", 2),
    ],
)
def test_windows_are_distributed_as_in_the_release(golden, case, aspect):
    expected = golden("augment.npz")[f"crop_boxes/{case}"].astype(np.float64)
    height, width = (int(n) for n in case.split("_")[0].split("x"))
    # Our views are square, so aspects are 1 / widest to widest; other draws give the release's range for wide views.
    narrowest, widest = aspect * 3 / 4, aspect * 4 / 3
    config = crop.CropConfig(crop_aspect=widest)
    crops = crop.draw_crops(0, 1, 10_000, 2)
    aspects = narrowest + crops.aspect * (widest - narrowest)
    crops = crops._replace(aspect=(aspects - 1 / widest) / (widest - 1 / widest))
    found = crop.crop_windows(crops, height, width, config).numpy().reshape(-1, 4).astype(np.float64)

    def quantities(boxes):
        top, left, h, w = boxes.T
        return {"top": top, "left": left, "height": h, "width": w, "area": h * w, "aspect": w / h}

    for name, values in quantities(expected).items():
        ours = quantities(found)[name]
        grid = np.unique(np.concatenate([values, ours]))
        steps = [np.searchsorted(np.sort(x), grid, side="right") / len(x) for x in (values, ours)]
        # Kolmogorov-Smirnov: 0.0196 is exceeded by one pair of samples of 20,000 in a thousand.
        assert np.abs(steps[0] - steps[1]).max() < 0.0196, name


def test_an_image_too_long_to_be_cropped_is_taken_whole():
    windows = crop.crop_windows(crop.draw_crops(0, 0, 20, 2), 10, 1000, CONFIG).numpy()
    np.testing.assert_array_equal(windows, np.broadcast_to([0, 0, 10, 1000], [20, 2, 4]))


@pytest.mark.parametrize(
    ("box", "size"),
    [((3, 5, 40, 30), 32), ((0, 0, 64, 48), 32), ((10, 7, 9, 12), 32), ((0, 0, 64, 48), 48)],
)
def test_crop_and_resize_match_the_release_both_ways(golden, box, size):
    data = golden("augment.npz")
    image = data["in/img64x48"]
    expected = data["crop/img64x48_box{}_{}_{}_{}_to{}x{}".format(*box, size, size)]
    top, left, height, width = box
    plain = resize_bicubic(image[top : top + height, left : left + width], (size, size))
    np.testing.assert_allclose(plain, expected, atol=2e-6)
    rows = crop.bicubic_matrix(tf.constant(top), tf.constant(height), 64, size)
    columns = crop.bicubic_matrix(tf.constant(left), tf.constant(width), 48, size)
    np.testing.assert_allclose(tf.einsum("yh,hwc,xw->yxc", rows, image, columns), expected, atol=2e-6)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (8, 8, 32), (50, 37, 24), (28, 28, 32)])
def test_a_batch_gives_the_views_of_its_images(height, width, size):
    images = np.random.default_rng(0).integers(0, 256, (20, height, width, 3), dtype=np.uint8)
    crops = crop.draw_crops(1, 2, 20, 2)
    batch = crop.make_views_of_batch(images, crops, size, CONFIG).numpy()
    assert batch.shape == (20, 2, size, size, 3)
    assert batch.dtype == np.uint8
    for i in range(20):
        single = crop.make_views(images[i], rows_of(crops, i), size, CONFIG).numpy()
        assert np.abs(batch[i].astype(int) - single).max() <= 1


def test_views_are_clipped_and_rounded_twins():
    """A whole black and white image, enlarged: bicubic weights leave [0, 1] on both sides of an edge."""
    image = np.random.default_rng(0).integers(0, 2, (16, 16, 3), dtype=np.uint8) * 255
    exact = resize_bicubic(image / np.float32(255), (32, 32)).numpy()
    assert exact.min() < 0
    assert exact.max() > 1
    whole, crops = crop.CropConfig(random_crop=False, flip_probability=0.0), crop.draw_crops(0, 0, 1, 1)
    for view in (
        crop.make_views(image, rows_of(crops, 0), 32, whole)[0].numpy(),
        crop.make_views_of_batch(image[None], crops, 32, whole)[0, 0].numpy(),
    ):
        assert np.abs(view - np.clip(exact, 0, 1) * 255).max() <= 0.5001


def test_flips_are_mirror_images_at_the_given_rate():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    crops = crop.draw_crops(0, 0, 2000, 2)
    flips = (crops.flip.numpy() < CONFIG.flip_probability).mean()
    assert abs(flips - 0.5) < 0.03
    for make in (
        lambda config: crop.make_views(image, rows_of(crops, 0), 16, config),
        lambda config: crop.make_views_of_batch(image[None], rows_of(crops, slice(1)), 16, config)[0],
    ):
        never = make(crop.CropConfig(flip_probability=0.0)).numpy()
        always = make(crop.CropConfig(flip_probability=1.0)).numpy()
        assert np.abs(never[:, :, ::-1].astype(int) - always).max() <= 1
        assert np.abs(never.astype(int) - always).max() > 10


def smooth_image(height, width):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 17), np.cos(y / 23), np.sin((x + y) / 31)]
    return np.uint8(128 + 100 * np.stack(waves, axis=-1))


@pytest.mark.parametrize(
    ("mode", "form"), [("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG")]
)
def test_windows_of_encoded_images_are_those_of_decoded_ones(mode, form):
    buffer = io.BytesIO()
    Image.fromarray(smooth_image(90, 131)).convert(mode).save(buffer, form)
    crops = rows_of(crop.draw_crops(0, 5, 6, 2), 3)
    make = tf.function(lambda data: crop.make_views(data, crops, 32, CONFIG, encoded=True), autograph=False)
    from_window = make(buffer.getvalue()).numpy()
    from_whole = crop.make_views(decode(buffer.getvalue()), crops, 32, CONFIG).numpy()
    # Decoding a window alone may smooth the color of its border pixels differently.
    difference = np.abs(from_window.astype(int) - from_whole)
    assert difference.max() <= (6 if form == "JPEG" else 0)
    assert difference.mean() < 0.2


def _stored(image, mode, orientation, **settings):
    """The upright `image` as a camera held that way would store it."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    stored = upright(tf.constant(image), tf.constant(back)).numpy()
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(stored).convert(mode).save(buffer, "JPEG", quality=95, exif=exif, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize("random_crop", [True, False])
def test_windows_of_turned_jpegs_are_those_of_the_upright_image(random_crop):
    image, offenders = smooth_image(90, 131), []
    config = crop.CropConfig(random_crop=random_crop)
    make = tf.function(
        lambda data, crops: crop.make_views(data, crops, 40, config, encoded=True), autograph=False
    )
    drawn = crop.draw_crops(0, 5, 3, 2)
    for orientation in range(1, 9):
        # One value per pixel: nothing depends on what is decoded beside the window.
        file = tf.constant(_stored(image, "RGB", orientation, subsampling=0))
        whole = decode(file)
        assert whole.shape == image.shape
        assert np.abs(whole.numpy().astype(int) - image).mean() < 3
        subsampled = tf.constant(_stored(image, "RGB", orientation, subsampling=2))
        for i in range(3):
            crops = rows_of(drawn, i)
            expected = crop.make_views(whole, crops, 40, config).numpy()
            exact, close = (make(data, crops).numpy() for data in (file, subsampled))
            if np.any(exact != expected) or np.abs(close.astype(int) - expected).mean() >= 3:
                offenders.append((orientation, i))
    assert not offenders


@pytest.mark.parametrize(("size", "antialias"), [(16, False), (48, False), (48, True), (160, True)])
def test_without_random_crop_the_view_is_the_evaluation_view(size, antialias):
    config = crop.CropConfig(random_crop=False, flip_probability=0.0, antialias=antialias)
    image = smooth_image(90, 131)
    crops = crop.draw_crops(0, 0, 1, 2)
    expected = evaluation_view(image, size, antialias=antialias).numpy() * 255
    single = crop.make_views(image, rows_of(crops, 0), size, config).numpy()
    batch = crop.make_views_of_batch(image[None], crops, size, config).numpy()[0]
    for found in (*single, *batch):
        assert np.abs(found - expected).max() <= 1


def test_a_view_is_a_function_of_seed_and_step():
    first, again = crop.draw_crops(1, 2, 4, 2), crop.draw_crops(1, 2, 4, 2)
    for u, v, w, x in zip(first, again, crop.draw_crops(2, 2, 4, 2), crop.draw_crops(1, 3, 4, 2)):
        np.testing.assert_array_equal(u, v)
        assert not np.allclose(u, w)
        assert not np.allclose(u, x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_min_area": 0.0}, "crop_min_area"),
        ({"crop_min_area": 0.9, "crop_max_area": 0.5}, "crop_max_area"),
        ({"crop_max_area": 1.5}, "crop_max_area"),
        ({"crop_aspect": 0.5}, "crop_aspect"),
        ({"min_covered": 1.5}, "min_covered"),
        ({"flip_probability": -0.1}, "flip_probability"),
    ],
)
def test_impossible_crops_are_refused_in_one_line(fields, message):
    with pytest.raises(InputError, match=message) as error:
        crop.CropConfig(**fields)
    assert "\n" not in str(error.value)
