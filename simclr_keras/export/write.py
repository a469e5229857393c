"""Write an export as a whole: every format, each compared with the network, and one card."""

import os
from collections.abc import Callable

import numpy as np

from simclr_keras.backend import full_float32
from simclr_keras.config.export import KERAS, LITERT, ONNX, SAVED_MODEL
from simclr_keras.export import card, readme
from simclr_keras.export.endpoints import (
    OF_CLASSES,
    select_endpoints,
    signature_endpoints,
    with_probabilities,
)
from simclr_keras.export.export_folder import CARD, check_out
from simclr_keras.export.formats import keras_file, litert, names, onnx_file
from simclr_keras.export.formats.saved_model import check_saved_model, write_saved_model
from simclr_keras.files import whole_folder, write_file
from simclr_keras.models.simclr import SimCLRModel


def check_packages(formats: tuple[str, ...]) -> None:
    """Raise InputError if the package of a format is missing."""
    for name, module in ((LITERT, litert), (ONNX, onnx_file)):
        if name in formats:
            module.require_packages()


@full_float32()
def write_export(
    model: SimCLRModel,
    out: str,
    about: dict,
    *,
    formats: tuple[str, ...] = (SAVED_MODEL,),
    endpoints: tuple[str, ...] | None = None,
    decode_images: bool = False,
    representative: np.ndarray | None = None,
    overwrite: bool = False,
    say: Callable = print,
) -> dict:
    """Write a network as an export; if anything fails, write nothing.

    Args:
        model: built float32 SimCLRModel, after `remove_unused_layers`.
        out: path of the folder.
        about: content of the card, see `card.make_card`; and weight_decay, for the regularization losses.
        formats: names out of FORMATS, one or more.
        endpoints: names of signatures to write (encoder, proj_head_0 .., logits, probabilities); None for all.
        decode_images: whether the SavedModel also takes encoded images.
        representative: float32 images [n, size, size, 3] in [0, 1] that calibrate an int8 LiteRT model; None writes no
            such model.
        overwrite: whether an existing export may be replaced.
        say: prints a line.

    Returns:
        the card, a dict.

    Raises:
        InputError: the folder or an endpoint is wrong, or the package of a format is missing.
        TrainingError: a file differs from the network by more than its tolerance, or cannot be written.
    """
    size = about["image_size"]
    outputs = with_probabilities(model(np.zeros((1, size, size, 3), np.float32), training=False))
    signatures = select_endpoints(signature_endpoints(outputs), endpoints, "the network")
    class_names = None if {*OF_CLASSES}.isdisjoint(signatures) else about["class_names"]
    with whole_folder(out, lambda path: check_out(path, overwrite)) as folder:
        files = []

        def wrote(kind, report):
            files.append({"format": kind, **report})
            if report.get("quantization"):
                closeness = (
                    f"mean cosine similarity {1 - report['difference']:.4f} with the network's vectors"
                )
            else:
                closeness = f"within {report['difference']:.1e} of the network"
            say(f"wrote    {report['file']}, {closeness}")

        # First those that refuse a network that is too large for one file.
        settings = {"image_size": size, "class_names": class_names, "endpoints": tuple(signatures.values())}
        if LITERT in formats:
            if representative is not None:
                path = f"{folder}/{names.INT8_FILE}"
                wrote(LITERT, litert.write_litert(model, path, **settings, representative=representative))
            wrote(LITERT, litert.write_litert(model, f"{folder}/{names.LITERT_FILE}", **settings))
        if ONNX in formats:
            wrote(ONNX, onnx_file.write_onnx(model, f"{folder}/{names.ONNX_FILE}", **settings))
        if SAVED_MODEL in formats:
            write_saved_model(
                model,
                folder,
                image_size=size,
                class_names=class_names,
                weight_decay=about["weight_decay"],
                decode_images=decode_images,
                antialias=about["antialias"],
                endpoints=endpoints,
            )
            report = check_saved_model(folder, model, size, signatures)
            wrote(SAVED_MODEL, {"file": names.GRAPH_FILE, "decode_images": decode_images, **report})
        if KERAS in formats:
            if class_names:
                model.class_names = class_names
            wrote(KERAS, keras_file.write_keras(model, f"{folder}/{names.KERAS_FILE}"))
        shapes = {
            name: (endpoint, [None, *outputs[endpoint].shape[1:]]) for name, endpoint in signatures.items()
        }
        if class_names:
            write_file(f"{folder}/{names.CLASS_NAMES}", names.class_names_text(class_names))
        files.sort(key=lambda file: names.FILES.index(file["file"]))
        content = card.make_card(model, about, shapes, files)
        write_file(f"{folder}/{CARD}", card.as_json(content))
        write_file(f"{folder}/{readme.FILE}", readme.as_text(content, os.path.basename(str(out).rstrip("/"))))
    return content
