"""A set of keys and shapes is either one of the release's networks, whole, or refused with the key that is wrong."""

import collections
import json
import pathlib

import numpy as np
import pytest

from simclr_keras.errors import InputError
from simclr_keras.interop import tf1_checkpoint, tf2_checkpoint, tf2_saved_model
from simclr_keras.interop.layers import Encoder, encoder_layers, head_layers
from simclr_keras.interop.network import find_network
from simclr_keras.models.zoo import PUBLISHED, create_model, parse_name
from tests.interop.release_files import CASES, golden_keys, names_of, saved_names, tf1_tree

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FORMS = {"tf1": tf1_checkpoint, "tf2": tf2_checkpoint, "saved": tf2_saved_model}


def shapes_of(form, case, start=0):
    """Dict of key to shape of a good file."""
    if form == "tf1":
        return tf1_tree(names_of(case), ema=names_of(case))
    if form == "saved":
        return saved_names(names_of(case), start=start, plain=bool(start))
    return {key: tuple(shape) for key, shape, _ in golden_keys()[case]["keys"]}


def find(form, shapes, **arguments):
    return find_network(FORMS[form], shapes, "the file", head_layer=0, **arguments)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_the_golden_keys_are_the_network_they_are_of(form, case):
    architecture = find(form, shapes_of(form, case)).architecture
    told = {"proj_layers": 3, "proj_dim": 128, "num_classes": 10, "proj_hidden_dim": None, "se_ratio": 0.0}
    assert architecture.items() >= {"name": CASES[case], "proj_mode": "nonlinear", **told}.items()
    assert architecture["image_size"] == (32 if case == "r18_cifar" else 224)


@pytest.mark.parametrize("case", CASES)
def test_all_formats_put_a_variable_into_the_same_place(case):
    by_name = find("saved", names_of(case)).keys
    by_path = find("tf2", shapes_of("tf2", case)).keys
    keys = golden_keys()[case]["variable_to_ckpt_key"]
    assert by_path == {ours: keys[f"{name}:0"][0] for ours, name in by_name.items()}


def test_every_network_whose_order_of_variables_is_known_is_recognized():
    for case, held in json.loads((GOLDEN / "params.json").read_text())["variables"].items():
        shapes = {variable["name"]: tuple(variable["shape"]) for variable in held["variables"]}
        network = find("saved", shapes)
        assert len(network.keys) == len(shapes)
        depth, width = case.split("_")[0][1:], 2 if "2x" in case else 1
        assert network.architecture["name"] == f"r{depth}_{width}x_sk{int(case.endswith('sk'))}"


@pytest.mark.parametrize("name", [*PUBLISHED, "r18_1x_sk1", "r34_3x_sk0", "r200_2x_sk1"])
def test_the_layers_of_the_release_have_as_many_parameters_as_it_counts(name):
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
    assert len(find("saved", shapes).keys) == len(shapes)


def test_layers_of_one_shape_that_have_changed_their_numbers_are_noticed():
    shapes = shapes_of("saved", "r18_cifar")
    first = "resnet/block_group4/residual_block_6/conv2d_fixed_padding_18/conv2d_18/kernel"
    shapes[first.replace("/conv2d_18", "/conv2d_31")] = shapes.pop(first)
    with pytest.raises(InputError, match="conv2d_fixed_padding_18/conv2d_31/kernel"):
        find("saved", shapes)


def test_a_saved_model_whose_variable_says_another_group_is_refused():
    shapes = shapes_of("saved", "r18_cifar")
    name = next(name for name in shapes if name.endswith("/conv2d_17/kernel"))
    shapes[name.replace("block_group4", "block_group2")] = shapes.pop(name)
    with pytest.raises(InputError, match="block_group2/residual_block_6"):
        find("saved", shapes)


