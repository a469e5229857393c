"""simclr visualize: nearest neighbors, a map and projector files of embedded images."""

import dataclasses
import os

from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, again, option
from simclr_keras.config.output_paths import check_local, check_parent
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.files import write_file
from simclr_keras.tools.embed import EmbedConfig

NEIGHBORS, MAP, PROJECTOR, FEATURES = "neighbors.png", "map.png", "projector", "features.npz"
INTRODUCTION = """\
Draws the vectors of images: nearest neighbors, a map, and files for TensorBoard's projector.

  simclr visualize --features=features.npz --out=pictures
  simclr visualize --model=runs/photos --images=photos --out=pictures

OUT/neighbors.png   some images, and beside each the most similar ones (cosine)
OUT/map.png         all images on a plane
OUT/projector/      tensorboard --logdir=OUT/projector

Exit codes: 0 done; 1 a file cannot be written; 2 the command, the model or the images are wrong."""


@dataclasses.dataclass(frozen=True)
class VisualizeConfig(Settings):
    """The flags of visualize."""

    features: str | None = option(
        None,
        "File written by simclr embed (.npz or .parquet). Or give --model and --images: they are embedded first.",
        group="What",
    )
    model: str | None = again(EmbedConfig, "model", default=None, group="What", required=None)
    images: str | None = option(
        None, "The images, as for simclr embed. With --features only if they have moved.", group="What"
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
    use_ema: bool = again(EmbedConfig, "use_ema", group="How")
    image_size: int | None = again(EmbedConfig, "image_size", group="How")
    batch_size: int = again(EmbedConfig, "batch_size", group="How")
    data_dir: str | None = again(EmbedConfig, "data_dir", group="How")
    labels: str | None = again(EmbedConfig, "labels", group="How")

    def validate(self) -> None:
        super().validate()
        if self.features and (self.model or self.endpoint or self.use_ema or self.image_size):
            raise InputError(
                "--features are computed already: leave out --model, --endpoint, --use_ema and --image_size."
            )
        if not self.features and not (self.model and self.images):
            raise InputError(
                "no features: give --features=FILE written by simclr embed, or --model and --images."
            )


def visualize(config: VisualizeConfig) -> None:
    """Draw neighbors and map, and write the projector's files; without features, embed the images first.

    Raises:
        InputError: the features are not usable, or their images are missing. TrainingError: the folder cannot be
            written.
    """
    from simclr_keras.tools.features import feature_files
    from simclr_keras.tools.images.open_images import open_images

    features = config.features
    if not features:
        from simclr_keras.tools.embed import embed

        _make(config.out)
        features = os.path.join(config.out, FEATURES)
        names = {field.name for field in dataclasses.fields(EmbedConfig)} - {"out"}
        embed(EmbedConfig(out=features, **{name: getattr(config, name) for name in names}))
    vectors = feature_files.read(features)
    if len(vectors) < 3:
        raise InputError(f"{features} contains {len(vectors)} images; give at least 3.")
    spec = config.images or vectors.facts.get("images")
    if not spec:
        raise InputError(f"{features} does not name its images; give --images.")
    facts = {} if config.images else vectors.facts  # those of images that have moved say nothing
    images = open_images(
        spec, config.data_dir or facts.get("data_dir"), config.labels or facts.get("labels_file")
    )
    _draw_neighbors(vectors, images, config)
    _draw_map(vectors, images, config)
    _write_projector(vectors, images, config)


def _draw_neighbors(vectors, images, config):
    import numpy as np

    from simclr_keras.tools.figures import neighbors_figure
    from simclr_keras.tools.images.thumbnails import thumbnails

    labels = np.full(len(vectors), -1) if vectors.labels is None else vectors.labels
    queries = neighbors_figure.choose_queries(min(config.queries, len(vectors)), labels, config.seed)
    count = min(config.neighbors, len(vectors) - 1)
    rows, cosines = neighbors_figure.nearest(vectors.features, queries, count)
    grid = np.concatenate([queries[:, None], rows], axis=1)
    pictures = thumbnails(images, [vectors.ids[row] for row in grid.flat], neighbors_figure.SIDE)
    classes = [[vectors.class_of(row) for row in line] for line in grid]
    names = [[os.path.basename(vectors.ids[row]) for row in line] for line in grid]
    figure = neighbors_figure.neighbors_figure(
        pictures.reshape(*grid.shape, *pictures.shape[1:]),
        [[label or os.path.splitext(name)[0] for label, name in zip(*line)] for line in zip(classes, names)],
        classes,
        cosines,
        [line[0] for line in names],
        _title(vectors),
    )
    print(f"neighbors {_save(figure, config.out, NEIGHBORS)}")


def _draw_map(vectors, images, config):
    import numpy as np

    from simclr_keras.tools.figures import map_figure
    from simclr_keras.tools.images.thumbnails import thumbnails

    rows = _some_rows(len(vectors), map_figure.MOST[config.map], config.seed)
    points, description = map_figure.project(vectors.features[rows], config.map, config.seed)
    if len(rows) < len(vectors):
        description += f"; {len(rows):,} of {len(vectors):,} images, chosen at random"
    shown = map_figure.choose_pictures(points, config.seed)
    pictures = thumbnails(images, [vectors.ids[row] for row in rows[shown]], map_figure.SIDE)
    labels = np.full(len(rows), -1) if vectors.labels is None else vectors.labels[rows]
    figure = map_figure.map_figure(
        points, shown, pictures, labels, vectors.class_names, _title(vectors), description
    )
    print(f"map       {_save(figure, config.out, MAP)}")


def _write_projector(vectors, images, config):
    from simclr_keras.tools.figures import projector
    from simclr_keras.tools.images.thumbnails import thumbnails

    rows = _some_rows(len(vectors), projector.MOST_POINTS, config.seed)
    ids = [vectors.ids[row] for row in rows]
    classes = None if vectors.labels is None else [vectors.class_of(row) for row in rows]
    path = os.path.join(config.out, PROJECTOR)
    pictures = thumbnails(images, ids, projector.picture_side(len(rows)))
    projector.write(path, vectors.features[rows], ids, classes, pictures)
    some_rows = f", {len(rows):,} of {len(vectors):,} images" if len(rows) < len(vectors) else ""
    print(f"projector tensorboard --logdir={path}{some_rows}")


def _some_rows(count, most, seed):
    """Return at most `most` random rows of `count`, sorted."""
    import numpy as np

    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _title(vectors):
    """Return the endpoint and the model of vectors."""
    names = (vectors.facts.get("endpoint", "features"), vectors.facts.get("model"))
    return " of ".join(name for name in names if name)


def _save(figure, out, name):
    """Write a figure into the folder; return its path."""
    from simclr_keras.evaluation.drawing import png_bytes

    _make(out)
    path = os.path.join(out, name)
    write_file(path, png_bytes(figure))
    return path


def _check_out(config):
    """Raise InputError if --out cannot be written or contains earlier pictures."""
    out = config.out
    check_local(out, "folder")
    if os.path.exists(out) and not os.path.isdir(out):
        raise InputError(f"--out={out} is a file; give a folder.")
    check_parent(os.path.join(out, NEIGHBORS) if os.path.isdir(out) else out)
    files = (NEIGHBORS, MAP, PROJECTOR, *(() if config.features else (FEATURES,)))
    earlier = [name for name in files if os.path.exists(os.path.join(out, name))]
    if earlier and not config.overwrite:
        reuse = (
            f"; to draw its features again, give --features={out}/{FEATURES}" if FEATURES in earlier else ""
        )
        raise InputError(
            f"--out={out} contains {', '.join(earlier)}; give another folder, or --overwrite{reuse}."
        )


def _make(folder):
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"--out={folder} cannot be created ({one_line(error)}); give another.") from error


COMMAND = Command("visualize", INTRODUCTION, VisualizeConfig, visualize, check=_check_out)

if __name__ == "__main__":
    COMMAND.leave()
