"""AutoAugment: the policy is that of the paper, its choices follow from (seed, step), its views are PIL's."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras.data.views import autoaugment
from simclr_keras.data.views.crop import CropConfig
from tests.data.small_sources import SOURCES, arrays, assert_same, batches, files, train_dataset
from tests.data.views.test_pil_operations import PIL

AUGMENTED = CropConfig(auto_augment=True)
augment = tf.function(autoaugment.auto_augment, autograph=False)


def test_the_policy_has_25_pairs_of_known_operations():
    assert len(autoaugment.IMAGENET_POLICY) == 25
    for pair in autoaugment.IMAGENET_POLICY:
        assert len(pair) == 2
        for name, probability, magnitude in pair:
            assert name in PIL
            assert 0 <= probability <= 1
            assert (magnitude is None) == (name in ("autocontrast", "equalize", "invert"))


def test_magnitudes_span_the_range_of_the_paper():
    for operation, magnitude, sign, expected in (
        ("posterize", 5, 1, 6.0),
        ("posterize", 6, -1, 5.0),
        ("posterize", 8, 1, 4.0),
        ("solarize", 0, 1, 256.0),
        ("solarize", 9, -1, 0.0),
        ("rotate", 9, 1, 30.0),
        ("rotate", 3, -1, -10.0),
        ("shear_x", 9, -1, -0.3),
        ("color", 0, -1, 1.0),
        ("color", 8, 1, 1.8),
        ("contrast", 8, -1, 0.2),
        ("equalize", None, 1, 0.0),
    ):
        strength = autoaugment.strength(operation, magnitude, sign)
        assert strength == pytest.approx(expected), (operation, magnitude, sign)


def _twin(view, sub_policy, apply, sign):
    """One view by PIL, one operation after the other."""
    image = Image.fromarray(view)
    pair = autoaugment.IMAGENET_POLICY[min(int(sub_policy * 25), 24)]
    for (name, probability, magnitude), u_apply, u_sign in zip(pair, apply, sign):
        if u_apply < probability:
            direction = -1 if u_sign < 0.5 else 1
            strength = autoaugment.strength(name, magnitude, direction)
            image = PIL[name](image, float(np.float32(strength)))
    return np.asarray(image)


def test_views_are_those_that_pil_gives():
    views = np.random.default_rng(0).integers(0, 200, (150, 2, 24, 24, 3), np.uint8)
    policies = autoaugment.draw_policies(3, 7, 150, 2)
    found = augment(views, policies).numpy()
    expected = np.empty_like(views)
    for row, window in np.ndindex(150, 2):
        u = (values.numpy()[row, window] for values in policies)
        expected[row, window] = _twin(views[row, window], *u)
    difference = np.abs(found.astype(int) - expected)
    # A level of a blend (see test_pil_operations) may grow when what follows spreads the levels.
    assert (difference.max(axis=(1, 2, 3, 4)) > 0).mean() < 0.02
    changed = (expected != views).any(axis=(2, 3, 4))
    assert 0.8 < changed.mean() < 1


def test_every_sub_policy_is_chosen_equally_often_and_both_signs():
    policies = autoaugment.draw_policies(0, 0, 20_000, 1)
    counts = np.bincount(np.int32(policies.sub_policy.numpy().ravel() * 25), minlength=25)
    assert len(counts) == 25
    assert np.abs(counts - 800).max() < 5 * np.sqrt(800)
    assert np.abs((policies.sign.numpy() < 0.5).mean(axis=(0, 1)) - 0.5).max() < 0.02


def test_choices_follow_from_seed_and_step_alone():
    first, again = (autoaugment.draw_policies(1, 2, 8, 2) for _ in range(2))
    for u, v, other, another in zip(
        first, again, autoaugment.draw_policies(2, 2, 8, 2), autoaugment.draw_policies(1, 3, 8, 2)
    ):
        np.testing.assert_array_equal(u, v)
        assert not np.allclose(u, other)
        assert not np.allclose(u, another)


def augmented(batch, step):
    """The plain batch of a step, as it should be augmented."""
    policies = autoaugment.draw_policies(0, step, 8, batch["views"].shape[1])
    return {**batch, "views": augment(batch["views"], policies).numpy()}


@pytest.mark.slow
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_batches_are_the_plain_views_augmented(make, tmp_path):
    # From step 5 on: the groups of images that are augmented together are others after a resume.
    source, steps = make(tmp_path), {"first_step": 5, "num_steps": 3}
    expected = []
    for step, batch in enumerate(batches(source, **steps), 5):
        expected.append(augmented(batch, step))
        assert np.any(expected[-1]["views"] != batch["views"])
    dataset = train_dataset(source, crop=AUGMENTED, **steps)
    assert dataset.element_spec["views"] == tf.TensorSpec([8, 2, 16, 16, 3], tf.uint8)
    assert_same(list(dataset.as_numpy_iterator()), expected)


@pytest.mark.slow
@pytest.mark.parametrize("make", [arrays, files])
def test_hosts_and_replicas_see_the_augmented_views_of_one_device(make):
    source, expected = make(), []
    for step, batch in enumerate(batches(source, num_steps=2)):
        whole = augmented(batch, step)
        expected += [{name: whole[name][rows] for name in whole} for rows in (slice(4, 6), slice(6, 8))]
    context = tf.distribute.InputContext(2, 1, 4)
    assert_same(batches(source, crop=AUGMENTED, num_steps=2, input_context=context), expected)
