"""Export a run directory: its network in float32, and a card that describes the run."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from simclr_keras.data import pipeline
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.export.export_folder import check_out
from simclr_keras.export.remove_unused_layers import remove_unused_layers
from simclr_keras.export.write import check_packages, write_export
from simclr_keras.formatting import duration
from simclr_keras.interop.open_source import open_source
from simclr_keras.runs.ancestors import without_place
from simclr_keras.runs.history import read_metrics
from simclr_keras.runs.open_run import OpenRun

MAX_ROWS = 200  # of metrics.csv on a card
BATCH = 50


def run(config: Any, say: Callable = print) -> dict:
    """Export a run with the flags of simclr export; return the card.

    Raises:
        InputError: there is no such run or endpoint, or the folder cannot be used.
        TrainingError: a file differs from the network, or cannot be written.
    """
    started = time.monotonic()
    check_out(config.out, config.overwrite)
    check_packages(config.formats)
    source = open_source(config.run, config.checkpoint, flag="run", ema=config.ema)
    about = describe(source, config.license)
    for note in source.notes:
        say(f"weights  {source.path}: {note}")
    model = remove_unused_layers(source.model(), config.signatures, source.path)
    representative = representative_images(config, source) if config.int8 else None
    ema = ", momentum network" if config.ema else ""
    say(
        f"network  {about['architecture']['name']}, {about['stage']}{ema}, step {about['step']}: "
        f"{model.count_params():,} parameters"
    )
    card = write_export(
        model,
        config.out,
        about,
        formats=config.formats,
        endpoints=config.signatures,
        decode_images=config.decode_images,
        representative=representative,
        overwrite=config.overwrite,
        say=say,
    )
    seconds = duration(time.monotonic() - started)
    say(f"done in {seconds}: {config.out}/README.md shows how to use it")
    return card


def describe(source: OpenRun, license: str | None = None) -> dict:
    """Return the description of a run for `card.make_card`, with weight_decay and step.

    Without a license, that of an imported run is taken.
    """
    config, result = source.config, source.result
    facts = {name: value for name, value in result.to_json().items() if name != "ancestors"}
    fields = {field.name: field.metadata["group"] for field in dataclasses.fields(config)}
    settings = {
        name: getattr(config, name) for name, group in fields.items() if group != "Run" or name == "seed"
    }
    if not config.trains:
        settings = {
            name: value for name, value in settings.items() if fields[name] not in ("Training", "Views")
        }
    if result.imported:  # trained elsewhere: the settings are only those that were published
        settings = {"dataset": config.dataset}
    rows = read_metrics(source.files)
    return {
        "architecture": source.architecture.to_json(),
        "image_size": source.image_size,
        "antialias": source.eval_antialias,
        "class_names": None if source.class_names is None else list(source.class_names),
        "stage": config.NAME,
        "run": source.path,
        "checkpoint": source.checkpoint,
        **({"ema": True} if source.ema else {}),
        "step": source.weights.step,
        "results": facts if result.mode else None,
        "training": {name: value for name, value in settings.items() if value is not None},
        "history": rows[:: -(-len(rows) // MAX_ROWS) or 1],
        # An export may be published.
        "ancestors": [without_place(entry) for entry in result.ancestors or source.record.ancestors or []],
        "license": license or result.license,
        "weight_decay": getattr(config, "weight_decay", 0.0) if config.trains else 0.0,
    }


def representative_images(config: Any, source: OpenRun) -> np.ndarray:
    """Return float32 training images [n, size, size, 3] in [0, 1] that calibrate an int8 model.

    Raises:
        InputError: the data is missing.
    """
    own = source.config
    try:
        if config.int8_data:
            train = load_dataset(config.int8_data, data_dir=config.data_dir).train
        else:
            train = load_dataset(
                own.dataset,
                data_dir=config.data_dir or own.data_dir,
                labels=own.labels,
                unlabeled=own.unlabeled,
                eval_fraction=own.eval_fraction,
                held_out=source.split.held_out,
            ).train
    except InputError as error:
        if config.int8_data:
            raise
        raise InputError(
            f"--int8 needs images of the run's data, {own.dataset}: {error} Or give other images with --int8_data."
        ) from error
    count = min(config.int8_images, train.num_examples)
    if train.indexed and count < train.num_examples:
        train = train.subset(np.sort(np.random.default_rng(own.seed).permutation(train.num_examples)[:count]))
    settings = {"image_size": source.image_size, "antialias": source.eval_antialias}
    batches = pipeline.eval_batches(train, batch_size=min(BATCH, count), **settings)
    return np.concatenate([batch["image"] for batch in batches.take(-(-count // BATCH)).as_numpy_iterator()])[
        :count
    ]
