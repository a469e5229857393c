"""Folders of small image files for tests, good ones and unreadable ones."""

import numpy as np
import tensorflow as tf

from simclr_keras.data.sources.folder import load_folder


def pixels(seed, channels=3, size=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


def png(path, seed=0, channels=3, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(pixels(seed, channels, size)).numpy())


def jpeg(path, seed=0, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_jpeg(pixels(seed, channels, (32, 40))).numpy())


def flat(root, count):
    for i in range(count):
        png(root / f"{i}.png", i)


def classes(root, counts):
    for name, count in counts.items():
        flat(root / name, count)


def unreadable_files(root):
    """Five of them, one of each kind."""
    jpeg(root / "short.jpg")
    whole = (root / "short.jpg").read_bytes()
    (root / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.png").write_bytes(b"")
    (root / "text.jpg").write_text("not an image at all")
    (root / "jp2.jpg").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n")
    (root / "folder.jpg").mkdir()


def load(folder, labels=None, memory_limit=2**31, **settings):
    """All images of a folder, none held out."""
    return load_folder(str(folder), labels, memory_limit, **settings)
