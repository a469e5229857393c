"""Published weights, in each of their formats, compute through our networks what the release computes."""

import numpy as np
import pytest

from simclr_keras import load_published
from simclr_keras.errors import InputError
from simclr_keras.interop.published import open_published
from simclr_keras.models.batch_norm import BatchNormalization
from simclr_keras.models.zoo import create_model
from tests.interop.release_files import (
    CASES,
    golden_weights,
    names_of,
    saved_names,
    tf1_tree,
    weights_of,
    write_checkpoint,
    write_saved_model,
    write_tf2_checkpoint,
)

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

ENDPOINTS = {"final_avg_pool": "final_avg_pool", "proj_head_3": "proj_head_output", "logits": "logits_sup"}
TINY = "r18_0.125x_sk0"
TOLERANCE = 2e-5  # of float32 against float64, tests/golden/README.md


def check_outputs(model, case, golden):
    data = golden(f"forward_{case}.npz")
    found = model(data["input"].astype(np.float32), training=False)
    for ours, released in ENDPOINTS.items():
        assert np.abs(found[ours].numpy() - data[f"f64/eval/{released}"]).max() < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_a_tf1_checkpoint_gives_the_golden_outputs(case, golden, tmp_path):
    weights = golden_weights(case)
    other = {name: value + 1 for name, value in weights.items()}
    path = tmp_path / "pretrained" / CASES[case] / "model.ckpt-250228"
    write_checkpoint(path, tf1_tree(weights, ema=other))
    check_outputs(load_published(path, CASES[case]), case, golden)


def test_the_moving_average_of_a_tf1_checkpoint_is_taken_when_asked_for(golden, tmp_path):
    weights = golden_weights("r18_cifar")
    other = {name: value + 1 for name, value in weights.items()}
    path = write_checkpoint(tmp_path / "model.ckpt-7", tf1_tree(other, ema=weights))
    check_outputs(load_published(path, "r18_1x_sk0", ema=True, head_layer=0), "r18_cifar", golden)


def test_a_moving_average_without_a_classifier_gives_a_model_without_one(tmp_path):
    weights = golden_weights("r18_cifar")
    average = {name: value for name, value in weights.items() if "supervised" not in name}
    path = write_checkpoint(tmp_path / "model.ckpt-7", tf1_tree(weights, ema=average))
    assert load_published(path, "r18_1x_sk0", ema=True).classifier is None


@pytest.mark.parametrize("case", ["r18_cifar", "r50_1x"])
def test_a_tf2_training_checkpoint_gives_the_golden_outputs(case, golden, tmp_path):
    path = write_tf2_checkpoint(tmp_path / "ckpt-7", case, momentum=case == "r18_cifar")
    check_outputs(load_published(path, CASES[case], head_layer=0), case, golden)


@pytest.mark.parametrize("case", ["r18_cifar", "r50_1x_sk"])
def test_a_saved_model_gives_the_golden_outputs(case, golden, tmp_path):
    names = saved_names(golden_weights(case), start=17, plain=case == "r18_cifar")
    write_saved_model(tmp_path / "supervised" / "saved_model", names)
    check_outputs(load_published(tmp_path / "supervised", f"supervised/{CASES[case]}"), case, golden)


def test_the_momentum_and_epsilon_of_batch_normalization_are_those_of_the_release(tiny_file):
    model = load_published(tiny_file, head_layer=0)
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNormalization)]
    assert len(layers) > 20
    assert {(layer.momentum, layer.epsilon) for layer in layers} == {(0.9, 1e-5)}


