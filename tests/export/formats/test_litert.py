"""LiteRT files, float and int8, give what their network gives, and are gone where they do not."""

import sys
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.export.formats import comparison, litert
from simclr_keras.export.formats.litert import write_litert
from tests.export.networks import CLASSES, SIZE, assert_close, images, make_network, outputs_of, quiet

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

VECTORS = ["final_avg_pool", "logits", "proj_head_0", "proj_head_1", "proj_head_2", "proj_head_3"]


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("litert") / "model.tflite"
    return path, write_litert(network, path, image_size=SIZE, class_names=CLASSES)


@pytest.fixture(scope="module")
def written_int8(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("litert") / "model_int8.tflite"
    with quiet(path.parent / "screen.txt"):
        return path, write_litert(network, path, image_size=SIZE, representative=images(32))


def run(path, batch):
    return Interpreter(model_path=str(path)).get_signature_runner("serving_default")(images=batch)


def test_any_batch_gives_the_vectors_of_the_network(written, written_int8, network):
    for count in (1, 5):
        expected = outputs_of(network, images(count))
        outputs, outputs_int8 = run(written[0], images(count)), run(written_int8[0], images(count))
        assert sorted(outputs_int8) == VECTORS
        assert sorted(outputs) == sorted([*VECTORS, "probabilities"])
        assert_close(outputs["probabilities"], expected["probabilities"], 1e-4)
        for name in VECTORS:
            assert_close(outputs[name], expected[name], 1e-4)
            assert outputs_int8[name].dtype == np.float32
            a, b = outputs_int8[name].ravel(), expected[name].ravel()
            assert a @ b >= 0.98 * np.linalg.norm(a) * np.linalg.norm(b)


def test_endpoints_choose_the_outputs(network, tmp_path):
    """Of int8 too, which has logits in place of probabilities."""
    for representative, expected in ((None, ["probabilities"]), (images(16), ["logits"])):
        path = tmp_path / "model.tflite"
        settings = {"endpoints": ("probabilities",), "representative": representative}
        write_litert(network, path, image_size=SIZE, **settings)
        assert [*run(path, images(1))] == expected


def test_class_names_are_packed_into_the_file(written):
    with zipfile.ZipFile(written[0]) as archive:
        assert archive.read("class_names.txt").decode() == "ant\nbee\ncat\n"


def test_weights_are_stored_once_and_int8_takes_a_quarter(written, written_int8, network):
    assert written[0].stat().st_size <= 1.05 * 4 * network.count_params() + 2**16
    # tables of scales, one for every channel, weigh some in a network of few parameters
    assert written_int8[0].stat().st_size <= 1.05 * network.count_params() + 2**16


def test_what_the_card_is_told(written, written_int8):
    shape = {"name": "images", "dtype": "float32", "shape": [None, SIZE, SIZE, 3], "range": [0, 1]}
    found = dict(written[1])
    assert found.pop("difference") <= 1e-4
    assert found == {
        "file": "model.tflite",
        "tolerance": 1e-3,
        "images": 4,
        "quantization": None,
        "input": shape,
    }
    found = dict(written_int8[1])
    assert 0 < found.pop("difference") <= 0.02
    assert 0 < found.pop("similarity_about_mean") <= 1
    assert found.pop("same_class") >= 0.8
    assert found == {
        "file": "model_int8.tflite",
        "tolerance": 0.02,
        "images": 32,
        "measure": "1 - mean cosine similarity with the network's vectors, on the representative images",
        "integer_only": True,
        "quantization": "int8 inside, float32 input and outputs",
        "input": shape,
    }


@pytest.mark.parametrize(
    ("name", "arguments", "representative"),
    [
        ("r50_0.125x_sk1", {"head_layer": 1, "se_ratio": 0.25}, 16),
        ("r50_0.125x_sk1", {"num_classes": None, "image_size": 40}, None),
        ("keras:MobileNet", {"image_size": 32, "dense_layers": (8,)}, 16),
    ],
)
def test_networks_of_all_kinds_are_written(name, arguments, representative, tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "LEAST_ABOUT_MEAN", -1)  # untrained, they hardly tell noise from noise
    size = arguments.get("image_size", SIZE)
    model = make_network(name, **arguments)
    model(images(8, size, size), training=True)
    representative = representative and images(representative, size, size)
    found = write_litert(model, tmp_path / "model.tflite", image_size=size, representative=representative)
    assert found["difference"] <= found["tolerance"]
    assert found.get("integer_only", True)
    assert ("logits" in run(tmp_path / "model.tflite", images(2, size, size))) == (
        model.classifier is not None
    )


def test_unusable_representative_images_are_refused(network, tmp_path):
    for representative, message in (
        (images(15), "int8 needs 16 representative images or more, better 100. Received: 15"),
        (images(16, 8, 8), r"float \[n, 16, 16, 3\] in \[0, 1\]. Received: float32 \[16, 8, 8, 3\]"),
        (np.zeros((16, SIZE, SIZE, 3), np.uint8), r"Received: uint8 \[16, 16, 16, 3\]"),
        (images(16) * 255, "divide 8-bit ones by 255. Received: 0.0"),
        (np.zeros((16, SIZE, SIZE, 3), np.float32), "are all the same; give images as in the app"),
        (images(16) * np.nan, "must have their pixels in .* Received: nan to nan"),
    ):
        with pytest.raises(InputError, match=message):
            write_litert(network, tmp_path / "model.tflite", image_size=SIZE, representative=representative)


def worse(monkeypatch, factor):
    """Makes the next file one of a network whose last block group is another."""
    convert = litert._converted

    def convert_worse(model, *arguments):
        kernels = [v for v in model.encoder.block_group4.variables if v.path.endswith("kernel")]
        before = [kernel.numpy() for kernel in kernels]
        for kernel, values in zip(kernels, before):
            kernel.assign(values * factor)
        try:
            return convert(model, *arguments)
        finally:
            for kernel, values in zip(kernels, before):
                kernel.assign(values)

    monkeypatch.setattr(litert, "_converted", convert_worse)


def test_a_file_with_other_weights_is_refused_and_gone(network, tmp_path, monkeypatch):
    worse(monkeypatch, 1.01)
    with pytest.raises(
        TrainingError, match=r"^model.tflite: \w+ of \d images .* more than 1e-03; it was not written.$"
    ):
        write_litert(network, tmp_path / "model.tflite", image_size=SIZE)
    assert not list(tmp_path.iterdir())


def test_an_int8_file_of_unlike_vectors_is_refused_and_gone(network, tmp_path, monkeypatch):
    worse(monkeypatch, -1)
    message = (
        r"^model.tflite: \w+ is only .* similar to the network's, not 0.98; give more representative images"
    )
    with pytest.raises(TrainingError, match=message):
        write_litert(network, tmp_path / "model.tflite", image_size=SIZE, representative=images(16))
    assert not list(tmp_path.iterdir())


def test_an_int8_file_that_tells_no_images_apart_is_refused():
    vectors = {"final_avg_pool": np.ones((4, 4)) + 0.05 * np.eye(4)}
    alike = {"final_avg_pool": np.ones((4, 4)) + 0.05 * np.roll(np.eye(4), 1, axis=1)}
    assert litert.compare_int8(vectors, vectors, "model.tflite")["similarity_about_mean"] == 1
    with pytest.raises(
        TrainingError, match=r"^model.tflite: without their mean, vectors are only -0.33 similar .* not 0.8"
    ):
        litert.compare_int8(vectors, alike, "model.tflite")


def test_an_int8_file_of_other_classes_is_refused(monkeypatch):
    monkeypatch.setattr(litert, "LEAST_ABOUT_MEAN", -1)
    logits = {"logits": 1 + 0.01 * np.eye(4, dtype=np.float32)}
    other = {"logits": np.roll(logits["logits"], 1, axis=1)}
    assert litert.compare_int8(logits, logits, "model.tflite")["same_class"] == 1
    with pytest.raises(
        TrainingError, match=r"^model.tflite: 0% of the images keep their class, less than 80%; give"
    ):
        litert.compare_int8(logits, other, "model.tflite")


def test_vectors_of_zeros_or_of_no_numbers_are_like_nothing_but_zeros():
    for vectors in (np.zeros((4, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(TrainingError, match=r"final_avg_pool is only 0.000 similar"):
            litert.compare_int8({"final_avg_pool": np.eye(4)}, {"final_avg_pool": vectors}, "model.tflite")
    zeros = {"final_avg_pool": np.zeros((4, 4))}
    assert litert.compare_int8(zeros, zeros, "model.tflite")["difference"] == 0


def test_a_missing_package_is_named_with_its_extra(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(InputError, match=r"^ai-edge-litert is missing .*simclr_keras\[litert\]"):
        write_litert(network, tmp_path / "model.tflite", image_size=SIZE)


def test_weights_beyond_what_a_file_holds_are_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "MAX_BYTES", 4 * network.count_params() - 1)
    with pytest.raises(InputError, match="--format=litert: a file stores less than 2 GB"):
        write_litert(network, tmp_path / "model.tflite", image_size=SIZE)
