"""The architecture of a run: what a later stage makes of it, and how it is kept."""

import json

import pytest

from simclr_keras.errors import InputError
from simclr_keras.runs import architecture as architectures
from simclr_keras.runs.run_dir import RunDir
from tests.training.tiny import GROUPED, configure, make_config

WHOLE = architectures.of_pretraining(make_config("digits", "run", proj_layers=3, probe_layer=1), 3)


def test_a_pretrained_network_has_the_whole_head_and_a_probe_that_leaves_it_alone(tiny):
    model = architectures.build(WHOLE)
    assert model.projection_head.depth == 3
    assert (model.classifier.num_classes, model.head_layer, model.stop_gradient) == (3, 1, True)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_a_classifier_on_a_layer_drops_the_layers_above_it(tiny, layer):
    found = architectures.with_classifier(WHOLE, 5, layer)
    model = architectures.build(found)
    assert (model.projection_head.depth, model.head_layer) == (layer, layer)
    assert architectures.head_depth(found) == layer
    dense = {variable.path.split("/")[2] for variable in model.projection_head.variables}
    assert {name for name in dense if name.startswith("dense")} == {f"dense{j}" for j in range(1, layer + 1)}
    assert (model.classifier.num_classes, model.stop_gradient) == (5, False)


def test_a_head_that_is_kept_stays_whole_under_a_classifier_on_a_lower_layer(tiny):
    found = architectures.with_classifier(WHOLE, 5, 1, keep_head=True)
    model = architectures.build(found)
    assert (model.projection_head.depth, model.head_layer) == (3, 1)


@pytest.mark.parametrize(
    ("settings", "depth"),
    [
        ({}, 3),
        ({"proj_layers": 2}, 2),
        ({"proj_layers": 3, "kept_head_layers": 1}, 1),
        ({"proj_layers": 3, "kept_head_layers": 0}, 0),
        ({"proj_layers": 3, "proj_mode": "linear"}, 1),
        ({"proj_layers": 3, "proj_mode": "linear", "kept_head_layers": 0}, 0),
        ({"proj_layers": 3, "proj_mode": "none"}, 0),
        ({"proj_layers": 3, "proj_mode": "none", "kept_head_layers": None}, 0),
    ],
)
def test_the_depth_of_a_head_is_that_of_the_network(tiny, settings, depth):
    found = {"name": GROUPED, "image_size": 8, **settings}
    assert architectures.head_depth(found) == depth == architectures.build(found).projection_head.depth


def test_a_classifier_from_scratch_has_no_head(tiny):
    found = architectures.of_classifier(configure("supervised", "run", dataset="digits"), 7)
    model = architectures.build(found)
    assert (model.projection_head.depth, model.classifier.num_classes) == (0, 7)
    assert not model.stop_gradient
    assert "dense_layers" not in found


def test_a_keras_backbone_keeps_its_dense_layers():
    config = configure(
        "supervised", "run", dataset="digits", model="keras:VGG16", image_size=32, dense_layers="32,16"
    )
    assert architectures.of_classifier(config, 7)["dense_layers"] == (32, 16)


@pytest.mark.parametrize(
    "architecture",
    [
        WHOLE,
        architectures.with_classifier(WHOLE, 5, 1),
        architectures.of_classifier(
            configure(
                "supervised", "run", dataset="digits", model="keras:VGG16", image_size=32, dense_layers="32"
            ),
            7,
        ),
    ],
)
def test_what_is_written_is_read_back(tmp_path, architecture):
    run_dir = RunDir(tmp_path)
    architectures.write(run_dir, architecture)
    found = architectures.read(run_dir)
    assert found == json.loads(json.dumps(architecture))


def test_a_run_from_before_there_was_a_model_json_has_none(tmp_path):
    assert architectures.read(RunDir(tmp_path)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"proj_layers": "3"}, "proj_layers is '3'"),
        ({"num_classes": 2.5}, "num_classes is 2.5"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"name": None}, "name is None"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_model_json_of_another_hand_is_refused_in_one_line(tmp_path, change, words):
    architectures.write(RunDir(tmp_path), {**WHOLE, **change})
    with pytest.raises(InputError, match=rf"model.json is damaged \({words}") as refusal:
        architectures.read(RunDir(tmp_path))
    assert "\n" not in str(refusal.value)


def test_a_model_json_without_a_name_is_refused(tmp_path):
    architectures.write(RunDir(tmp_path), {"proj_layers": 2})
    with pytest.raises(InputError, match="it has no name or image_size"):
        architectures.read(RunDir(tmp_path))
