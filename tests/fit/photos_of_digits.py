"""Photos that are small images of digits, some labeled, some near duplicates of others."""

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

CLASSES = ("zero", "one", "two")


def write_photos(folder, count=90, labeled=60, duplicates=6):
    """Write folder/photos and folder/labels.csv; return the flags of fit for them.

    The last `duplicates` photos are the first ones, a little brighter, and have no labels.
    """
    (folder / "photos").mkdir(parents=True)
    digits = load_digits()
    rows = np.flatnonzero(digits.target < len(CLASSES))[:count]
    lines = ["filename,label"]
    for i, row in enumerate([*rows, *rows[:duplicates]]):
        gray = np.kron(digits.images[row] * 15, np.ones((2, 2)))
        pixels = np.repeat(gray[..., None], 3, axis=-1).astype(np.uint8) + np.uint8(3 * (i >= count))
        (folder / "photos" / f"{i:03}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        if i < labeled:
            lines.append(f"{i:03}.png,{CLASSES[digits.target[row]]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return {"dataset": f"folder:{folder}/photos", "labels": f"{folder}/labels.csv"}
