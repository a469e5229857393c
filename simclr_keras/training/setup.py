"""What every stage does before it trains: its data, checks against it, and how it introduces itself."""

import json

from simclr_keras.data import sources
from simclr_keras.errors import InputError


def default_model_dir(mode, config):
    """runs/MODE-DATASET-MODEL, so that the same command finds its run again."""
    data = config.dataset.rstrip("/").split("/")[-1] if ":" in config.dataset else config.dataset
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in data.removesuffix(".npz"))
    return f"runs/{mode}-{name}-{config.model}"


def load_data(config):
    """Returns the Splits a config names."""
    return sources.load(
        config.dataset,
        data_dir=config.data_dir,
        labels=config.labels,
        eval_fraction=config.eval_fraction,
        seed=config.seed,
        label_fraction=config.label_fraction,
        labels_per_class=config.labels_per_class,
    )


def check_batch(config, train, strategy):
    """Raises InputError where the batch does not fit the data or the devices."""
    replicas = strategy.num_replicas_in_sync
    if config.batch_size > train.num_examples:
        raise InputError(
            f"--batch_size={config.batch_size} is larger than the {train.num_examples} training images of "
            f"{config.dataset}; give --batch_size={train.num_examples} or less."
        )
    if config.batch_size % replicas:
        raise InputError(
            f"--batch_size={config.batch_size} does not divide over {replicas} replicas; give a multiple."
        )
    if config.batch_size // replicas < 2:
        raise InputError(
            f"--batch_size={config.batch_size} leaves each of {replicas} replicas fewer than 2 images."
        )


def write_split(run_dir, splits):
    """Writes down which images were held out, and the class names, for every later stage."""
    split = {"class_names": splits.class_names, "held_out": splits.held_out}
    run_dir.write_text("split.json", json.dumps(split, indent=1) + "\n")


def describe_data(splits):
    """Lines that say what data was found."""
    train = splits.train
    line = f"{train.name}: {train.num_examples} training images"
    if splits.class_names is None:
        line += ", no labels: no kNN and no probe"
    else:
        hidden = 0 if train.labels is None else int((train.labels < 0).sum())
        seen = f" ({train.num_examples - hidden} labels seen)" if hidden else ""
        line += f", {len(splits.class_names)} classes{seen}"
    if splits.evaluation is not None:
        line += f"; {splits.evaluation.num_examples} for evaluation"
        line += " (held out, ids in split.json)" if splits.held_out else ""
    return [line, *splits.notes]


def count_parameters(layer):
    """For people: 23.6 M, 715 k."""
    count = layer.count_params()
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def duration(seconds):
    """For people: 48 s, 2 min 3 s."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
