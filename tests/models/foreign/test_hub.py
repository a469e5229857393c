"""hub:PRESET, for which keras-hub must be installed; the presets are folders."""

import keras
import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import create_model

keras_hub = pytest.importorskip("keras_hub")
pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 32, 32, 3)).astype("float32")


def resnet():
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
    )
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(32, 32), scale=1 / 255, offset=[-0.4, -0.5, -0.6]
    )
    return backbone, converter


def vision_transformer():
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    return backbone, keras_hub.layers.ViTImageConverter(image_size=(32, 32), scale=1 / 127.5, offset=-1.0)


@pytest.mark.parametrize("parts", [resnet, vision_transformer])
def test_a_preset_computes_what_keras_hub_does(parts, tmp_path):
    backbone, converter = parts()
    backbone.save_to_preset(str(tmp_path))
    converter.save_to_preset(str(tmp_path))
    features = backbone(converter(IMAGES * 255))
    features = features[:, 0] if len(features.shape) == 3 else keras.ops.mean(features, (1, 2))
    options = {"image_size": 32, "dense_layers": (), "proj_dim": 8}
    model = create_model(f"hub:{tmp_path}", backbone_weights="preset", **options)
    np.testing.assert_allclose(model(IMAGES)["final_avg_pool"], features, rtol=1e-4, atol=1e-5)

    fresh = create_model(f"hub:{tmp_path}", **options)
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)
    assert paths == [variable.path for variable in fresh.variables]
    for ours, theirs in zip(fresh.variables, model.variables):
        ours.assign(theirs)
    fresh.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES)["proj_head_3"], model(IMAGES)["proj_head_3"])


def test_what_is_no_preset_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be built for images of 32 pixels") as caught:
        create_model(f"hub:{tmp_path}", image_size=32)
    assert "\n" not in str(caught.value)
