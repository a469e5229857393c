"""simclr embed: the vectors of images by a model, as a file."""

import dataclasses
import hashlib
import sys

from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, option
from simclr_keras.config.output_paths import check_file
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.files import expand_home

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


def _execute(config: EmbedConfig) -> None:
    embed(**dataclasses.asdict(config))


def embed(
    model,
    images,
    out,
    *,
    endpoint=None,
    use_ema=False,
    image_size=None,
    batch_size=64,
    data_dir=None,
    labels=None,
    overwrite=False,
    say=print,
):
    """Write a model's vectors of images to a file; continue from the parts of an earlier call.

    Args:
        model: path of a run directory, an export or a .keras file, or a TF-Hub handle.
        images: see `tools.images.open_images`. out: path of the file to write, .npz, .parquet or .csv.
        endpoint: name of an output, None for the representation; of feature maps the mean over their pixels is taken.
        use_ema: whether to use the momentum network of a run directory.
        image_size: side in pixels, None for what the model was trained on. batch_size: images at a time.
        data_dir, labels: as in `open_images`.
        overwrite: whether to replace `out`, and parts with other settings.
        say: prints a line.

    Raises:
        InputError: the model, the images or `out` are not usable. TrainingError: a file cannot be written, or the
            vectors are not finite. Stopped: by SIGINT or SIGTERM; the rows computed so far are saved.
    """
    from simclr_keras.tools import any_model
    from simclr_keras.tools.features import feature_files
    from simclr_keras.tools.features.feature_parts import FeatureParts
    from simclr_keras.tools.images.open_images import open_images
    from simclr_keras.training.engine import signals

    out, labels = expand_home(out), labels and expand_home(labels)
    check_file(out, ENDINGS, overwrite)
    with signals.listening() as stop:
        stop.all_saved("nothing was computed yet")
        opened = any_model.open_model(model, use_ema)
        name, size = opened.find(endpoint), opened.size(image_size)
        compute, width = vector_function(opened, name, size)
        pooled = ", the mean over the pixels of its maps" if opened.shapes[name].rank == 4 else ""
        network = f"momentum network of {model}" if use_ema else model
        say(f"model    {network}: {name}{pooled}, {width} numbers for each image of {size} x {size} pixels")
        opened_images = open_images(images, data_dir, labels)
        class_names = opened_images.class_names
        classes = "" if class_names is None else f", {len(class_names)} classes"
        say(f"data     {opened_images.spec}: {len(opened_images):,} images{classes}")
        for note in opened_images.notes:
            say(f"         {note}")
        settings = {
            "model": opened.fingerprint,
            "endpoint": name,
            "image_size": size,
            "images": opened_images.fingerprint(),
            "labels": _file_digest(labels),
            **({"antialias": True} if opened.antialias else {}),
        }
        parts = FeatureParts(out, settings, overwrite)
        if parts.rows:
            say(f"resume   {parts.rows:,} of {len(opened_images):,} images are in {parts.folder}")
        preparation = {"image_size": size, "batch_size": batch_size, "antialias": opened.antialias}
        speed = _compute_missing(parts, opened_images, compute, preparation, stop)
        features, all_labels = parts.join()
        has_labels = opened_images.has_labels and (all_labels >= 0).any()
        result = feature_files.Features(
            features,
            list(opened_images.ids),
            all_labels if has_labels else None,
            opened_images.class_names,
            {
                "model": str(model),
                "use_ema": str(use_ema).lower(),
                "endpoint": name,
                "images": opened_images.spec,
                "image_size": str(size),
            },
        )
        check_file(out, ENDINGS, overwrite)  # another process may have written it meanwhile
        feature_files.write(out, result)
        parts.remove()
    say(f"features {len(result):,} x {width} in {out}{speed}")


def _file_digest(path):
    """Return the digest of a file's content, or None if there is no path."""
    if path is None:
        return None
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "rb") as file:
        return hashlib.blake2b(file.read(), digest_size=16).hexdigest()


def vector_function(model, endpoint, image_size):
    """Return a function from images to vectors, and the vectors' width.

    Args:
        model: AnyModel. endpoint: name of one of its endpoints. image_size: side in pixels.

    Returns:
        (function of images float32 [n, image_size, image_size, 3] to float32 [n, width], width)

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
    _execute,
    check=lambda config: check_file(config.out, ENDINGS, config.overwrite),
)

if __name__ == "__main__":
    COMMAND.leave()