def test_basic_blocks_for_small_images_take_what_only_the_name_tells():
    shapes = shapes_of("tf1", "r18_cifar")
    assert find("tf1", shapes).architecture["name"] == "r18_1x_sk0"
    assert find("tf1", shapes, likely="r18_1x_sk1").architecture["name"] == "r18_1x_sk1"
    assert find("tf1", shapes, name="r18_1x_sk1", likely="r18_1x_sk0").architecture["name"] == "r18_1x_sk1"


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("tf1", ["bert/encoder/layer_0/attention/self/query/kernel", "global_step"]),
        ("tf1", ["conv1/bias", "conv1/kernel"]),
        ("tf2", ["model/layer-1/kernel/.ATTRIBUTES/VARIABLE_VALUE", "_CHECKPOINTABLE_OBJECT_GRAPH"]),
        ("saved", ["dense/bias", "dense/kernel"]),
        ("tf1", ["head_contrastives/nl_0/dense/kernel", "head_supervised/linear_layer/dense/kernel"]),
    ],
)
def test_a_file_of_some_other_model_is_told_apart(form, keys):
    with pytest.raises(InputError, match=f"of some other model: {keys[0]} is none of"):
        find(form, dict.fromkeys(keys, (3, 3)))


def is_models(key):
    """Whether a key is a variable of the network, not something of training."""
    marks = ("Momentum", "OPTIMIZER_SLOT", "ema_model", "memory", "global_step", "save_counter", "_CHECK")
    return not any(mark in key for mark in marks)


def missing(rng, form, shapes, key):
    del shapes[key]
    return [key, *(["/".join(key.split("/")[-2:])] if form == "saved" else [])]


def doubled(rng, form, shapes, key):
    layer, _, role = key.rpartition("/") if form != "tf2" else key.partition("/.ATTRIBUTES")
    other = {
        "tf1": f"{layer.rstrip('0123456789')}0{layer[len(layer.rstrip('0123456789')) :]}/{role}",
        "tf2": key.replace("/0/", "/00/", 1) if "/0/" in key else f"{layer}_1/.ATTRIBUTES/VARIABLE_VALUE",
        "saved": f"{layer}_copy/{role}",
    }[form]
    if form == "saved" and "batch_normalization" in layer:
        sync = "sync_batch_normalization" in layer
        words = ("sync_batch_", "batch_") if sync else ("batch_normalization", "sync_batch_normalization")
        other = f"{words[1].join(layer.rsplit(words[0], 1))}/{role}"
    shapes[other] = shapes[key]
    return [other, key]


