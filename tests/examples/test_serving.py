"""examples/serving.py, against a small server with the REST API of TensorFlow Serving."""

import json
import os
import shlex

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import preprocess
from simclr_keras.export.formats.saved_model import write_saved_model
from simclr_keras.models.zoo import create_model
from tests.data.pictures import jpeg, png
from tests.examples.scripts import load
from tests.examples.served import serving

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

serving_example = load("serving")
SIZE, CLASSES = 12, ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def network():
    model = create_model("r18_0.125x_sk0", num_classes=3, image_size=SIZE)
    random = np.random.default_rng(0)
    for variable in model.classifier.variables:
        variable.assign(random.normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def export(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exports") / "Käfer und in sects"
    write_saved_model(network, str(path), image_size=SIZE, class_names=CLASSES, decode_images=True)
    (path / "card.json").write_text(json.dumps({"image_size": SIZE, "class_names": CLASSES}))
    return path


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def photos(tmp_path):
    png(tmp_path / "a.png", 1, size=(30, 40))
    jpeg(tmp_path / "b.jpg", 2)
    return [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]


def expected(network, paths, endpoint="logits"):
    views = [preprocess.evaluation_view(preprocess.decode(tf.io.read_file(path)), SIZE) for path in paths]
    return network(np.stack(views), training=False)[endpoint].numpy()


@pytest.mark.parametrize("how", [[], ["--floats"]])
def test_files_and_numbers_get_the_network_s_classes(network, export, photos, capsys, how):
    with serving(export, "K_fer_und_in_sects") as (url, bodies):
        serving_example.main(["serving", f"--export={export}", f"--server={url}", *photos, *how])
    logits = expected(network, photos)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert capsys.readouterr().out.splitlines() == [
        f"{path}  {CLASSES[share.argmax()]} {share.max():.1%}" for path, share in zip(photos, shares)
    ]
    (body,) = bodies
    assert body["signature_name"] == ("logits" if how else "logits_from_bytes")
    assert [*body["instances"][0]] == ["b64"] if not how else len(body["instances"][0]) == SIZE


def test_any_endpoint_s_numbers(network, export, photos):
    with serving(export, "K_fer_und_in_sects") as (url, _):
        body = serving_example.request_body(photos, "encoder_from_bytes")
        predictions = serving_example.ask(url, "K_fer_und_in_sects", body)
    np.testing.assert_allclose(predictions, expected(network, photos, "final_avg_pool"), rtol=1e-4, atol=1e-6)


def test_numbers_that_are_no_logits_are_shown_as_they_are(export, photos, capsys):
    with serving(export, "K_fer_und_in_sects") as (url, _):
        serving_example.main(
            ["serving", f"--export={export}", f"--server={url}", "--endpoint=encoder", photos[0]]
        )
    assert capsys.readouterr().out.endswith(" ...\n")


def test_the_server_s_own_words_are_passed_on(export, photos):
    with serving(export, "K_fer_und_in_sects") as (url, _), pytest.raises(SystemExit) as stop:
        serving_example.main(["serving", f"--export={export}", f"--server={url}", "--endpoint=x", photos[0]])
    assert "answers 400" in str(stop.value)
    assert "'x_from_bytes' not found" in str(stop.value)


def test_no_server_and_no_export_are_one_line(export, photos, tmp_path):
    for words, said in (
        ([f"--export={export}", "--server=http://127.0.0.1:9"], "no answer from http://127.0.0.1:9"),
        ([f"--export={tmp_path}"], "card.json cannot be read"),
    ):
        with pytest.raises(SystemExit) as stop:
            serving_example.main(["serving", *words, photos[0]])
        assert said in str(stop.value)
        assert "\n" not in str(stop.value)


def test_the_command_mounts_the_export_as_version_1_of_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    serving_example.main(["serving", "--export=my exports/flowers/", "--show_command"])
    words = shlex.split(capsys.readouterr().out)
    assert words[:5] == ["docker", "run", "--rm", "-p", "8501:8501"]
    mount = dict(part.partition("=")[::2] for part in words[words.index("--mount") + 1].split(","))
    assert mount["source"] == os.path.join(tmp_path, "my exports/flowers")
    assert mount["target"] == "/models/flowers/1"
    assert words[-3:] == ["-e", "MODEL_NAME=flowers", "tensorflow/serving"]
