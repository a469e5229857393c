"""A ResNet is found under the prefixes that other programs write, and every other array is accounted for."""

import sys

import numpy as np
import pytest
import safetensors.numpy

from simclr_keras.errors import InputError
from simclr_keras.interop.open_source import open_source
from simclr_keras.interop.torch_files import open_torch
from simclr_keras.interop.torch_files.match import match_arrays
from simclr_keras.interop.torch_files.read import read_arrays
from simclr_keras.runs.ancestors import inherit
from tests.interop.torch_files.networks import small_arrays

ONE = np.ones(1, np.float32)


def named(prefix, without_fc=True):
    return {
        f"{prefix}{name}": value
        for name, value in small_arrays().items()
        if not (without_fc and name.startswith("fc."))
    }


def children(prefix):
    """The encoder as a Sequential of torchvision's children, as lightly makes it."""
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    return {
        f"{prefix}{places[name.partition('.')[0]]}.{name.partition('.')[2]}": value
        for name, value in named("").items()
    }


FILES = {
    "torchvision": ({**named("", without_fc=False), "bn1.num_batches_tracked": ONE}, 5, {"training": 1}),
    "DataParallel": (named("module.", without_fc=False), 5, {}),
    "MoCo": (
        {
            **named("state_dict.module.encoder_q."),
            **named("state_dict.module.encoder_k.", without_fc=False),
            "state_dict.module.encoder_q.fc.0.weight": ONE,
            "state_dict.module.encoder_q.fc.0.bias": ONE,
            "state_dict.module.queue": ONE,
            "state_dict.module.queue_ptr": ONE,
        },
        None,
        {"training": 2, "other networks": len(named("", without_fc=False)), "heads": 2},
    ),
    "MoCo v1, whose fc is its head": (
        named("module.encoder_q.", without_fc=False),
        None,
        {"heads": 2},
    ),
    "DINO": (
        {
            **named("teacher.backbone."),
            **named("student.module.backbone."),
            "teacher.head.mlp.0.weight": ONE,
            "student.module.head.mlp.0.weight": ONE,
        },
        None,
        {"heads": 2, "other networks": len(named(""))},
    ),
    "solo-learn": (
        {
            **named("state_dict.backbone."),
            "state_dict.classifier.weight": ONE,
            "state_dict.projector.0.weight": ONE,
        },
        None,
        {"heads": 2},
    ),
    "lightly": (
        {**children("backbone."), "projection_head.layers.0.weight": ONE},
        None,
        {"heads": 1},
    ),
}


@pytest.mark.parametrize("program", FILES)
def test_prefixes(program):
    arrays, classes, left_out = FILES[program]
    network = match_arrays(arrays, "the file")
    assert (network.encoder.name, network.num_classes, network.left_out) == (
        "r18_0.125x_sk0",
        classes,
        left_out,
    )
    for variable in network.variables:
        for name in variable.names:
            np.testing.assert_array_equal(network.arrays[name], small_arrays()[name])


def changed(name, value):
    arrays = named("", without_fc=False)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    return arrays


CONV = "layer2.0.conv1.weight"
BAD = {
    "missing": (
        changed(CONV, None),
        f"does not fit r18_0.125x_sk0: {CONV} is missing instead of [16, 8, 3, 3]",
    ),
    "shape": (changed(CONV, np.ones((16, 4, 3, 3), np.float32)), f"{CONV} is [16, 4, 3, 3] instead of"),
    "unexpected": (changed("layer2.0.gate.weight", ONE), "layer2.0.gate.weight [1] is unexpected"),
    "unexpected beside it": (changed("decoder.weight", ONE), "decoder.weight [1] is unexpected"),
    "not finite": (changed("bn1.bias", np.full(8, np.nan, np.float32)), "bn1.bias is not finite"),
    "another architecture": (
        {"cls_token": ONE, "blocks.0.attn.qkv.weight": ONE},
        "contains no ResNet: no layer1.0.conv1.weight, its first array is cls_token",
    ),
    "two networks": (
        {**named("a."), **named("b.")},
        "contains several networks: a., b.; save the arrays of one",
    ),
    "empty": ({}, "it has no arrays"),
}


@pytest.mark.parametrize("fault", BAD)
def test_misfits_are_named(fault):
    arrays, message = BAD[fault]
    with pytest.raises(InputError) as raised:
        match_arrays(arrays, "the file")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unreadable_files(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("cut.safetensors", "network.pth", "network.h5"):
        (tmp_path / name).write_bytes(b"\x80")
    for name, message in [
        ("nowhere.safetensors", "is not found"),
        ("cut.safetensors", "is damaged"),
        ("network.pth", "is a pickle, which is not read without PyTorch; convert it"),
        ("network.h5", "must end in .safetensors"),
    ]:
        with pytest.raises(InputError, match=message):
            read_arrays(str(tmp_path / name))
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(InputError, match="safetensors is missing"):
        read_arrays(str(tmp_path / "cut.safetensors"))


def test_file_of_torchvision(tmp_path):
    path = tmp_path / "resnet.safetensors"
    arrays = {**named("", without_fc=False), "bn1.num_batches_tracked": np.ones((), np.int64)}
    safetensors.numpy.save_file({**arrays, "bn1.bias": arrays["bn1.bias"].astype(np.float16)}, path)
    opened = open_source(f"torch:{path}", flag="init")
    architecture = opened.architecture
    assert (architecture.max_pool_padding, architecture.pixel_mean) == ("torch", open_torch.MEAN)
    assert (opened.image_size, opened.record.mode, opened.result.figures["left_out"]) == (
        224,
        "supervised",
        {"training": 1},
    )
    assert opened.notes[0] == "left out 1 of training"
    config = type("Config", (), {"dataset": None, "labels": None})
    with pytest.raises(InputError, match=r"--dataset is missing: the data that --init=torch:.* is unknown"):
        inherit(config, opened, "init")
    with pytest.raises(InputError, match="has one set of weights"):
        open_source(f"torch:{path}", "best", "init")
    safetensors.numpy.save_file(arrays, path, {"simclr_keras": '{"pixel_std": [0, 1, 1]}'})
    with pytest.raises(InputError, match="damaged entry simclr_keras in its metadata"):
        open_source(f"torch:{path}")
