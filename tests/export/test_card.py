"""The card says what the network is, and nothing that it is not."""

import ast
import json
import re

import pytest

from simclr_keras.export.card import as_json, make_card
from simclr_keras.export.readme import as_text
from tests.export.networks import make_network

ABOUT = {
    "architecture": {"name": "r18_0.125x_sk0", "num_classes": 3, "proj_dim": 8, "image_size": 16},
    "image_size": 16,
    "antialias": False,
    "class_names": ["ant", "bee", "cat"],
    "stage": "finetune",
    "run": "runs/x",
    "checkpoint": "last",
    "step": 7,
    "results": {"top1": 0.5, "top1_interval": [0.4, 0.6], "evaluation_images": 1000, "finished": True},
    "training": {"dataset": "digits", "epochs": 3},
    "history": [{"epoch": 1, "loss": 2.0}],
    "ancestors": [{"run": "runs/w", "mode": "pretrain", "model": "r18_0.125x_sk0", "dataset": "digits"}],
    "license": None,
}
ENDPOINTS = {"encoder": ("final_avg_pool", [None, 64]), "logits": ("logits", [None, 3])}
FILE = {"difference": 1e-7, "images": 2, "tolerance": 1e-5}
FILES = [
    {"format": "saved_model", "file": "saved_model.pb", "decode_images": False, **FILE},
    {"format": "keras", "file": "model.keras", **FILE},
    {"format": "litert", "file": "model.tflite", **FILE},
    {"format": "onnx", "file": "model.onnx", **FILE},
]


@pytest.fixture(scope="module")
def network():
    return make_network()


def card(network, **about):
    return make_card(network, {**ABOUT, **about}, ENDPOINTS, FILES)


def test_what_goes_into_json_comes_out_of_it(network):
    made = card(network)
    assert json.loads(as_json(made)) == made


def test_parameters_are_counted_as_keras_counts_them(network):
    assert card(network)["parameters"] == sum(int(v.numpy().size) for v in network.variables)


@pytest.mark.parametrize(
    ("size", "proportion", "words"), [(32, None, "whole image"), (33, 0.875, "central 87.5%")]
)
def test_evaluation_crops_large_images_alone(network, size, proportion, words):
    made = card(network, image_size=size)
    assert made["preprocessing"]["crop_proportion"] == proportion
    assert words in as_text(made, "x")


def test_settings_are_those_that_count(network):
    training = {"dataset": "digits", "epochs": 800, "train_steps": None, "memory": "none", "memory_size": 64}
    training |= {"batch_size": 8, "microbatch_size": 0}
    assert "- settings: dataset digits, epochs 800, batch_size 8\n" in as_text(
        card(network, training=training), "x"
    )
    training |= {"train_steps": 75, "memory": "queue", "microbatch_size": 4}
    text = as_text(card(network, training=training, results={"step": 75}), "x")
    named = "dataset digits, steps 75, batch_size 8, microbatch_size 4, memory queue, memory_size 64"
    assert f"- settings: {named}\n" in text


def test_the_text_tells_results_ancestors_files_and_classes(network):
    text = as_text(card(network), "exports")
    for words in (
        "# r18_0.125x_sk0, finetune",
        "    0  ant\n    1  bee\n    2  cat\n",
        "on 1,000 images: top1 50.0%, 95 % confidence interval of top1 40.0% to 60.0%",
        "earlier run: pretrain of r18_0.125x_sk0 on digits",
        "`model.onnx`: within 1e-07 of the network on 2 images, tolerance 1e-05",
        "| `encoder` | `final_avg_pool` | [n, 64] |",
        'tf.saved_model.load("exports")',
        "Interpreter(",
        "onnxruntime.InferenceSession",
        "load_model",
        "`model.optimizer.build(model.trainable_variables)`",
        "Not stated",
    ):
        assert words in text


def test_a_probe_is_called_one(network):
    model = make_network(stop_gradient=True)
    made = make_card(model, ABOUT, ENDPOINTS, FILES)
    assert made["endpoints"]["logits"]["stop_gradient"] is True
    assert "add your own layer to `encoder`." in as_text(made, "x")
    assert "The probe was trained on the features of the trained network" in as_text(
        {**made, "ema": True}, "x"
    )
    assert "online probe" not in as_text(card(network), "x")


@pytest.mark.parametrize("folder", ["e", "ü ñ'x", 'a"b', "back\\slash"])
def test_every_block_of_code_is_python_whatever_the_folder_is_called(network, folder):
    blocks = re.findall(r"```python\n(.*?)```", as_text(card(network), folder), re.DOTALL)
    *blocks, prepare = blocks
    assert ast.parse(prepare)
    assert len(blocks) == 4
    for block in blocks:
        strings = [node.value for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant)]
        assert any(str(value).split("/model.")[0] == folder for value in strings)


def test_best_weights_are_told_from_the_last(network):
    assert "weights of step 7, with best_top1" in as_text(card(network, checkpoint="best"), "x")
    assert "best_top1" not in as_text(card(network), "x")
    averaged = make_card(network, {**ABOUT, "ema": True}, ENDPOINTS, FILES)
    assert averaged["results_of_ema"] is False
    text = as_text(averaged, "x")
    assert (
        text.index("those of the momentum network")
        < text.index("results below")
        < text.index("- on 1,000 im")
    )
    assert "momentum network" not in as_text(card(network), "x")
    assert "results_of_ema" not in card(network)


def test_precision_of_the_figures_and_warnings_are_in_the_text(network):
    results = {
        "top1": 0.5,
        "evaluation_images": 24,
        "precision": "bfloat16",
        "warnings": ["runs/a was trained"],
    }
    text = as_text(card(network, results=results), "x")
    assert "- on 24 images, measured in bfloat16 (exports compute in float32): top1 50.0%\n" in text
    assert "- warning: runs/a was trained\n" in text
    assert "on 24 images: top1" in as_text(card(network, results={**results, "precision": "float32"}), "x")


def test_published_figures_are_called_so(network):
    results = {
        "imported": True,
        "imported_from": "a/b/model.ckpt-1",
        "published_top1": 0.579,
        "published_in": "Table 1",
    }
    text = as_text(card(network, results=results), "x")
    assert "trained elsewhere, imported from a/b/model.ckpt-1" in text
    assert "published top1 57.9% (Table 1), not measured here" in text


def test_all_class_names_are_in_the_text(network):
    text = as_text(card(network, class_names=[f"class {i}" for i in range(1000)]), "x")
    assert "The 1000 classes, in the order of the logits" in text
    assert all(f"    {i}  class {i}\n" in text for i in range(1000))
