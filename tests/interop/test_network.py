"""A set of keys and shapes is either one of the release's networks, whole, or refused with the key that is wrong."""

import json
import pathlib

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.interop.layers import Encoder, encoder_layers, head_layers
from simclr_keras.models.zoo import PUBLISHED, create_model, parse_name
from tests.interop.key_sets import FORMS, is_models, match, shapes_of
from tests.interop.release_files import CASES, golden_keys, names_of

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def test_the_golden_keys_are_the_network_they_are_of():
    for form in FORMS:
        for case in CASES:
            architecture = match(form, shapes_of(form, case), CASES[case]).architecture
            told = {
                "proj_layers": 3,
                "proj_dim": 128,
                "num_classes": 10,
                "proj_hidden_dim": None,
                "se_ratio": 0.0,
            }
            assert architecture.items() >= {"name": CASES[case], "proj_mode": "nonlinear", **told}.items()
            assert architecture["image_size"] == (32 if case == "r18_cifar" else 224)


def test_all_formats_put_a_variable_into_the_same_place():
    for case in CASES:
        by_name = match("saved", names_of(case), CASES[case]).keys
        by_path = match("tf2", shapes_of("tf2", case), CASES[case]).keys
        keys = golden_keys()[case]["variable_to_ckpt_key"]
        assert by_path == {ours: keys[f"{name}:0"][0] for ours, name in by_name.items()}


def test_every_network_whose_order_of_variables_is_known_matches():
    for case, golden in json.loads((GOLDEN / "params.json").read_text())["variables"].items():
        shapes = {variable["name"]: tuple(variable["shape"]) for variable in golden["variables"]}
        depth, width = case.split("_")[0][1:], 2 if "2x" in case else 1
        network = match("saved", shapes, f"r{depth}_{width}x_sk{int(case.endswith('sk'))}")
        assert len(network.keys) == len(shapes)


def test_another_network_than_its_name_is_refused():
    for case, name in [
        ("r18_cifar", "r34_1x_sk0"),
        ("r50_1x", "r50_1x_sk1"),
        ("r50_1x_sk", "r50_1x_sk0"),
        ("r50_1x", "r50_2x_sk0"),
    ]:
        with pytest.raises(InputError, match=f"does not fit {name}: .* give its name"):
            match("saved", names_of(case), name)


def test_the_layers_of_the_release_have_as_many_parameters_as_it_counts():
    for name in [*PUBLISHED, "r18_1x_sk1", "r34_3x_sk0", "r200_2x_sk1"]:
        depth, width, sk = parse_name(name)
        configs = json.loads((GOLDEN / "params.json").read_text())["configs"]
        counted = configs[f"{depth}/{width:g}x/sk{int(sk)}"]
        encoder = Encoder(depth, width, sk, 0.0, False)

        def parameters(layers):
            return sum(int(np.prod(shape)) for layer in layers for shape in layer.shapes.values())

        assert parameters(encoder_layers(encoder)) == counted["encoder"]["total"]
        features = encoder.features
        assert parameters(head_layers(features, 3, features, 128)) == counted["proj_head"]["total"]


@pytest.mark.parametrize("se_ratio", [0.0, 0.25])
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("name", ["r18_0.25x_sk0", "r34_0.125x_sk1", "r50_0.125x_sk1", "r50_0.25x_sk0"])
def test_the_layers_are_those_of_our_network_in_its_order(name, size, se_ratio):
    model = create_model(name, image_size=size, se_ratio=se_ratio)
    depth, width, sk = parse_name(name)
    layers = encoder_layers(Encoder(depth, width, sk, se_ratio, size <= 32))
    told = {f"{layer.ours}/{role}": shape for layer in layers for role, shape in layer.shapes.items()}
    ours = {v.path.partition("/")[2]: tuple(v.shape) for v in model.encoder.variables}
    assert told.keys() == ours.keys()
    for path, shape in told.items():
        assert ours[path] == (shape[2:] if "/se/" in path and len(shape) == 4 else shape)
    for kind in ("kernel", "gamma"):
        order = [path for path in ours if path.endswith(kind)]
        assert [path for path in told if path.endswith(kind)] == order


