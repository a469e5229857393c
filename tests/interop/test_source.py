"""Where published weights lie, and what is said where there are none or they are damaged."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.interop.source import Source
from simclr_keras.interop.tf2_checkpoint import VALUE
from simclr_keras.models.zoo import create_model
from tests.interop.release_files import (
    GRAPH,
    golden_weights,
    weights_of,
    write_checkpoint,
    write_saved_model,
)


@pytest.fixture(scope="module")
def tiny():
    """Dict of key to value of a TF1 checkpoint of a tiny network."""
    return weights_of(create_model("r18_0.125x_sk0", num_classes=10, image_size=8))


def test_any_file_of_a_checkpoint_names_it(tiny, tmp_path):
    for ending in ["", ".index", ".meta", ".data-00000-of-00001"]:
        path = write_checkpoint(tmp_path / "model.ckpt-751", tiny)
        source = Source(f"{path}{ending}")
        assert (source.prefix, source.form.NAME) == (str(path), "TF1 checkpoint")


def test_of_several_checkpoints_in_a_folder_the_one_it_names_is_taken_else_the_newest(tiny, tmp_path):
    for step in (9, 751, 80):
        write_checkpoint(tmp_path / f"model.ckpt-{step}", tiny)
    assert Source(tmp_path).prefix.endswith("model.ckpt-751")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-80"\n')
    assert Source(tmp_path).prefix.endswith("model.ckpt-80")


@pytest.mark.parametrize("place", ["", "saved_model", "saved_model/250228"])
def test_a_saved_model_may_lie_in_a_folder_of_the_release(place, tmp_path):
    names = {"resnet/conv2d/kernel": np.zeros((1, 1, 3, 4), np.float32)}
    write_saved_model(tmp_path / "r18" / place, names)
    source = Source(tmp_path / "r18")
    assert source.form.NAME == "TF2 SavedModel"
    assert source.shapes == {"resnet/conv2d/kernel": (1, 1, 3, 4)}


@pytest.mark.slow
def test_the_arrays_of_a_saved_model_are_those_of_their_names(tmp_path):
    names = golden_weights("r18_cifar")
    source = Source(write_saved_model(tmp_path / "saved", names))
    for name, value in names.items():
        np.testing.assert_array_equal(source.read(name), value)


def test_a_saved_model_with_two_variables_of_one_name_is_refused(tmp_path):
    module = tf.Module()
    module.both = [tf.Variable([1.0], name="resnet/conv2d/kernel") for _ in range(2)]
    tf.saved_model.save(module, str(tmp_path / "saved"))
    with pytest.raises(InputError, match="two variables named resnet/conv2d/kernel"):
        Source(tmp_path / "saved")


def test_a_value_of_a_saved_model_that_has_no_name_is_not_passed_over(tmp_path):
    write_saved_model(tmp_path / "saved", {"resnet/conv2d/kernel": np.zeros((1, 1, 3, 4), np.float32)})
    values = {"trainable_variables_list/0/.ATTRIBUTES/VARIABLE_VALUE": np.zeros((1, 1, 3, 4), np.float32)}
    prefix = tmp_path / "saved" / "variables" / "variables"
    graph = tf.train.load_checkpoint(str(prefix)).get_tensor(GRAPH)
    write_checkpoint(prefix, {GRAPH: graph, "stray": np.ones(3, np.float32), **values})
    assert Source(tmp_path / "saved").shapes["stray"] == (3,)


def test_the_variables_of_a_tf1_hub_module_are_those_of_a_tf1_checkpoint(tiny, tmp_path):
    write_checkpoint(tmp_path / "variables" / "variables", tiny)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    source = Source(tmp_path)
    assert (source.form.NAME, source.shapes.keys()) == ("TF1 checkpoint", tiny.keys())


def make_places(folder, tiny):
    """Paths that hold no good weights."""
    (folder / "empty").mkdir()
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").write_bytes(b"\xff\xd8")
    (folder / "weights.pth").write_bytes(b"PK")
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    cut = write_checkpoint(folder / "cut_index" / "model.ckpt-1", tiny)
    index = cut.with_name("model.ckpt-1.index")
    index.write_bytes(index.read_bytes()[:40])
    write_saved_model(folder / "cut_pb", {"resnet/conv2d/kernel": np.zeros((1, 1, 3, 4), np.float32)})
    pb = folder / "cut_pb" / "saved_model.pb"
    pb.write_bytes(pb.read_bytes()[:-50])
    write_saved_model(folder / "no_data", {"resnet/conv2d/kernel": np.zeros((1, 1, 3, 4), np.float32)})
    for file in (folder / "no_data" / "variables").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "nowhere does not exist: give the prefix of a checkpoint"),
        ("empty", "holds neither a checkpoint nor a SavedModel"),
        ("photos", "holds neither a checkpoint nor a SavedModel"),
        ("weights.pth", "is none of the release's formats"),
        ("run", "is a run directory, not weights of the release: load_run"),
        ("cut_index", "cut_index cannot be read .* fetch it again"),
        ("cut_pb", "cut_pb cannot be read .* fetch it again"),
        ("no_data", "no_data cannot be read .* fetch it again"),
        ("model[1]", "takes for a pattern"),
    ],
)
def test_a_path_without_good_weights_is_refused_in_one_line(place, message, tiny, tmp_path):
    make_places(tmp_path, tiny)
    with pytest.raises(InputError, match=message) as raised:
        Source(tmp_path / place)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("left", [0, 100, 20_000])
def test_a_truncated_data_file_is_refused_with_the_key_that_cannot_be_read(left, tiny, tmp_path):
    path = write_checkpoint(tmp_path / "model.ckpt-1", tiny)
    data = tmp_path / "model.ckpt-1.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:left])
    source = Source(path)
    with pytest.raises(InputError, match=r"base_model/conv2d_19/kernel .* cannot be read") as raised:
        source.read("base_model/conv2d_19/kernel")
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("error")
def test_arrays_that_float32_cannot_hold_are_refused(tmp_path):
    for value, message in [
        (np.array([1.0, np.nan], np.float32), "is not finite in float32"),
        (np.array([1.0, -np.inf], np.float16), "is not finite in float32"),
        (np.array([1.0, 1e200]), "is not finite in float32"),
        (np.array([1, 2]), "is of int64, not of floats"),
        (np.array([True]), "is of bool, not of floats"),
        (np.array(b"1.0"), "is of string, not of floats"),
    ]:
        source = Source(write_checkpoint(tmp_path / "model.ckpt-1", {"base_model/conv2d/kernel": value}))
        with pytest.raises(InputError, match=rf"base_model/conv2d/kernel in .* {message}") as raised:
            source.read("base_model/conv2d/kernel")
        assert "\n" not in str(raised.value)


def test_floats_of_any_width_are_read_as_float32(tmp_path):
    for dtype in ["bfloat16", "float16", "float32", "float64"]:
        value = tf.cast([0.5, -1.25, 3.0], dtype)
        source = Source(write_checkpoint(tmp_path / "model.ckpt-1", {"base_model/conv2d/kernel": value}))
        read = source.read("base_model/conv2d/kernel")
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, [0.5, -1.25, 3.0])


@pytest.mark.parametrize("tail", ["", ":0", VALUE])
def test_a_negative_variance_is_refused_by_its_key(tail, tmp_path):
    values = {
        f"bn/{role}{tail}": np.array([0.0, -1e-3], np.float32) for role in ("moving_mean", "moving_variance")
    }
    source = Source(write_checkpoint(tmp_path / "model.ckpt-1", values))
    with pytest.raises(InputError, match=f"^bn/moving_variance{tail} in .* has negative variances"):
        source.read(f"bn/moving_variance{tail}")
    assert source.read(f"bn/moving_mean{tail}").min() < 0
