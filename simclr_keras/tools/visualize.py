"""python -m simclr_keras.tools.visualize: pictures of what vectors say of images."""

import dataclasses
import os
import sys

from simclr_keras.config import command_line
from simclr_keras.config.option import Settings, again, option
from simclr_keras.config.output_paths import check_local, check_parent
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.tools.embed import EmbedConfig

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


@dataclasses.dataclass(frozen=True)
class VisualizeConfig(Settings):
    """The flags of visualize."""

    features: str | None = option(
        None,
        "File written by tools.embed. Or give --model and --images: they are embedded first.",
        group="What",
    )
    model: str | None = again(EmbedConfig, "model", default=None, group="What", required=None)
    images: str | None = option(
        None,
        "The images, as for tools.embed. With --features only if they have moved, or for a .csv, which does not name "
        "them.",
        group="What",
    )
    out: str = option(
        "",
        "Folder for the pictures; it is created if it is missing.",
        group="What",
        required="give a folder for the pictures",
    )
    overwrite: bool = option(False, "Replace earlier pictures in --out.", group="What")
    map: str = option("pca", "Projection of the vectors to the plane.", group="How", choices=("pca", "tsne"))
    queries: int = option(
        8, "Images whose neighbors are shown.", group="How", unit="images", at_least=1, at_most=50
    )
    neighbors: int = option(8, "Neighbors of each.", group="How", unit="images", at_least=1, at_most=20)
    seed: int = option(0, "Seed of the choice of these images, and of the map.", group="How", at_least=0)
    endpoint: str | None = again(EmbedConfig, "endpoint", group="How")
    image_size: int | None = again(EmbedConfig, "image_size", group="How")
    batch_size: int = again(EmbedConfig, "batch_size", group="How")
    data_dir: str | None = again(EmbedConfig, "data_dir", group="How")
    labels: str | None = again(EmbedConfig, "labels", group="How")

    def validate(self) -> None:
        super().validate()
        if self.features and (self.model or self.endpoint or self.image_size):
            raise InputError(
                "--features are computed already: leave out --model, --endpoint and --image_size."
            )
        if not self.features and not (self.model and self.images):
            raise InputError(
                "no features: give --features=FILE written by tools.embed, or --model and --images."
            )


def main(argv):
    """Draws as the command line says.

    Args:
        argv: list of words, the first of which is the program.

    Raises:
        InputError, TrainingError, Stopped: one line.
    """
    if command_line.wants_help(argv):
        print(command_line.help_text(INTRODUCTION, VisualizeConfig))
        return
    config = command_line.read(VisualizeConfig, argv)
    _check_out(config)
    from simclr_keras.backend import require_tensorflow, start_tensorflow_quietly

    require_tensorflow()
    start_tensorflow_quietly()
    features, out = config.features, config.out
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
        embed(out=features, **{name: getattr(config, name) for name in passed})
    visualize(
        features,
        out,
        images=config.images,
        method=config.map,
        queries=config.queries,
        neighbors=config.neighbors,
        seed=config.seed,
        data_dir=config.data_dir,
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


def _check_out(config):
    """Raise InputError if --out cannot be written or contains earlier pictures."""
    out = config.out
    check_local(out, "folder")
    if os.path.exists(out) and not os.path.isdir(out):
        raise InputError(f"--out={out} is a file; give a folder.")
    check_parent(os.path.join(out, NEIGHBORS) if os.path.isdir(out) else out)
    files = (NEIGHBORS, MAP, PROJECTOR, *(() if config.features else (FEATURES,)))
    there = [name for name in files if os.path.exists(os.path.join(out, name))]
    if there and not config.overwrite:
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
