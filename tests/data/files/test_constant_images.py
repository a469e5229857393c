"""Nearly constant images are counted while files are checked, and the count is remembered."""

import numpy as np
import tensorflow as tf

from simclr_keras.data.files.constant_images import are_nearly_constant
from simclr_keras.data.sources.npz import load_npz
from tests.data.pictures import flat, load, pixels


def save(path, values):
    path.write_bytes(tf.io.encode_png(values).numpy())


def test_levels():
    images = np.full((5, 200, 130, 3), [0, 100, 255], np.uint8)  # of one color
    images[1, 3, 5, 1] += 15
    images[2, 3, 5, 1] += 16  # one pixel, which the first look passes over
    images[3] = pixels(0, size=(200, 130))
    images[4] = pixels(0, size=(200, 130)) // 16
    assert are_nearly_constant(images).tolist() == [True, True, False, False, True]


def test_files_are_counted_once_and_remembered(tmp_path, cache, tried):
    flat(tmp_path, 2)
    save(tmp_path / "blank.png", np.full((9, 9, 3), 70, np.uint8))
    save(tmp_path / "deep.png", pixels(0).astype(np.uint16) * 16)  # 12 bits of 16
    note = (
        f"2 images of 4 in {tmp_path} use fewer than 16 of 256 levels: blank.png, deep.png; check that they are not "
        "blank, and that 16-bit files fill their range"
    )
    for decoded in (4, 0):
        tried.clear()
        assert load(tmp_path).notes == (note,)
        assert len(tried) == decoded
    (manifest,) = cache.iterdir()
    with np.load(manifest) as stored:
        earlier = {name: array for name, array in stored.items() if name != "constant"}
    np.savez(manifest, **earlier)
    tried.clear()
    assert load(tmp_path).notes == (note,), "the manifest of an earlier version did not count them"
    assert len(tried) == 4


def test_arrays_are_counted(tmp_path):
    images = np.stack([pixels(0), pixels(1) // 255])
    np.savez(tmp_path / "a.npz", x_train=images)
    (note,) = load_npz(str(tmp_path / "a.npz")).notes
    assert note.startswith("1 image of 2 in ")
    assert "train/1" in note
