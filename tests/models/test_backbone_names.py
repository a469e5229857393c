"""The names of Keras backbones: complete, suggested when missed, and known without TensorFlow."""

import inspect
import subprocess
import sys

import keras
import pytest

from simclr_keras.config.pretrain import PretrainConfig
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import BACKBONES, backbone_record
from simclr_keras.models.zoo import check_name, create_model, model_record


def test_the_list_is_that_of_keras_applications():
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    assert set(BACKBONES) == {name for name, _ in functions}


def test_known_names_are_accepted():
    for name in ["keras:VGG16", "keras:EfficientNetV2B0", "r50_1x_sk1", "r18_0.25x_sk0"]:
        check_name(name)
        assert model_record(name).name == name


def test_an_unknown_name_gets_the_nearest_one():
    for name, suggestion in [
        ("keras:vgg16", "keras:VGG16"),
        ("Keras:ResNet50", "keras:ResNet50"),
        ("keras:MobilenetV4", "keras:MobileNetV"),
        ("keras:", "keras:"),
        ("keras:r50_1x_sk0", "keras:"),
        ("VGG16", "keras:VGG16"),
        ("ResNet50", "keras:ResNet50"),
        ("resnet50", "r50_1x_sk0"),
        ("r51_1x_sk0", "r"),
        (None, "r"),
    ]:
        for function in [check_name, create_model, model_record]:
            with pytest.raises(InputError, match=f"[Dd]id you mean {suggestion}.*name={name!r}") as caught:
                function(name)
            assert "\n" not in str(caught.value)


def test_names_are_checked_without_tensorflow_or_keras():
    code = "import sys; from simclr_keras.models.zoo import check_name; check_name('keras:VGG16'); "
    code += "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
    )


def test_a_record_says_what_the_network_wants():
    assert (backbone_record("keras:VGG16").pixels, backbone_record("keras:VGG16").min_size) == ("caffe", 32)
    assert (backbone_record("keras:InceptionV3").pixels, backbone_record("keras:InceptionV3").min_size) == (
        (-1, 1),
        75,
    )


def test_a_backbone_of_keras_hub_needs_the_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_name("hub:resnet_50_imagenet")
    for function in (create_model, lambda name: PretrainConfig(dataset="digits", model=name).validate()):
        with pytest.raises(InputError, match="keras-hub is missing"):
            function("hub:resnet_50_imagenet")
    with pytest.raises(InputError, match="hub:PRESET"):
        check_name("hub:")
