"""A file for PyTorch computes what the network does, and read again gives the same network."""

import json

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.interop.open_source import open_source
from simclr_keras.interop.torch_files import write
from simclr_keras.interop.torch_files.forward import convolve
from simclr_keras.interop.torch_files.write import write_torch
from simclr_keras.tools import export_torch
from tests.earlier_runs import DIGITS, finetuning, make_run
from tests.interop.torch_files.networks import MEAN_STD, make
from tests.tools.models_to_run import run

CASES = {
    "plain": {},
    "bottleneck with torch's max-pool": {
        "name": "r50_0.125x_sk0",
        "max_pool_padding": "torch",
        **MEAN_STD,
    },
    "selective kernels": {"name": "r50_0.125x_sk1", "se_ratio": 0.25},
    "ResNet-D": {"name": "r18_0.125x_sk1"},
    "small images": {"image_size": 8},
    "classifier on the head": {"head_layer": 2, "proj_dim": 16},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_round_trip(case, tmp_path):
    model, architecture = make(**CASES[case])
    path = tmp_path / "network.safetensors"
    result = write_torch(model, architecture, str(path))
    assert result["difference"] < 1e-5
    opened = open_source(f"torch:{path}")
    again = opened.model()
    images = np.random.default_rng(3).uniform(size=(2, 64, 64, 3)).astype(np.float32)
    ours, theirs = model(images), again(images)
    np.testing.assert_array_equal(theirs["final_avg_pool"], ours["final_avg_pool"])
    if case == "classifier on the head":
        assert "left out 12 of heads" in opened.notes
        assert again.classifier is None
    else:
        assert opened.record.mode == "supervised"
        np.testing.assert_array_equal(theirs["logits"], ours["logits"])
        built = {
            key: getattr(architecture, key) for key in ("name", "max_pool_padding", "pixel_mean", "se_ratio")
        }
        assert built == {key: getattr(opened.architecture, key) for key in built}


def test_numpy_convolution_is_tensorflows():
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(2, 9, 9, 3)), random.normal(size=(3, 3, 3, 4))
    expected = tf.nn.conv2d(x, kernel, 2, "VALID")
    actual = convolve(x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), 2)
    np.testing.assert_allclose(actual.transpose(0, 2, 3, 1), expected, rtol=1e-12)


def test_a_wrong_file_is_not_written(tmp_path, monkeypatch):
    model, architecture = make()
    monkeypatch.setattr(write, "compare", lambda *_: 2e-5)
    with pytest.raises(TrainingError, match=r"was not written: outputs in NumPy differ by 2.0e-05"):
        write_torch(model, architecture, str(tmp_path / "network.safetensors"))
    assert not [*tmp_path.iterdir()]
    with pytest.raises(InputError, match="only ResNets have names in PyTorch"):
        write.arrays_of(None, "keras:VGG16")


def test_command(tmp_path):
    make_run(tmp_path / "run", finetuning("digits", 10), DIGITS)
    words = [f"--run={tmp_path / 'run'}", f"--out={tmp_path / 'digits.safetensors'}"]
    code, text, error = run(export_torch, *words)
    assert (code, error) == (0, "")
    assert "r18_0.125x_sk0: " in text
    assert "RGB in [0, 1], without mean and std" in text
    arrays = safetensors.numpy.load_file(tmp_path / "digits.safetensors")
    assert arrays["conv1.weight"].shape == (8, 3, 3, 3)
    for other, message in [
        (words, "exists; give another name, or --overwrite"),
        ([words[0], "--out=network.pt"], "must end in .safetensors"),
        (["--run=torch:nowhere", words[1], "--overwrite"], "--run=torch:nowhere is not found"),
        ([*words, "--overwrite", "--checkpoint=best"], "has no best checkpoint"),
    ]:
        code, _, error = run(export_torch, *other)
        assert (code, error.count("\n"), message in error) == (2, 1, True), error


@pytest.mark.slow
def test_metadata_shows_what_the_arrays_do_not(tmp_path):
    model, architecture = make()
    write_torch(model, architecture, str(tmp_path / "network.safetensors"))
    with safetensors.safe_open(tmp_path / "network.safetensors", "numpy") as file:
        about = json.loads(file.metadata()["simclr_keras"])
    assert about == {
        "model": architecture.name,
        "image_size": 64,
        "max_pool_padding": "same",
        "pixel_mean": None,
        "pixel_std": None,
    }