def test_suffixes_may_have_gaps_in_a_saved_model():
    shapes = shapes_of("saved", "r18_cifar")
    last = "resnet/block_group4/residual_block_7/conv2d_fixed_padding_20/conv2d_20/kernel"
    shapes[last.replace("_20", "_31")] = shapes.pop(last)
    assert len(match("saved", shapes).keys) == len(shapes)


def test_layers_of_one_shape_that_have_changed_their_numbers_are_noticed():
    shapes = shapes_of("saved", "r18_cifar")
    first = "resnet/block_group4/residual_block_6/conv2d_fixed_padding_18/conv2d_18/kernel"
    shapes[first.replace("/conv2d_18", "/conv2d_31")] = shapes.pop(first)
    with pytest.raises(InputError, match="conv2d_fixed_padding_18/conv2d_31/kernel"):
        match("saved", shapes)


def test_a_saved_model_whose_variable_says_another_group_is_refused():
    shapes = shapes_of("saved", "r18_cifar")
    name = next(name for name in shapes if name.endswith("/conv2d_17/kernel"))
    shapes[name.replace("block_group4", "block_group2")] = shapes.pop(name)
    with pytest.raises(InputError, match="block_group2/residual_block_6"):
        match("saved", shapes)


def test_a_file_of_some_other_model_is_told_apart():
    for form, keys in [
        ("tf1", ["bert/encoder/layer_0/attention/self/query/kernel", "global_step"]),
        ("tf1", ["conv1/bias", "conv1/kernel"]),
        ("tf2", ["model/layer-1/kernel/.ATTRIBUTES/VARIABLE_VALUE", "_CHECKPOINTABLE_OBJECT_GRAPH"]),
        ("saved", ["dense/bias", "dense/kernel"]),
        ("tf1", ["head_contrastives/nl_0/dense/kernel", "head_supervised/linear_layer/dense/kernel"]),
    ]:
        with pytest.raises(InputError, match=f"of some other model: {keys[0]} is none of"):
            match(form, dict.fromkeys(keys, (3, 3)))


def with_linear_layer(form, *nonlinear):
    """Shapes of a file whose projection head has the last layer of the release's as its l_0, and some others."""
    shapes = {key: shape for key, shape in shapes_of(form, "r18_cifar").items() if is_models(key)}
    for j in {0, 1, 2} - {*nonlinear}:
        for key in [key for key in shapes if f"/nl_{j}/" in key]:
            shape = shapes.pop(key)
            if j == 2:
                shapes[key.replace("/nl_2/", "/l_0/")] = shape
    return shapes


def test_a_linear_head_is_one_layer():
    for form in ["tf1", "saved"]:
        network = match(form, with_linear_layer(form))
        told = {"proj_mode": "linear", "proj_layers": 1, "proj_dim": 128, "proj_hidden_dim": None}
        assert network.architecture.items() >= told.items()


def test_a_head_of_both_kinds_is_refused_with_the_part_that_is_fewer():
    for form in ["tf1", "saved"]:
        for nonlinear, stray in [((0, 1), "l_0/"), ((1,), "l_0/"), ((0,), "l_0/"), ((1, "kernel"), "nl_1/")]:
            shapes = with_linear_layer(form, *nonlinear)
            if "kernel" in nonlinear:  # alone of its layer
                shapes = {
                    key: shape for key, shape in shapes.items() if "/nl_1/" not in key or "kernel" in key
                }
            with pytest.raises(InputError, match=f"unexpected [^;]*/{stray}"):
                match(form, shapes)


def test_a_file_without_a_network_says_so():
    with pytest.raises(InputError, match="it has no network"):
        match("tf1", {"global_step": ()})
