"""From settings to what networks see: each augmentation is switched by itself, batches hold what was asked for."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.preprocess import evaluation_view
from simclr_keras.training.engine import inputs
from tests.training.tiny import configure, make_config, write_npz

SIZE = 8


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return load_dataset("npz:" + write_npz(tmp_path_factory.mktemp("inputs") / "stripes.npz")).train


def config(augment, **settings):
    return configure("finetune", "run", init="before", augment=augment, image_size=SIZE, **settings)


WORDS = ("crop", "flip", "color", "autoaugment")


def test_augmentations_are_switched_one_by_one():
    for names in (words for n in range(5) for words in itertools.combinations(WORDS, n)):
        settings = config(",".join(names) or "none", flip_probability=0.25)
        crop = inputs.crop_config(settings)
        switched = {
            "crop": crop.random_crop,
            "flip": crop.flip_probability == 0.25,
            "color": inputs.color_and_blur(settings).color_strength > 0,
            "autoaugment": crop.auto_augment,
        }
        assert {name for name, on in switched.items() if on} == {*names}
        assert crop.flip_probability in (0, 0.25)


def test_without_augmentation_a_view_is_what_evaluation_sees(train):
    settings = config("none")
    batch = next(iter(inputs.make_batches(settings, train, windows=1)(0, 1)))
    for view, row in zip(batch["views"].numpy(), batch["id"].numpy()):
        expected = evaluation_view(tf.constant(train.images[row]), SIZE).numpy() * 255
        np.testing.assert_allclose(view[0], expected, atol=0.51)


def test_crops_are_of_the_sizes_and_shapes_that_were_set():
    settings = config("crop", crop_min_area=0.5, crop_max_area=0.75, crop_aspect=2.0)
    crop = inputs.crop_config(settings)
    assert (crop.crop_min_area, crop.crop_max_area, crop.crop_aspect) == (0.5, 0.75, 2.0)


@pytest.mark.slow
def test_the_colors_of_a_classifier_are_those_set_and_are_never_blurred():
    views = tf.constant(np.random.default_rng(0).integers(256, size=(4, 1, SIZE, SIZE, 3), dtype=np.uint8))
    plain = {"color_strength": 0.0}
    color = inputs.color_and_blur(config("color", **plain))
    np.testing.assert_allclose(
        color(views, tf.constant(0, tf.int64)), views.numpy()[:, 0] / 255, rtol=1e-5, atol=1e-6
    )
    gray = inputs.color_and_blur(config("color", jitter_probability=0.0, grayscale_probability=1.0))
    found = gray(views, tf.constant(0, tf.int64)).numpy()
    assert np.ptp(found, axis=-1).max() < 1e-6


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_pretraining_blurs_where_it_is_told_to(probability):
    # The kernel is a tenth of the image: of 8 pixels that would be none.
    checkers = np.indices((32, 32)).sum(axis=0) % 2 * np.uint8(255)
    views = tf.constant(np.broadcast_to(checkers[..., None], (2, 2, 32, 32, 3)).astype(np.uint8))
    chosen = {"blur_probability": probability, "blur_sigma_min": 2.0, "color_strength": 0.0}
    settings = make_config("digits", "run", image_size=32, **chosen)
    found = inputs.color_and_blur(settings)(views, tf.constant(0, tf.int64)).numpy()
    assert (found.std() < 0.4) == (probability == 1)  # 0.5 where nothing is blurred


def test_a_batch_may_be_larger_than_the_data(train):
    settings = config("none", batch_size=100)
    batch = next(iter(inputs.make_batches(settings, train, windows=1)(0, 1)))
    counts = np.bincount(batch["id"].numpy(), minlength=40)
    assert batch["views"].shape == (100, 1, SIZE, SIZE, 3)
    assert set(counts) == {2, 3}


@pytest.mark.slow
def test_batch_size_and_seed_can_be_others_than_the_configs(train):
    settings = config("crop,flip")

    def first(**others):
        return next(iter(inputs.make_batches(settings, train, windows=1, **others)(0, 1)))["id"].numpy()

    assert len(first(batch_size=6)) == 6
    np.testing.assert_array_equal(first(), first(seed=settings.seed))
    assert (first() != first(seed=settings.seed + 1)).any()


@pytest.mark.slow
def test_the_highest_seed_leaves_room_for_the_labeled_stream_of_distillation(train):
    from simclr_keras.training.stages.distill import LABELED_SEED

    settings = config("crop", seed=2**31 - 1)
    for seed in (settings.seed, settings.seed + LABELED_SEED):
        batch = next(iter(inputs.make_batches(settings, train, windows=1, seed=seed)(0, 1)))
        assert len(batch["id"]) == 16
