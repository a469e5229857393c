"""simclr embed: the vectors of images by a model, as a file."""

import dataclasses
import hashlib
import os
import sys

from simclr_keras import packages
from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, option
from simclr_keras.config.output_paths import check_file
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.files import absolute, expand_home

ENDINGS = (".npz", ".parquet", ".csv")
INTRODUCTION = """\
Computes the vectors of images by a model, and writes them with the images' names.

  simclr embed --model=runs/photos --images=photos --out=features.npz
  simclr embed --model=exports/flowers --images=tf_flowers --endpoint=proj_head_1 \\
      --out=features.parquet

Images get the evaluation preprocessing. If interrupted, rerun the command to continue: OUT.parts
contains the vectors so far. The file contains features (float32 [n, d]), ids (file names, or split
and row) and, if the images have any, labels (-1: none) and class names.

Exit codes: 0 done; 1 a file cannot be written, or the vectors are not finite; 2 the command, the
model or the images are wrong; 130 stopped by Ctrl-C (SIGINT); 143 stopped by SIGTERM."""


@dataclasses.dataclass(frozen=True)
class EmbedConfig(Settings):
    """The flags of embed."""

    model: str = option(
        "",
        "A run directory, an address such as published:r50_1x_sk0, the folder of an export (any SavedModel with "
        "signatures), a .keras file or a TF-Hub handle (https://...).",
        required="give a run directory, an export, a .keras file or a TF-Hub handle",
    )
    images: str = option(
        "",
        "A folder (its sub-folders are the labels) or an image file; or digits, folder:PATH, npz:PATH or a TFDS name. "
        "If there are two splits, both are used.",
        required="give a folder, an image file or a dataset",
    )
    out: str = option(
        "", f"File to write: {', '.join(ENDINGS)}.", required=f"give a file to write: {', '.join(ENDINGS)}"
    )
    endpoint: str | None = option(
        None,
        "Output of the model: encoder (the representation), proj_head_0 .. or logits. Feature maps (block_group1 ..) "
        "are averaged over their pixels.",
        default_words="encoder",
    )
    use_ema: bool = option(
        False, "Use the momentum network of a run directory, of pretraining with --memory=queue."
    )
    image_size: int | None = option(
        None,
        "Side of the images the model sees.",
        unit="pixels",
        at_least=8,
        default_words="that of its training",
    )
    batch_size: int = option(64, "Images per step.", unit="images", at_least=1)
    data_dir: str | None = option(None, "Folder in which TensorFlow Datasets keeps prepared data.")
    labels: str | None = option(
        None, "CSV of filename,label for the images of a flat folder, as for a stage."
    )
    overwrite: bool = option(False, "Replace --out, and the parts of another command.")


def embed(config: EmbedConfig) -> None:
    """Write a model's vectors of images to a file; continue from the parts of an earlier call.

    Raises:
        InputError: the model, the images or the file are not usable. TrainingError: a file cannot be written, or the
            vectors are not finite. Stopped: by SIGINT or SIGTERM; the rows computed so far are saved.
    """
    from simclr_keras.tools import any_model
    from simclr_keras.tools.features import feature_files
    from simclr_keras.tools.features.feature_parts import FeatureParts
    from simclr_keras.tools.images.open_images import open_images
    from simclr_keras.training.engine import signals

    with signals.listening() as stop:
        stop.all_saved("nothing was computed yet")
        model = any_model.open_model(config.model, config.use_ema)
        name, size = model.find(config.endpoint), model.size(config.image_size)
        compute, width = vector_function(model, name, size)
        pooled = ", the mean over the pixels of its maps" if model.shapes[name].rank == 4 else ""
        network = f"momentum network of {config.model}" if config.use_ema else config.model
        print(f"model    {network}: {name}{pooled}, {width} numbers for each image of {size} x {size} pixels")
        images = open_images(config.images, config.data_dir, config.labels)
        classes = "" if images.class_names is None else f", {len(images.class_names)} classes"
        print(f"data     {images.spec}: {len(images):,} images{classes}")
        for note in images.notes:
            print(f"         {note}")
        settings = {
            "model": model.fingerprint,
            "endpoint": name,
            "image_size": size,
            "images": images.fingerprint(),
            "labels": _file_digest(config.labels),
            **({"antialias": True} if model.antialias else {}),
        }
        parts = FeatureParts(config.out, settings, config.overwrite)
        if parts.rows:
            print(f"resume   {parts.rows:,} of {len(images):,} images are in {parts.folder}")
        preparation = {"image_size": size, "batch_size": config.batch_size, "antialias": model.antialias}
        speed = _compute_missing(parts, images, compute, preparation, stop)
        features, labels = parts.join()
        has_labels = images.has_labels and (labels >= 0).any()
        facts = {
            "model": config.model,
            "use_ema": str(config.use_ema).lower(),
            "endpoint": name,
            "images": images.spec,
            "image_size": str(size),
            **_places(config),
        }
        result = feature_files.Features(
            features, list(images.ids), labels if has_labels else None, images.class_names, facts
        )
        check_file(config.out, ENDINGS, config.overwrite)  # another process may have written it meanwhile
        feature_files.write(config.out, result)
        parts.remove()
    print(f"features {len(result):,} x {width} in {config.out}{speed}")


