"""Files for TensorBoard's Embedding Projector: vectors, names and classes, and a sprite of pictures."""

import io
import math
import os

import numpy as np
import tensorflow as tf

from simclr_keras.files import write_file

FILES = ("tensors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")
# The projector shows this many points at once, and no sprite with longer sides (pixels).
MOST_POINTS, LARGEST_SPRITE = 10_000, 8192
_LARGEST_SIDE = 64


def picture_side(count: int) -> int:
    """Return the side in pixels of each of `count` pictures in a sprite."""
    return min(_LARGEST_SIDE, LARGEST_SPRITE // math.ceil(math.sqrt(count)))


def sprite(pictures: np.ndarray) -> np.ndarray:
    """Return pictures, uint8 [n, side, side, 3], row by row in one near-square image; the rest is white."""
    count, side = pictures.shape[:2]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    whole = np.full([rows * columns, side, side, 3], 255, np.uint8)
    whole[:count] = pictures
    whole = whole.reshape(rows, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    return whole.reshape(rows * side, columns * side, 3)


def write(
    folder: str, features: np.ndarray, ids: list[str], classes: list[str] | None, pictures: np.ndarray
) -> None:
    """Write the files, or replace those of an earlier call; raise TrainingError if that fails.

    Args:
        folder: to write them in; it is created if it is missing.
        features: float [n, d]. ids: n strings. classes: n strings, or None if no image has a class.
        pictures: uint8 [n, side, side, 3], of `picture_side`.
    """
    os.makedirs(folder, exist_ok=True)
    tensors, metadata, picture, config = (os.path.join(folder, name) for name in FILES)
    write_file(tensors, lambda file: np.savetxt(file, features, "%.6g", "\t"))
    write_file(metadata, _metadata(ids, classes).encode())
    write_file(picture, tf.io.encode_png(sprite(pictures)).numpy())
    side = pictures.shape[1]
    write_file(
        config,
        f'embeddings {{\n  tensor_name: "features"\n  tensor_path: "{FILES[0]}"\n  metadata_path: "{FILES[1]}"\n'
        f'  sprite {{\n    image_path: "{FILES[2]}"\n    single_image_dim: {side}\n    single_image_dim: {side}\n'
        "  }\n}\n".encode(),
    )


def _metadata(ids, classes):
    """Return a line for each image; only two columns have a header, as the projector requires."""
    lines = io.StringIO()
    if classes is not None:
        lines.write("image\tclass\n")
    for row, name in enumerate(ids):
        cells = [name] if classes is None else [name, classes[row] or "(none)"]
        lines.write("\t".join(" ".join(cell.split()) or "-" for cell in cells) + "\n")
    return lines.getvalue()
