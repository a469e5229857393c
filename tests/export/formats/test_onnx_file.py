"""An ONNX file gives what its network gives, in onnxruntime, and is gone where it does not."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from keras.src.applications import convnext

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.export.formats import comparison, onnx_file
from simclr_keras.export.formats.onnx_file import write_onnx
from tests.export.networks import CLASSES, SIZE, assert_close, images, make_network, outputs_of, quiet

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

VECTORS = ["final_avg_pool", "logits", "probabilities", *(f"proj_head_{layer}" for layer in range(4))]


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    with quiet(path.parent / "screen.txt"):
        return path, write_onnx(network, path, image_size=SIZE, class_names=CLASSES)


def run(path, batch):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": batch})))


def test_any_batch_and_any_size_give_the_vectors_of_the_network(written, network):
    for shape in ((1, SIZE, SIZE), (5, SIZE, SIZE), (2, 21, 14)):
        outputs, expected = run(written[0], images(*shape)), outputs_of(network, images(*shape))
        assert sorted(outputs) == VECTORS
        for name in VECTORS:
            assert_close(outputs[name], expected[name], 1e-4)


def test_endpoints_choose_the_outputs(network, tmp_path):
    write_onnx(network, tmp_path / "model.onnx", image_size=SIZE, endpoints=("logits",))
    assert [*run(tmp_path / "model.onnx", images(2))] == ["logits"]


def test_the_model_is_valid_onnx_and_names_its_sizes(written):
    model = onnx.load(written[0])
    onnx.checker.check_model(model, full_check=True)
    sizes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert [value.name for value in model.graph.input] == ["images"]
    assert sizes == ["batch", "height", "width", 3]
    assert {v.type.tensor_type.shape.dim[0].dim_param for v in model.graph.output} == {"batch"}


def test_no_padding_stands_before_an_average_pool_and_nothing_is_left_of_it(tmp_path):
    model = make_network("r50_0.125x_sk1", proj_mode="none")
    write_onnx(model, tmp_path / "model.onnx", image_size=SIZE)
    graph = onnx.load(tmp_path / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert "AveragePool" in kinds
    assert "Pad" not in kinds
    assert {tensor.name for tensor in graph.initializer} <= {
        name for node in graph.node for name in node.input
    }


def test_class_names_are_in_the_metadata(written):
    metadata = onnxruntime.InferenceSession(str(written[0])).get_modelmeta().custom_metadata_map
    assert metadata["class_names"].splitlines() == ["ant", "bee", "cat"]


def test_weights_are_stored_once(written, network):
    stored = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(written[0]).graph.initializer]
    assert sum(array.size for array in stored) <= 1.01 * network.count_params()


def test_what_the_card_is_told(written):
    found = dict(written[1])
    assert found.pop("difference") <= 1e-4
    shape = {"name": "images", "dtype": "float32", "shape": [None, None, None, 3], "range": [0, 1]}
    assert found == {"file": "model.onnx", "tolerance": 1e-3, "images": 6, "opset": 15, "input": shape}


def test_a_keras_backbone_takes_its_own_size_and_any_batch(tmp_path):
    model = make_network("keras:MobileNet", image_size=32, dense_layers=(8,))
    found = write_onnx(model, tmp_path / "model.onnx", image_size=32)
    assert found["input"]["shape"] == [None, 32, 32, 3]
    batch = images(3, 32, 32)
    assert_close(run(tmp_path / "model.onnx", batch)["logits"], outputs_of(model, batch)["logits"], 1e-4)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("r50_0.125x_sk1", {"head_layer": 1}),
        ("r50_0.125x_sk1", {"num_classes": None, "image_size": 40}),
        ("r18_0.125x_sk0", {"se_ratio": 0.25, "image_size": 40}),
        ("keras:EfficientNetB0", {"image_size": 32, "dense_layers": ()}),
    ],
)
def test_networks_of_all_kinds_are_written(name, arguments, tmp_path):
    model = make_network(name, **arguments)
    model(images(8, *[arguments.get("image_size", SIZE)] * 2), training=True)
    found = write_onnx(model, tmp_path / "model.onnx", image_size=arguments.get("image_size", SIZE))
    assert found["difference"] <= 1e-4


def test_a_file_with_another_weight_is_refused_and_gone(network, tmp_path, monkeypatch):
    convert = onnx_file._converted

    def convert_worse(*arguments):
        model = onnx.load_from_string(convert(*arguments))
        kernel = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        values = onnx.numpy_helper.to_array(kernel) * np.float32(1.01)
        kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
        return model.SerializeToString()

    monkeypatch.setattr(onnx_file, "_converted", convert_worse)
    with pytest.raises(
        TrainingError, match=r"^model.onnx: \w+ of \d images .* more than 1e-03; it was not written.$"
    ):
        write_onnx(network, tmp_path / "model.onnx", image_size=SIZE)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_converted_is_said_in_one_line(network, tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("no such\nthing")

    monkeypatch.setattr(onnx_file, "_converted", fail)
    with pytest.raises(TrainingError, match=r"^model.onnx: this network cannot be converted: no such thing$"):
        write_onnx(network, tmp_path / "model.onnx", image_size=SIZE)


def test_a_missing_package_is_named_with_its_extra(network, tmp_path):
    for package in ("tf2onnx", "onnx", "onnxruntime"):
        message = rf"^{package} is missing .*simclr_keras\[onnx\]"
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(InputError, match=message):
                write_onnx(network, tmp_path / "model.onnx", image_size=SIZE)


def test_weights_beyond_what_a_file_holds_are_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "MAX_BYTES", 4 * network.count_params() - 1)
    with pytest.raises(InputError, match="--format=onnx: a file stores less than 2 GB"):
        write_onnx(network, tmp_path / "model.onnx", image_size=SIZE)


def test_a_network_that_the_converter_does_not_know_is_refused_in_one_line(tmp_path, monkeypatch):
    small = {"depths": [1, 1, 1, 1], "projection_dims": [8, 16, 32, 64]}
    monkeypatch.setitem(convnext.MODEL_CONFIGS, "tiny", convnext.MODEL_CONFIGS["tiny"] | small)
    model = make_network("keras:ConvNeXtTiny", image_size=32, dense_layers=())
    with pytest.raises(
        TrainingError, match=r"does not support all operations of this network .*; use another format"
    ):
        write_onnx(model, tmp_path / "model.onnx", image_size=32)
    assert not list(tmp_path.iterdir())