def _places(config):
    """Return what `open_images` needs beside the images, with absolute paths."""
    paths = {"data_dir": config.data_dir, "labels_file": config.labels}
    return {name: absolute(expand_home(path)) for name, path in paths.items() if path}


def _check(config):
    check_file(config.out, ENDINGS, config.overwrite)
    ending = os.path.splitext(config.out)[1].lower()
    if ending not in ENDINGS:
        raise InputError(f"--out={config.out} has no name before its ending; give one such as features.npz.")
    if ending == ".parquet":
        packages.require("pyarrow.parquet")


def _file_digest(path):
    """Return the digest of a file's content, or None if there is no path."""
    if path is None:
        return None
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "rb") as file:
        return hashlib.blake2b(file.read(), digest_size=16).hexdigest()


def vector_function(model, endpoint, image_size):
    """Return a function from images to vectors, and the vectors' width.

    The function maps float32 [n, image_size, image_size, 3] to float32 [n, width]. The model is an AnyModel.

    Raises:
        InputError: the endpoint is neither a vector nor a feature map, or the model does not take such images.
    """
    import tensorflow as tf

    @tf.function(
        input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.float32)], autograph=False
    )
    def compute(images):
        outputs = model.call(images, endpoint)
        return tf.reduce_mean(outputs, [1, 2]) if outputs.shape.rank == 4 else outputs

    try:
        # One image gives the width, and a wrong size fails before the images are read.
        output = compute(tf.zeros([1, image_size, image_size, 3]))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{model.path} does not take images of {image_size} pixels ({one_line(error)}); give another --image_size."
        ) from error
    if output.shape.rank != 2:
        raise InputError(
            f"{endpoint} of {model.path} is not a vector: its shape is {output.shape}; choose an --endpoint of "
            f"{', '.join(model.vectors)}."
        )
    return compute, output.shape[1]


def _compute_missing(parts, images, compute, preparation, stop):
    """Compute the rows that no part contains; return the speed for the last message, or "".

    preparation: arguments of `pipeline.eval_batches`.
    """
    import numpy as np
    import tensorflow as tf
    import tqdm

    from simclr_keras.data import pipeline

    begin, total, batch_size = parts.rows, len(images), preparation["batch_size"]
    stop.nothing_to_save = False
    bar = tqdm.tqdm(
        total=total,
        initial=begin,
        desc="embedding",
        unit=" images",
        disable=not sys.stderr.isatty(),
        leave=False,
        dynamic_ncols=True,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left",
    )
    try:
        with bar:
            for source in images.rows(np.arange(begin, total)):
                for batch in pipeline.eval_batches(source, **preparation):
                    features = compute(batch["image"]).numpy()
                    if not np.isfinite(features).all():
                        raise TrainingError(
                            "the model's outputs are not finite: its weights are damaged or its training diverged; "
                            "give another --model."
                        )
                    parts.add(features, batch["label"].numpy())
                    bar.update(len(features))
                    if stop.requested:
                        parts.save()
                        stop.leave(f"{parts.rows:,} of {total:,} images are done")
    except tf.errors.OpError as error:
        parts.save()
        raise InputError(
            f"an image of {images.spec} became unreadable ({one_line(error)}); restore or delete it, then rerun."
        ) from error
    parts.save()
    seconds = bar.format_dict["elapsed"]
    stop.all_saved("all images are done")
    return (
        f" ({(total - begin) / seconds:,.0f} images/s)" if seconds > 1 and total - begin >= batch_size else ""
    )


COMMAND = Command(
    "embed",
    INTRODUCTION,
    EmbedConfig,
    embed,
    check=_check,
)

if __name__ == "__main__":
    COMMAND.leave()
