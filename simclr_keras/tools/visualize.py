"""python -m simclr_keras.tools.visualize: pictures of what vectors say of images."""

import os
import sys

from simclr_keras.config import command_line
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.tools import tool_flags
from simclr_keras.tools.embed import BATCH_SIZE, DATA_DIR, IMAGE_SIZE, LABELS, MODEL
from simclr_keras.tools.tool_flags import Flag

PROGRAM = "visualize"
NEIGHBORS, MAP, PROJECTOR, FEATURES = "neighbors.png", "map.png", "projector", "features.npz"
INTRODUCTION = """\
Draws what vectors say of images: nearest neighbors, a map, and files for TensorBoard's projector.

  python -m simclr_keras.tools.visualize --features=features.npz --out=pictures
  python -m simclr_keras.tools.visualize --model=runs/photos --images=photos --out=pictures

OUT/neighbors.png   some images, and beside each those most like it (cosine)
OUT/map.png         all images on a plane
OUT/projector/      tensorboard --logdir=OUT/projector

Exit codes: 0 done; 1 something could not be written; 2 something in the command, the model or the
images is wrong."""
FLAGS = {
    "What": {
        "features": Flag("What tools.embed wrote. Or give --model and --images, which are embedded first."),
        "model": MODEL._replace(required=False),
        "images": Flag(
            "The images, as for tools.embed; with --features only if they are not where they were, or for a .csv, "
            "which does not say where."
        ),
        "out": Flag("A folder for the pictures; it is made where it is missing.", required=True),
        "overwrite": Flag("Replace earlier pictures in --out.", bool, False),
    },
    "How": {
        "map": Flag("How vectors come to the plane.", default="pca", choices=("pca", "tsne")),
        "queries": Flag("Images whose neighbors are shown.", int, 8),
        "neighbors": Flag("Neighbors of each.", int, 8),
        "seed": Flag("For which images these are, and for the map.", int, 0, least=0),
        "endpoint": Flag("With --model: which output, as for tools.embed."),
        "image_size": IMAGE_SIZE,
        "batch_size": BATCH_SIZE,
        "data_dir": DATA_DIR,
        "labels": LABELS,
    },
}
_MOST_QUERIES, _MOST_NEIGHBORS = 50, 20  # more would make no picture to look at


def main(argv):
    """Draws as the command line says.

    Args:
        argv: list of words, the first of which is the program.

    Raises:
        InputError, TrainingError, Stopped: one line.
    """
    if command_line.wants_help(argv):
        print(tool_flags.help_text(INTRODUCTION, FLAGS))
        return
    given, _ = tool_flags.read(argv, FLAGS)
    _check(given)
    from simclr_keras.backend import require_tensorflow, start_tensorflow_quietly

    require_tensorflow()
    start_tensorflow_quietly()
    features, out = given["features"], given["out"]
    if not features:
        from simclr_keras.tools.embed import embed

        _make(out)
        features = os.path.join(out, FEATURES)
        passed = (
            "model",
            "images",
            "endpoint",
            "image_size",
            "batch_size",
            "data_dir",
            "labels",
            "overwrite",
        )
        embed(out=features, **{name: given[name] for name in passed})
    visualize(
        features,
        out,
        images=given["images"],
        method=given["map"],
        **{name: given[name] for name in ("queries", "neighbors", "seed", "data_dir")},
    )


