"""From a run directory to an export: the network in float32, and what its card tells of the run."""

import dataclasses
import time

import numpy as np

from simclr_keras.data import pipeline
from simclr_keras.data.sources import load_dataset
from simclr_keras.errors import InputError
from simclr_keras.export.export_folder import check_out
from simclr_keras.export.select_endpoints import truncated
from simclr_keras.export.write import check_packages, write_export
from simclr_keras.formatting import duration
from simclr_keras.runs.open_run import open_run
from simclr_keras.runs.run_dir import RESULT

MOST_ROWS = 200  # of metrics.csv on a card
BATCH = 50


def run(config, say=print):
    """Exports as the flags of export.py say; returns the card.

    Raises:
        InputError: there is no such run or endpoint, or the folder will not do.
        TrainingError: what was written differs from the network, or cannot be written.
    """
    started = time.monotonic()
    check_out(config.out, config.overwrite)
    check_packages(config.formats)
    opened = open_run(config.run, config.checkpoint, flag="run")
    about = describe(opened, config.checkpoint, config.license)
    model = truncated(opened.model(), config.signatures, opened.run_dir.path)
    representative = representative_images(config, opened) if config.int8 else None
    say(
        f"network  {about['architecture']['name']}, {about['stage']}, step {about['step']}: "
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
    took = duration(time.monotonic() - started)
    say(f"done in {took}: {config.out}/README.md shows how to use it")
    return card


def describe(opened, checkpoint="last", license=None):
    """Returns what a card tells of a run, see `card.make_card`, with weight_decay and step.

    Args:
        opened: OpenRun. checkpoint: "last" or "best", which of its weights. license: None for what the run itself says.
    """
    config, run_dir = opened.config, opened.run_dir
    results = run_dir.read_json(RESULT)
    told = {} if results is None else {name: value for name, value in results.items() if name != "ancestors"}
    fields = {field.name: field.metadata["group"] for field in dataclasses.fields(config)}
    settings = {
        name: getattr(config, name) for name, group in fields.items() if group != "Run" or name == "seed"
    }
    if told.get("imported"):  # trained elsewhere: the settings are only those that were published
        settings = {"dataset": config.dataset}
    rows = run_dir.read_metrics()
    return {
        "architecture": opened.architecture,
        "image_size": opened.image_size,
        "class_names": None if opened.class_names is None else list(opened.class_names),
        "stage": config.NAME,
        "run": run_dir.path,
        "checkpoint": checkpoint,
        "step": opened.weights.step,
        "results": told or None,
        "training": {name: value for name, value in settings.items() if value is not None},
        "history": rows[:: -(-len(rows) // MOST_ROWS) or 1],
        "ancestors": (results or {}).get("ancestors") or opened.held.get("ancestors") or [],
        "license": license or told.get("license"),
        "weight_decay": getattr(config, "weight_decay", 0.0),
    }


def representative_images(config, opened):
    """Returns float32 images [n, size, size, 3] in [0, 1] of the training data, for an int8 model.

    Raises:
        InputError: the data is not there.
    """
    own = opened.config
    try:
        if config.int8_data:
            train = load_dataset.load(config.int8_data, data_dir=config.data_dir).train
        else:
            train = load_dataset.load(
                own.dataset, data_dir=config.data_dir or own.data_dir, labels=own.labels
            ).train
    except InputError as error:
        if config.int8_data:
            raise
        raise InputError(
            f"--int8 wants images of the run's data, {own.dataset}, and: {error} Else give others by --int8_data."
        ) from error
    count = min(config.int8_images, train.num_examples)
    if train.indexed and count < train.num_examples:
        train = train.subset(np.sort(np.random.default_rng(own.seed).permutation(train.num_examples)[:count]))
    batches = pipeline.eval_batches(train, image_size=opened.image_size, batch_size=min(BATCH, count))
    return np.concatenate([batch["image"] for batch in batches.take(-(-count // BATCH)).as_numpy_iterator()])[
        :count
    ]