def mis_shaped(rng, form, shapes, key):
    shape = list(shapes[key])
    axis = rng.integers(len(shape) + 1)
    if axis == len(shape):
        shape.append(1)
    else:
        shape[axis] = int(rng.choice([max(shape[axis] // 2, 1) + 1, shape[axis] + 1, 2 * shape[axis]]))
    shapes[key] = tuple(shape)
    return [key]


def renamed(rng, form, shapes, key):
    parts = key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").split("/")
    tail = "/.ATTRIBUTES/VARIABLE_VALUE" if form == "tf2" else ""
    place = rng.integers(len(parts))
    parts[place] = rng.choice([f"{parts[place]}s", f"my_{parts[place]}", "layer"])
    other = "/".join(parts) + tail
    shapes[other] = shapes.pop(key)
    return [other, key]


def foreign(rng, form, shapes, key):
    tail = "/.ATTRIBUTES/VARIABLE_VALUE" if form == "tf2" else ""
    head = key.removesuffix(tail).rpartition("/")[0]
    root = {"tf1": "base_model", "tf2": "model/resnet_model", "saved": "resnet"}[form]
    names = [f"{head}/renorm_mean", f"{root}/conv2d_999/kernel", f"{root}/dense/kernel", "decoder/kernel"]
    other = f"{rng.choice([*names, f'{root}/batch_normalization_999/gamma'])}{tail}"
    shapes[other] = (3, 3)
    return [other]


def renamed_head_part(rng, form, shapes, key):
    """Keys of a layer of the projection head, one or all, said to be of another layer, or of a linear head."""
    layers = {
        "tf1": "head_contrastive/nl_",
        "tf2": "_projection_head/linear_layers/",
        "saved": "projection_head/nl_",
    }
    old = f"{layers[form]}{rng.integers(3)}/"
    new = (
        f"{layers[form]}7/"
        if form == "tf2"
        else str(rng.choice([layers[form].replace("nl_", "l_0/"), f"{layers[form]}7/"]))
    )
    keys = sorted(key for key in filter(is_models, shapes) if old in key)
    keys = keys if rng.integers(2) else [str(rng.choice(keys))]
    others = [key.replace(old, new) for key in keys]
    shapes |= {other: shapes.pop(key) for key, other in zip(keys, others)}
    return [*others, *keys]


KINDS = (missing, doubled, mis_shaped, renamed, foreign, renamed_head_part)


def corrupted(seed):
    """(format, kind, shapes, words of which one must be said)."""
    rng = np.random.default_rng(seed)
    form, case = rng.choice([*FORMS]), rng.choice([*CASES])
    kind = KINDS[rng.integers(len(KINDS))]
    shapes = dict(shapes_of(form, case, start=int(rng.choice([0, 5]))))
    key = str(rng.choice(sorted(filter(is_models, shapes))))
    return form, kind, shapes, [str(word) for word in kind(rng, form, shapes, key)]


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_corrupted_sets_of_keys_are_each_refused_with_the_key_that_is_wrong(count):
    seen = collections.Counter()
    for seed in range(count):
        form, kind, shapes, words = corrupted(seed)
        with pytest.raises(InputError) as raised:
            find(form, shapes)
        message = str(raised.value)
        assert any(word in message for word in words), (seed, kind.__name__, words, message)
        assert "\n" not in message
        seen[form, kind.__name__] += 1
    assert len(seen) == len(FORMS) * len(KINDS)
    assert min(seen.values()) > count / 50


def with_linear_layer(form, *nonlinear):
    """Shapes of a file whose projection head has the last layer of the release's as its l_0, and some others."""
    shapes = {key: shape for key, shape in shapes_of(form, "r18_cifar").items() if is_models(key)}
    for j in {0, 1, 2} - {*nonlinear}:
        for key in [key for key in shapes if f"/nl_{j}/" in key]:
            shape = shapes.pop(key)
            if j == 2:
                shapes[key.replace("/nl_2/", "/l_0/")] = shape
    return shapes


@pytest.mark.parametrize("form", ["tf1", "saved"])
def test_a_linear_head_is_one_layer(form):
    network = find(form, with_linear_layer(form))
    told = {"proj_mode": "linear", "proj_layers": 1, "proj_dim": 128, "proj_hidden_dim": None}
    assert network.architecture.items() >= told.items()


@pytest.mark.parametrize("form", ["tf1", "saved"])
@pytest.mark.parametrize(
    ("nonlinear", "stray"), [((0, 1), "l_0/"), ((1,), "l_0/"), ((0,), "l_0/"), ((1, "kernel"), "nl_1/")]
)
def test_a_head_of_both_kinds_is_refused_with_the_part_that_is_fewer(form, nonlinear, stray):
    shapes = with_linear_layer(form, *nonlinear)
    if "kernel" in nonlinear:  # alone of its layer
        shapes = {key: shape for key, shape in shapes.items() if "/nl_1/" not in key or "kernel" in key}
    with pytest.raises(InputError, match=f"unexpected [^;]*/{stray}"):
        find(form, shapes)


def test_the_moving_average_is_held_to_the_same():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shapes = shapes_of("tf1", "r18_cifar")
        key = str(rng.choice(sorted(key for key in shapes if key.startswith("ema_model"))))
        words = (missing, mis_shaped, renamed)[seed % 3](rng, "tf1", shapes, key)
        with pytest.raises(InputError) as raised:
            find("tf1", shapes, ema=True)
        assert any(word in str(raised.value) for word in words), (words, raised.value)


def test_a_file_without_a_network_says_so():
    with pytest.raises(InputError, match="it has no network"):
        find("tf1", {"global_step": ()})


@pytest.mark.parametrize("key", ["base_model/conv2d_9/kernel/Momentum_3", "dense/kernel/Momentum"])
def test_what_training_left_is_only_passed_over_where_it_is_of_the_network(key):
    shapes = shapes_of("tf1", "r18_cifar") | {key: (3,)}
    with pytest.raises(InputError, match=f"unexpected {key}"):
        find("tf1", shapes)
