"""What training has left in a file is only passed over where it belongs to the network's variables."""

import re

import pytest

from simclr_keras.errors import InputError
from tests.interop.key_sets import match, shapes_of

SLOTS = {"tf1": "/Momentum", "tf2": "/.OPTIMIZER_SLOT/optimizer/Momentum/.ATTRIBUTES/VARIABLE_VALUE"}


def slots_of_no_variable():
    """(format, slot's key, shape)."""
    layers = {"tf1": "base_model/conv2d_9", "tf2": "model/resnet_model/initial_conv_relu_max_pool/0/conv2d"}
    for form, layer in layers.items():
        shape = shapes_of(form, "r18_cifar")[f"{layer}/kernel{SLOTS[form]}"]
        yield form, f"{layer}99/kernel{SLOTS[form]}", shape
        yield form, f"{layer}/kernel{SLOTS[form]}", (*shape, 1)
        yield form, f"{layer}/kernel{SLOTS[form]}", shape[1:]
        yield form, f"{layer}/bias{SLOTS[form]}", shape[3:]
    yield "tf1", "base_model/conv2d_9/kernel/LARSOptimizer/Momentum", (3, 3)
    yield "tf1", "base_model/conv2d_999/kernel/Adam_1", (3, 3)
    yield (
        "tf2",
        "model/resnet_model/initial_conv_relu_max_pool/0/conv2d/kernel/.OPTIMIZER_SLOT/optimizer/m",
        (3, 3),
    )


def test_an_optimizers_slot_is_only_passed_over_beside_its_variable_of_its_shape():
    for form, key, shape in [*slots_of_no_variable()]:
        shapes = shapes_of(form, "r18_cifar") | {key: shape}
        with pytest.raises(InputError, match=re.escape(f"unexpected {key} {list(shape)}")):
            match(form, shapes)


def test_the_slots_of_several_optimizers_are_known():
    for slot in ["Momentum", "LARSOptimizer/Momentum", "Adam", "Adam_1"]:
        shapes = shapes_of("tf1", "r18_cifar")
        key = f"head_contrastive/nl_0/dense/kernel/{slot}"
        shapes[key] = shapes["head_contrastive/nl_0/dense/kernel"]
        assert match("tf1", shapes).skipped[key] == "optimizer"


def test_a_moving_average_that_is_not_asked_for_is_of_the_networks_variables():
    for key, shape in [
        ("ema_model/base_model/conv2d_999/kernel", (3, 3, 8, 8)),
        ("ema_model/base_model/conv2d_9/kernel", (3, 3, 8, 8)),
        ("ema_model/head_supervised/linear_layer/dense/bias", (11,)),
        ("ema_model/decoder/kernel", (3, 3)),
    ]:
        shapes = shapes_of("tf1", "r18_cifar") | {key: shape}
        with pytest.raises(InputError, match=re.escape(f"unexpected {key} {list(shape)}")):
            match("tf1", shapes)


def test_a_moving_average_that_is_not_asked_for_may_lack_some():
    shapes = shapes_of("tf1", "r18_cifar")
    del shapes["ema_model/base_model/conv2d_9/kernel"]
    network = match("tf1", shapes)
    assert network.skipped["ema_model/base_model/conv2d_8/kernel"] == "moving average"
    with pytest.raises(InputError, match=r"missing encoder/block_group\d/block\d/conv\d/kernel"):
        match("tf1", shapes, ema=True)


def test_what_training_left_is_only_passed_over_where_it_is_of_the_network():
    for key in ["base_model/conv2d_9/kernel/Momentum_3", "dense/kernel/Momentum"]:
        shapes = shapes_of("tf1", "r18_cifar") | {key: (3,)}
        with pytest.raises(InputError, match=f"unexpected {key}"):
            match("tf1", shapes)
