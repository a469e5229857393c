"""Writes an export: every format that is asked for, each held against the network, with one card, as a whole."""

import os

import numpy as np

from simclr_keras.export import card, card_text
from simclr_keras.export.endpoints import chosen, signature_endpoints
from simclr_keras.export.export_folder import CARD, write_text, written_whole
from simclr_keras.export.formats import keras_file, litert, onnx_file
from simclr_keras.export.formats.check import check_saved_model
from simclr_keras.export.formats.names import (
    GRAPH_FILE,
    INT8_FILE,
    KERAS,
    KERAS_FILE,
    LITERT,
    LITERT_FILE,
    ONNX,
    ONNX_FILE,
    SAVED_MODEL,
)
from simclr_keras.export.formats.saved_model import write_saved_model


def check_packages(formats):
    """Raises InputError where a format's package is missing."""
    for name, module in ((LITERT, litert), (ONNX, onnx_file)):
        if name in formats:
            module.require_packages()


def write_export(
    model,
    out,
    about,
    *,
    formats=(SAVED_MODEL,),
    endpoints=None,
    decode_images=False,
    representative=None,
    overwrite=False,
    say=print,
):
    """Writes a network as an export, or nothing at all.

    Args:
        model: built float32 SimCLRModel, `truncated` to the endpoints if those are not all.
        out: path of the folder.
        about: dict of what its card tells, see `card.make_card`; and weight_decay, for the regularization losses.
        formats: names out of FORMATS, one or more.
        endpoints: names of signatures to write (encoder, proj_head_0 .., logits); None for all.
        decode_images: whether the SavedModel also takes encoded images.
        representative: float32 images [n, size, size, 3] in [0, 1] by which an int8 LiteRT model is scaled beside the
            float one; None for no such model.
        overwrite: whether an export that is there may be replaced.
        say: prints a line.

    Returns:
        the card, a dict.

    Raises:
        InputError: the folder or an endpoint will not do, or a format's package is missing.
        TrainingError: a file differs from the network by more than its tolerance, or cannot be written.
    """
    size, names = about["image_size"], about["class_names"]
    outputs = model(np.zeros((1, size, size, 3), np.float32), training=False)
    signatures = chosen(signature_endpoints(outputs), endpoints, "the network")
    with written_whole(out, overwrite) as folder:
        files = []

        def wrote(kind, found):
            files.append({"format": kind, **found})
            say(f"wrote    {found['file']}, within {found['difference']:.1e} of the network")

        if SAVED_MODEL in formats:
            write_saved_model(
                model,
                folder,
                image_size=size,
                class_names=names,
                weight_decay=about["weight_decay"],
                decode_images=decode_images,
                endpoints=endpoints,
            )
            found = check_saved_model(folder, model, size, signatures)
            wrote(SAVED_MODEL, {"file": GRAPH_FILE, "decode_images": decode_images, **found})
        if KERAS in formats:
            wrote(KERAS, keras_file.write_keras(model, f"{folder}/{KERAS_FILE}"))
        if LITERT in formats:
            wrote(LITERT, litert.write_litert(model, f"{folder}/{LITERT_FILE}", image_size=size))
            if representative is not None:
                path = f"{folder}/{INT8_FILE}"
                wrote(
                    LITERT, litert.write_litert(model, path, image_size=size, representative=representative)
                )
        if ONNX in formats:
            wrote(ONNX, onnx_file.write_onnx(model, f"{folder}/{ONNX_FILE}", image_size=size))
        shapes = {
            name: (endpoint, [None, *outputs[endpoint].shape[1:]]) for name, endpoint in signatures.items()
        }
        told = card.make_card(model, about, shapes, files)
        write_text(f"{folder}/{CARD}", card.as_json(told))
        write_text(
            f"{folder}/{card_text.FILE}", card_text.as_text(told, os.path.basename(str(out).rstrip("/")))
        )
    return told