def visualize(
    features, out, *, images=None, method="pca", queries=8, neighbors=8, seed=0, data_dir=None, say=print
):
    """Draws neighbors and map, and writes the projector's files.

    Args:
        features: path of what tools.embed wrote. out: folder to draw in.
        images: what finds the images, see `tools.images.open_images`; None for what the features say.
        method: of the map, "pca" or "tsne". queries, neighbors: how many. seed: int.
        data_dir: where TFDS keeps its data, or None for its default. say: prints a line.

    Raises:
        InputError: the features are no features, or their images cannot be had. TrainingError: `out` cannot be written.
    """
    import numpy as np

    from simclr_keras.evaluation.drawing import png_bytes
    from simclr_keras.tools import outputs
    from simclr_keras.tools.features import feature_files
    from simclr_keras.tools.figures import map_figure, neighbors_figure, projector
    from simclr_keras.tools.images.open_images import open_images
    from simclr_keras.tools.images.thumbnails import thumbnails

    held = feature_files.read(features)
    if len(held) < 3:
        raise InputError(f"{features} holds {len(held)} images; pictures take at least 3.")
    images = images or held.facts.get("images")
    if not images:
        raise InputError(f"{features} does not say where its images are; give --images.")
    found = open_images(images, data_dir)
    name = " of ".join(
        filter(None, [held.facts.get("endpoint", "features"), _short(held.facts.get("model", ""))])
    )
    labels = np.full(len(held), -1) if held.labels is None else held.labels

    def title_of(row):
        return held.class_of(row) or os.path.splitext(os.path.basename(held.ids[row]))[0]

    chosen = neighbors_figure.choose_queries(min(queries, len(held)), labels, seed)
    rows, cosines = neighbors_figure.nearest(held.features, chosen, min(neighbors, len(held) - 1))
    grid = np.concatenate([chosen[:, None], rows], axis=1)
    pictures = thumbnails(found, [held.ids[row] for row in grid.flat], neighbors_figure.SIDE)
    figure = neighbors_figure.neighbors_figure(
        pictures.reshape(*grid.shape, *pictures.shape[1:]),
        [[title_of(row) for row in line] for line in grid],
        [[held.class_of(row) for row in line] for line in grid],
        cosines,
        [os.path.basename(held.ids[row]) if held.class_of(row) else "" for row in chosen],
        name,
    )
    _make(out)
    path = os.path.join(out, NEIGHBORS)
    outputs.replace_bytes(path, png_bytes(figure))
    say(f"neighbors {path}")

    order = np.random.default_rng(seed).permutation(len(held))
    mapped = np.sort(order[: map_figure.MOST_TSNE]) if method == "tsne" else np.arange(len(held))
    points, told = map_figure.places(held.features[mapped], method, seed)
    if len(mapped) < len(held):
        told += f"; {len(mapped):,} of {len(held):,} images, chosen at random"
    legend = map_figure.legend_of(held.labels, held.class_names)
    pixels = map_figure.in_pixels(points, legend)
    shown = map_figure.choose_pictures(pixels, seed)
    pictures = thumbnails(found, [held.ids[row] for row in mapped[shown]], map_figure.SIDE)
    of_mapped = None if held.labels is None else held.labels[mapped]
    figure = map_figure.map_figure(pixels, shown, pictures, of_mapped, legend, name, told)
    path = os.path.join(out, MAP)
    outputs.replace_bytes(path, png_bytes(figure))
    say(f"map       {path}")

    projected = np.sort(order[: projector.MOST_POINTS])
    ids = [held.ids[row] for row in projected]
    classes = None if held.labels is None else [held.class_of(row) for row in projected]
    path = os.path.join(out, PROJECTOR)
    side = projector.picture_side(len(projected))
    projector.write(path, held.features[projected], ids, classes, thumbnails(found, ids, side))
    few = f", {len(projected):,} of {len(held):,} images" if len(projected) < len(held) else ""
    say(f"projector tensorboard --logdir={path}{few}")


def _check(given):
    """Raises InputError for flags that do not go together, and for an --out that cannot be."""
    out = given["out"]
    if given["features"] and (given["model"] or given["endpoint"] or given["image_size"]):
        raise InputError(
            "--features has been computed already: leave out --model, --endpoint and --image_size."
        )
    if not given["features"] and not (given["model"] and given["images"]):
        raise InputError(
            "nothing to draw: give --features=FILE that tools.embed wrote, or --model and --images."
        )
    for name, most in (("queries", _MOST_QUERIES), ("neighbors", _MOST_NEIGHBORS)):
        if given[name] > most:
            raise InputError(f"--{name}={given[name]} must be at most {most}.")
    if "://" in out:
        raise InputError(f"--out={out} is not on this machine; give a local folder, and copy it afterwards.")
    if os.path.exists(out) and not os.path.isdir(out):
        raise InputError(f"--out={out} is a file; give a folder.")
    tool_flags.check_parent(os.path.join(out, NEIGHBORS) if os.path.isdir(out) else out)
    files = (NEIGHBORS, MAP, PROJECTOR, *(() if given["features"] else (FEATURES,)))
    there = [name for name in files if os.path.exists(os.path.join(out, name))]
    if there and not given["overwrite"]:
        again = (
            f"; its features are drawn again with --features={out}/{FEATURES}" if FEATURES in there else ""
        )
        raise InputError(
            f"--out={out} holds {', '.join(there)} of before; give another folder, or --overwrite{again}."
        )


def _make(folder):
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"--out={folder} cannot be made ({one_line(error)}); give another.") from error


def _short(path):
    """The end of a long path."""
    return path if len(path) <= 40 else "..." + path[-37:]


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, PROGRAM))
