"""Search a folder for the images most similar to an example image, by the vectors of a model.

    python examples/image_search.py --model=runs/photos --images=photos --query=cat.jpg

The folder is embedded once, into photos.npz beside it (or the file of --index); later searches read that file. Delete
it when the folder or the model has changed. --model is a run directory, an export, a .keras file or a TF-Hub handle.
"""

import argparse
import os
import sys

import numpy as np

# It works without installing the package, too.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from simclr_keras.backend import start_tensorflow_quietly
from simclr_keras.config import command_line
from simclr_keras.errors import InputError
from simclr_keras.tools import embed


def search(model: str, images: str, query: str, index: str, k: int) -> list[tuple[str, float]]:
    """Return (file name, cosine) of the k images most similar to the query, the most similar first."""
    from simclr_keras.tools.features import feature_files

    if not os.path.exists(index):
        embed.embed(embed.EmbedConfig(model=model, images=images, out=index))
    searched = feature_files.read(index, "index")
    facts = searched.facts
    if facts.get("model") != model:
        raise InputError(f"{index} was made with --model={facts.get('model')}; give that, or delete {index}.")
    # The same endpoint and size as for the images.
    vector = vector_of(query, model, facts["endpoint"], int(facts["image_size"]))
    cosines = unit(searched.features) @ unit(vector)
    best = np.argsort(-cosines, kind="stable")[:k]
    return [(searched.ids[row], float(cosines[row])) for row in best]


def vector_of(path: str, model: str, endpoint: str, size: int) -> np.ndarray:
    """Return the vector of an image file, float32 [d]."""
    import tensorflow as tf

    from simclr_keras import preprocess
    from simclr_keras.data.files.verify_images import verify_file
    from simclr_keras.tools.any_model import open_model

    problem, to_read = verify_file(path)
    if problem:
        raise InputError(f"--query={path} {problem}; give an image file.")
    opened = open_model(model)
    compute, _ = embed.vector_function(opened, opened.find(endpoint), size)
    image = preprocess.evaluation_view(
        preprocess.decode(tf.io.read_file(to_read)), size, antialias=opened.antialias
    )
    return compute(image[None]).numpy()[0]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def main(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True, help="folder to search in")
    parser.add_argument("--query", required=True, help="image file to search for")
    parser.add_argument("--index", help="file of vectors, .npz [IMAGES.npz]")
    parser.add_argument("--k", type=int, default=5, help="images to find [5]")
    flags = parser.parse_args(argv[1:])
    start_tensorflow_quietly()
    index = flags.index or flags.images.rstrip("/") + ".npz"
    for name, cosine in search(flags.model, flags.images, flags.query, index, flags.k):
        print(f"{cosine:.3f}  {os.path.join(flags.images, name)}")


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, "image_search"))
