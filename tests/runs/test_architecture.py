"""The architecture of a run: what a later stage makes of it, and how it is kept."""

import dataclasses
import json

import pytest

from simclr_keras.errors import InputError
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.run_files import RunFiles
from tests.training.tiny import GROUPED, configure, make_config

WHOLE = Architecture.of_pretraining(make_config("digits", "run", proj_layers=3, probe_layer=1), 3)
OF_PYTORCH = dataclasses.replace(
    WHOLE, max_pool_padding="torch", pixel_mean=(0.4, 0.5, 0.6), pixel_std=(0.2, 0.3, 0.25)
)
BACKBONE = configure(
    "supervised", "run", dataset="digits", model="keras:VGG16", image_size=32, dense_layers="32,16"
)


def test_pretrained_network_has_the_whole_head_and_a_separate_probe(tiny):
    model = WHOLE.build()
    assert model.projection_head.depth == 3
    assert (model.classifier.num_classes, model.head_layer, model.stop_gradient) == (3, 1, True)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_classifier_on_a_layer_drops_the_layers_above_it(tiny, layer):
    architecture = WHOLE.with_classifier(5, layer)
    model = architecture.build()
    assert (model.projection_head.depth, model.head_layer) == (layer, layer)
    assert (architecture.head_depth, architecture.whole_head_depth) == (layer, 3)
    dense = {variable.path.split("/")[2] for variable in model.projection_head.variables}
    assert {name for name in dense if name.startswith("dense")} == {f"dense{j}" for j in range(1, layer + 1)}
    assert (model.classifier.num_classes, model.stop_gradient) == (5, False)


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
def test_head_depth_is_that_of_the_network(tiny, settings, depth):
    architecture = Architecture.from_json({"name": GROUPED, "image_size": 8, **settings})
    assert architecture.head_depth == depth == architecture.build().projection_head.depth


def test_network_that_starts_from_another_treats_images_alike():
    assert "pixel_mean" not in WHOLE.to_json()
    student = Architecture.of_classifier(configure("supervised", "run", dataset="digits"), 7)
    expected = {**student.to_json(), "max_pool_padding": "torch", "image_size": OF_PYTORCH.image_size}
    expected |= {"pixel_mean": (0.4, 0.5, 0.6), "pixel_std": (0.2, 0.3, 0.25)}
    assert student.with_stem_of(OF_PYTORCH).to_json() == expected


def test_classifier_from_scratch_has_no_head(tiny):
    architecture = Architecture.of_classifier(configure("supervised", "run", dataset="digits"), 7)
    model = architecture.build()
    assert (model.projection_head.depth, model.classifier.num_classes) == (0, 7)
    assert not model.stop_gradient
    assert "dense_layers" not in architecture.to_json()


def test_keras_backbone_keeps_its_dense_layers():
    assert Architecture.of_classifier(BACKBONE, 7).dense_layers == (32, 16)


@pytest.mark.parametrize(
    "architecture", [WHOLE, OF_PYTORCH, WHOLE.with_classifier(5, 1), Architecture.of_classifier(BACKBONE, 7)]
)
def test_architecture_is_read_as_written(tmp_path, architecture):
    run = RunFiles(tmp_path)
    assert run.read_architecture() is None
    run.write_architecture(architecture)
    assert run.read_architecture() == architecture


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"proj_layers": "3"}, "proj_layers is '3'"),
        ({"num_classes": 2.5}, "num_classes is 2.5"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"name": None}, "name is None"),
        ({"head_layer": 4}, "head_layer is 4, of 3 layers"),
        ({"pixel_std": [0, 1, 1]}, r"pixel_std is \[0, 1, 1\]"),
        ({"pixel_mean": [0, 0, 0]}, "it has only one of pixel_mean and pixel_std"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_damaged_architecture_is_one_line(tmp_path, change, words):
    (tmp_path / "model.json").write_text(
        json.dumps({**dataclasses.asdict(WHOLE), "dense_layers": [1]} | change)
    )
    with pytest.raises(InputError, match=rf"model.json is damaged \({words}") as refusal:
        RunFiles(tmp_path).read_architecture()
    assert "\n" not in str(refusal.value)


def test_architecture_without_a_name_is_refused(tmp_path):
    (tmp_path / "model.json").write_text('{"proj_layers": 2}')
    with pytest.raises(InputError, match="it has no name or image_size"):
        RunFiles(tmp_path).read_architecture()
