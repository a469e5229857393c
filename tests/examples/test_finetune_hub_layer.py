"""examples/finetune_hub_layer.py learns, saves a model that needs nothing else, and says what is wrong in one line."""

import shutil

import keras
import numpy as np
import pytest

from simclr_keras.config import command_line
from tests.examples import scripts
from tests.examples.small_export import SIZE, write_export, write_pictures

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


@pytest.fixture(scope="module")
def example():
    return scripts.load("finetune_hub_layer")


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "small"
    write_export(folder)
    return folder


def run(example, *words):
    return command_line.run(example.main, ["finetune_hub_layer.py", *map(str, words)], "finetune_hub_layer")


def test_it_learns_folders_of_pictures_and_saves_a_model_that_needs_no_export(
    example, export, tmp_path, capsys
):
    own = tmp_path / "export"
    shutil.copytree(export, own)
    write_pictures(tmp_path / "pictures")
    file = tmp_path / "model.keras"
    assert (
        run(example, f"--export={own}", f"--images={tmp_path}/pictures", "--epochs=25", f"--save={file}") == 0
    )
    out = capsys.readouterr().out
    assert "r18_0.125x_sk0: 65 trainable weights; 2 classes, images of 8 pixels" in out
    assert "on 2 held-out images" in out
    shutil.rmtree(own)
    model = keras.models.load_model(file)
    dark, bright = (np.full((1, SIZE, SIZE, 3), value, np.float32) for value in (0.2, 0.8))
    assert [int(model(image)[0].numpy().argmax()) for image in (bright, dark)] == [
        0,
        1,
    ]  # in the folders' order


def test_without_pictures_it_learns_digits(example, export, capsys):
    accuracy = example.fine_tune(str(export), epochs=2)
    assert accuracy > 0.5
    assert "10 classes" in capsys.readouterr().out


def test_frozen_the_encoder_stays_as_it_is(example, export, tmp_path, capsys):
    write_pictures(tmp_path / "pictures")
    file = tmp_path / "model.keras"
    words = (
        f"--export={export}",
        f"--images={tmp_path}/pictures",
        "--epochs=1",
        "--frozen",
        f"--save={file}",
    )
    assert run(example, *words) == 0
    assert "frozen" in capsys.readouterr().out
    from simclr_keras import HubLayer

    for one, other in zip(
        keras.models.load_model(file).layers[1].weights, HubLayer(export).weights, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_mistakes_are_said_in_one_line(example, export, tmp_path, capsys):
    (tmp_path / "flat").mkdir()
    for i, (words, expected) in enumerate(
        (
            (
                [f"--export={tmp_path}/nowhere"],
                "no such directory; give a SavedModel that simclr export wrote",
            ),
            ([f"--export={export}", f"--images={tmp_path}/nowhere"], "nowhere"),
        )
    ):
        assert run(example, *words) == 2, i
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert expected in lines[0]
    with pytest.raises(SystemExit) as caught:
        run(example, f"--export={export}", "--save=model.h5")
    assert caught.value.code == 2
    assert "give a name that ends in .keras" in capsys.readouterr().err


def test_pictures_without_classes_are_refused(example, export, tmp_path, capsys):
    write_pictures(tmp_path / "pictures")
    flat = tmp_path / "pictures" / "dark"
    assert run(example, f"--export={export}", f"--images={flat}") == 2
    assert "give a folder with one sub-folder per class" in capsys.readouterr().err
