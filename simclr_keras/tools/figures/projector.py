"""Files for TensorBoard's Embedding Projector: vectors, what is known of each, and their pictures in one image."""

import io
import math
import os

import numpy as np
import tensorflow as tf

from simclr_keras.files import write_file

FILES = ("tensors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")
# What the projector shows at once; it draws no sprite whose sides are longer than this many pixels.
MOST_POINTS, LARGEST_SPRITE = 10_000, 8192
_LARGEST_SIDE = 64


def picture_side(count):
    """Side in pixels of a picture in the sprite of so many."""
    return min(_LARGEST_SIDE, LARGEST_SPRITE // math.ceil(math.sqrt(count)))


def sprite(pictures):
    """All pictures row by row in one, as many rows as columns or one less.

    Args:
        pictures: uint8 [n, side, side, 3].

    Returns:
        uint8 [height, width, 3], white where there is none.
    """
    count, side = pictures.shape[:2]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    whole = np.full([rows * columns, side, side, 3], 255, np.uint8)
    whole[:count] = pictures
    whole = whole.reshape(rows, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    return whole.reshape(rows * side, columns * side, 3)


def write(folder, features, ids, classes, pictures):
    """Writes the files; those of an earlier call are replaced.

    Args:
        folder: to write them in; it is made where it is missing.
        features: float [n, d]. ids: n strings. classes: n strings, or None where no image has a class.
        pictures: uint8 [n, side, side, 3], of `picture_side`.

    Raises:
        TrainingError: they cannot be written.
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
    """A line for each; a head only over several columns, as the projector wants it."""
    lines = io.StringIO()
    if classes is not None:
        lines.write("image\tclass\n")
    for row, name in enumerate(ids):
        cells = [name] if classes is None else [name, classes[row] or "(none)"]
        lines.write("\t".join(" ".join(cell.split()) or "-" for cell in cells) + "\n")
    return lines.getvalue()