def test_every_key_of_a_file_is_accounted_for(tmp_path):
    weights = names_of("r18_cifar")
    tree = tf1_tree(golden_weights("r18_cifar"), ema=golden_weights("r18_cifar"))
    network = open_published(
        write_checkpoint(tmp_path / "model.ckpt-751", tree), "supervised/r18_1x_sk0"
    ).network
    assert len(network.keys) == len(weights)
    assert {*network.keys.values()} | {*network.skipped} == {*tree}
    assert network.skipped["memory_ptr"] == "training"
    assert network.skipped["base_model/conv2d/kernel/Momentum"] == "optimizer"
    assert network.skipped["ema_model/base_model/conv2d/kernel"] == "moving average"


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"name": "r50_0.125x_sk1", "image_size": 64}, (1, 64, 64, 3)),
        ({"name": "r34_0.125x_sk0", "proj_layers": 2, "proj_dim": 24}, (1, 32, 32, 3)),
        ({"name": "r50_0.125x_sk0", "proj_mode": "none", "num_classes": 5}, (1, 32, 32, 3)),
        ({"name": "r18_0.125x_sk0", "proj_mode": "linear", "proj_dim": 24, "image_size": 16}, (1, 16, 16, 3)),
        ({"name": "r18_0.125x_sk0", "image_size": 16, "proj_layers": 1, "num_classes": 5}, (1, 16, 16, 3)),
        (
            {"name": "r50_0.25x_sk1", "se_ratio": 0.25, "image_size": 16},
            (1, 16, 16, 3),
        ),
        ({"name": "r18_0.25x_sk1", "se_ratio": 0.0625}, (1, 32, 32, 3)),
    ],
)
def test_other_stems_heads_and_gates(arguments, shape, tmp_path):
    model = create_model(**arguments)
    for variable in model.variables:
        variable.assign(np.random.default_rng(len(variable.path)).uniform(0.5, 1, variable.shape))
    path = write_checkpoint(tmp_path / "model.ckpt-1", weights_of(model))
    images = np.random.default_rng(1).uniform(0, 1, shape).astype(np.float32)
    found, expected = load_published(path, arguments["name"])(images), model(images)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    """A TF1 checkpoint of a tiny network."""
    model = create_model("r18_0.125x_sk0", num_classes=10, image_size=8)
    return write_checkpoint(tmp_path_factory.mktemp("published") / TINY / "model.ckpt-9", weights_of(model))


def copied(tiny_file, folder, *words):
    """The file in a folder that is named so."""
    target = folder.joinpath(*words)
    target.mkdir(parents=True)
    for file in tiny_file.parent.glob("model.ckpt-9.*"):
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize(
    ("category", "layer"),
    [
        ("pretrained", 0),
        ("finetuned_1pct", 1),
        ("finetuned_10pct", 1),
        ("finetuned_100pct", 0),
        ("supervised", 0),
        ("distill_1pct", 0),
    ],
)
def test_the_path_or_the_name_tells_what_the_classifier_sits_on(category, layer, tiny_file, tmp_path):
    by_path = load_published(copied(tiny_file, tmp_path, category, TINY))
    assert (by_path.head_layer, by_path.stop_gradient) == (layer, category == "pretrained")
    assert load_published(tiny_file, category).head_layer == layer
    assert load_published(tiny_file, f"{category}/{TINY}").head_layer == layer


def test_the_width_of_the_classifier_tells_it_where_only_one_layer_is_as_wide(tmp_path):
    model = create_model("r18_0.125x_sk0", num_classes=3, image_size=8, proj_layers=1, proj_dim=24)
    path = write_checkpoint(tmp_path / "model.ckpt-751", weights_of(model))
    assert load_published(path, TINY).head_layer == 0


def test_a_path_without_a_name_needs_one(tiny_file, tmp_path):
    folder = copied(tiny_file, tmp_path, "supervised", "mine")
    with pytest.raises(InputError, match=r"no model name in its path; give .* \(--name, name=\)") as raised:
        load_published(folder)
    assert "\n" not in str(raised.value)
    assert load_published(folder, f"supervised/{TINY}").head_layer == 0
    with pytest.raises(InputError, match="may sit on layer 0, 1 or 2"):
        load_published(folder, TINY)  # "supervised" is not the folder of the model


def test_where_nothing_tells_it_is_asked_for(tiny_file):
    with pytest.raises(
        InputError, match=r"layer 0, 1 or 2 of the projection head.*give head_layer=1"
    ) as raised:
        load_published(tiny_file)
    assert "\n" not in str(raised.value)
    assert load_published(tiny_file, head_layer=2).head_layer == 2


def test_arguments_that_do_not_suit_the_file_are_refused(tiny_file):
    for arguments, message in [
        ({"head_layer": 4}, "head_layer=4 is beyond the projection head.*layers 0 to 3"),
        ({"head_layer": -1}, "head_layer=-1 is beyond the projection head"),
        ({"head_layer": 3}, "head_layer=3 is 128 wide.*takes 64.*head_layer=0, 1 or 2"),
        ({"head_layer": 0, "name": "r50_1x_sk0"}, "does not fit r50_1x_sk0: "),
        ({"head_layer": 0, "name": "resnet50"}, "Unknown model"),
        ({"head_layer": 0, "name": "tuned/r18_0.125x_sk0"}, "'tuned' is none of pretrained"),
        ({"head_layer": 0, "ema": True}, "no moving average"),
    ]:
        with pytest.raises(InputError, match=message):
            load_published(tiny_file, **arguments)


def test_a_layer_is_refused_where_there_is_no_classifier(tmp_path):
    model = create_model("r18_0.125x_sk0", image_size=8)
    path = write_checkpoint(tmp_path / "model.ckpt-9", weights_of(model))
    with pytest.raises(InputError, match="has no classifier; leave head_layer out"):
        load_published(path, TINY, head_layer=1)
