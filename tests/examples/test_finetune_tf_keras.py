"""examples/finetune_tf_keras.py learns through hub.KerasLayer, without this package, and says what is wrong."""

import pathlib

import numpy as np
import pytest

from tests.examples import scripts
from tests.examples.small_export import SIZE, write_export, write_pictures

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


@pytest.fixture(scope="module")
def example():
    pytest.importorskip("tf_keras")
    pytest.importorskip("tensorflow_hub")
    return scripts.load("finetune_tf_keras")


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "small"
    write_export(folder)
    return folder


def run(example, *words):
    example.main(["finetune_tf_keras.py", *map(str, words)])


def test_it_learns_folders_of_pictures_and_saves_the_model(example, export, tmp_path, capsys):
    import tensorflow_hub as hub
    import tf_keras

    write_pictures(tmp_path / "pictures")
    file = tmp_path / "model.keras"
    run(example, f"--export={export}", f"--images={tmp_path}/pictures", "--epochs=25", f"--save={file}")
    out = capsys.readouterr().out
    assert "r18_0.125x_sk0: 65 trainable weights; 2 classes, images of 8 pixels" in out
    assert "on held-out images" in out
    model = tf_keras.models.load_model(file, {"KerasLayer": hub.KerasLayer})
    dark, bright = (np.full((1, SIZE, SIZE, 3), value, np.float32) for value in (0.2, 0.8))
    assert [int(model(image)[0].numpy().argmax()) for image in (bright, dark)] == [
        0,
        1,
    ]  # in the folders' order


def test_without_pictures_it_learns_digits(example, export):
    assert example.fine_tune(str(export), epochs=2) > 0.5


def test_digits_are_pixels_from_0_to_1(example):
    train, held_out, classes = example.labeled_images(None, SIZE)
    for part in (train, held_out):
        images, labels = next(iter(part))
        assert images.shape[1:] == (SIZE, SIZE, 3)
        assert (float(images.numpy().min()), float(images.numpy().max())) == (0, 1)
        assert {*labels.numpy()} <= {*range(classes)}


def test_frozen_nothing_of_the_encoder_trains(example, export, tmp_path, capsys):
    write_pictures(tmp_path / "pictures")
    run(example, f"--export={export}", f"--images={tmp_path}/pictures", "--epochs=1", "--frozen")
    assert "r18_0.125x_sk0: frozen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--export={tmp}"], "contains no saved_model.pb; give a folder that simclr export wrote"),
        (["--export={export}", "--images={tmp}"], "give a folder with one sub-folder per class"),
        (["--export={export}", "--images={tmp}/nowhere"], "give a folder with one sub-folder per class"),
        ([], "--export"),
    ],
)
def test_mistakes_are_said(example, export, tmp_path, capsys, words, expected):
    with pytest.raises(SystemExit) as caught:
        run(example, *(word.format(tmp=tmp_path, export=export) for word in words))
    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


def test_nothing_of_this_package_is_imported(example):
    text = pathlib.Path(example.__file__).read_text()
    assert "import simclr_keras" not in text
    assert "from simclr_keras" not in text
