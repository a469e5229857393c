"""FeatureStack: colors as by NumPy, means over mirror images, and what a .keras file keeps."""

import keras
import numpy as np
import pytest

from simclr_keras.evaluation.simple_features import color_histograms
from simclr_keras.models.feature_stack import FeatureStack
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import create_model

IMAGES = np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype("float32")


def test_colors_are_the_roots_of_the_histogram():
    features = FeatureStack(color_bins=4)(IMAGES)["final_avg_pool"]
    np.testing.assert_allclose(features, np.sqrt(color_histograms(IMAGES, 4)), rtol=1e-6)
    features = FeatureStack(color_bins=4, color_power=1.0)(IMAGES)["final_avg_pool"]
    np.testing.assert_allclose(features, color_histograms(IMAGES, 4), rtol=1e-6)


@pytest.mark.slow
def test_stack_joins_both_and_survives_a_file(tmp_path):
    encoder = create_model("r18_0.05x_sk0", proj_mode="none", image_size=8).encoder
    plain, mirrored = (encoder(images)["final_avg_pool"].numpy() for images in (IMAGES, IMAGES[:, :, ::-1]))
    model = SimCLRModel(FeatureStack(encoder, True, 2, 0.5), num_classes=2, proj_mode="none")
    model.build((None, 8, 8, 3))
    features = model(IMAGES)["final_avg_pool"].numpy()
    np.testing.assert_allclose(features[:, :-8], (plain + mirrored) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features[:, -8:], np.sqrt(color_histograms(IMAGES, 2)), rtol=1e-6)

    model.save(tmp_path / "stack.keras")
    loaded = keras.models.load_model(tmp_path / "stack.keras")
    np.testing.assert_allclose(loaded(IMAGES)["logits"], model(IMAGES)["logits"], rtol=1e-5, atol=1e-6)
