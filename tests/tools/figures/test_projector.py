"""The projector's files, read as TensorBoard reads them."""

import os

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import projector_plugin
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from simclr_keras.tools.figures import projector

FEATURES = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
IDS = ["a.png", "b\tc.png", "d\ne.png", "ü.png", " ", "f.png", "g.png"]
PICTURES = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones([7, 4, 4, 3], np.uint8)


@pytest.mark.parametrize("classes", [None, ["ant", "", "bee", "ant", "x\ty", "ant", "bee"]])
def test_tensorboard_reads_what_is_written(tmp_path, classes):
    folder = str(tmp_path / "p")
    projector.write(folder, FEATURES, IDS, classes, PICTURES)
    assert sorted(os.listdir(folder)) == sorted(projector.FILES)
    with open(f"{folder}/projector_config.pbtxt") as file:
        config = text_format.Parse(file.read(), ProjectorConfig())
    (embedding,) = config.embeddings
    tensors = projector_plugin._read_tensor_tsv_file(f"{folder}/{embedding.tensor_path}")
    np.testing.assert_allclose(tensors, FEATURES, rtol=1e-5)
    assert list(embedding.sprite.single_image_dim) == [4, 4]
    assert np.asarray(Image.open(f"{folder}/{embedding.sprite.image_path}")).shape == (12, 12, 3)
    lines = (tmp_path / "p" / embedding.metadata_path).read_text().splitlines()
    if classes is None:
        assert lines == ["a.png", "b c.png", "d e.png", "ü.png", "-", "f.png", "g.png"]
    else:
        assert lines[:3] == ["image\tclass", "a.png\tant", "b c.png\t(none)"]
        assert len(lines) == 8
        assert all(line.count("\t") == 1 for line in lines)


def test_pictures_lie_row_by_row():
    found = projector.sprite(PICTURES)
    assert found.shape == (12, 12, 3)
    for place in range(9):
        row, column = divmod(place, 3)
        cell = found[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert (cell == (place if place < 7 else 255)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 100, 5000, projector.MOST_POINTS])
def test_no_sprite_is_larger_than_the_projector_draws(count):
    side = projector.picture_side(count)
    assert 48 <= side <= 64
    height, width, _ = projector.sprite(np.zeros([count, 1, 1, 3], np.uint8)).shape
    assert max(height, width) * side <= 8192


def test_more_pictures_would_be_smaller_ones():
    assert projector.picture_side(1_000_000) == 8


def test_a_second_time_replaces_the_first(tmp_path):
    projector.write(str(tmp_path), FEATURES, IDS, None, PICTURES)
    projector.write(str(tmp_path), FEATURES[:2], IDS[:2], None, PICTURES[:2])
    assert len((tmp_path / "tensors.tsv").read_text().splitlines()) == 2
    assert tf.io.decode_png(tf.io.read_file(str(tmp_path / "sprite.png"))).shape == [4, 8, 3]
