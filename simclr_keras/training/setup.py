"""What every stage does before it trains: its data, checks against it, and how it introduces itself."""

import hashlib
import json

import numpy as np

from simclr_keras.data import sources
from simclr_keras.errors import InputError

SPLIT = "split.json"


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


def check_batch(config, strategy):
    """Raises InputError where the batch does not suit the devices; asked before the data is opened."""
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise InputError(
            f"--batch_size={config.batch_size} does not divide over {replicas} replicas; give a multiple."
        )
    if config.batch_size // replicas < 2:
        raise InputError(
            f"--batch_size={config.batch_size} leaves each of {replicas} replicas fewer than 2 images; "
            f"give at least {2 * replicas}."
        )


def check_batch_fits(config, train):
    """Raises InputError where the batch is larger than the data."""
    if train.num_examples < 2:
        raise InputError(
            f"{config.dataset} leaves fewer than 2 images to train on; give more, or hold out fewer."
        )
    if config.batch_size > train.num_examples:
        default = " (the paper's, for ImageNet)" if config.batch_size == type(config).batch_size else ""
        raise InputError(
            f"--batch_size={config.batch_size}{default} is larger than the {train.num_examples} training images of "
            f"{config.dataset}; give --batch_size={train.num_examples} or less; README has settings for small folders."
        )


def bind_data(run_dir, splits, first_step):
    """Writes split.json (class names, held-out ids, size and fingerprint of the data) for every later stage.

    Raises:
        InputError: a resumed run finds other data than it began with.
    """
    train = splits.train
    split = {
        "class_names": None if splits.class_names is None else list(splits.class_names),
        "training_images": train.num_examples,
        "fingerprint": _fingerprint(train),
        "held_out": list(splits.held_out),
    }
    text = run_dir.read_text(SPLIT)
    if first_step == 0 or text is None:
        run_dir.write_text(SPLIT, json.dumps(split, indent=1) + "\n")
        return
    old = json.loads(text)
    if old.get("fingerprint") != split["fingerprint"] or old.get("held_out") != split["held_out"]:
        raise InputError(
            f"{train.name} is not the data that --model_dir={run_dir.path} began with: images or labels differ "
            f"({old.get('training_images')} training images then, {train.num_examples} now); bring back the data, or "
            "give another --model_dir."
        )


def _fingerprint(source):
    """A digest of which images and labels a source has, in their order; the pixels are not read."""
    digest = hashlib.blake2b(digest_size=16)
    if source.indexed:
        for name in source.ids:
            digest.update(name.encode() + b"\0")
    else:
        # Ids of a stream are row numbers: a million of them would say no more than their count.
        digest.update(str(source.num_examples).encode())
    if source.labels is not None:
        digest.update(np.ascontiguousarray(source.labels, np.int32).tobytes())
    return digest.hexdigest()


def model_arguments(config):
    """The arguments of `create_model`, its name first among them, that a config's settings stand for."""
    return {
        "name": config.model,
        "proj_layers": config.proj_layers,
        "proj_dim": config.proj_dim,
        "proj_mode": config.proj_mode,
        "proj_hidden_dim": config.proj_hidden_dim,
        "image_size": config.image_size,
        "se_ratio": config.se_ratio,
        "head_layer": config.probe_layer,
        "stop_gradient": True,
    }


def describe_data(splits):
    """Lines that say what data was found."""
    train = splits.train
    line = f"{train.name}: {train.num_examples} training images"
    if not train.has_labels:
        line += ", no labels: no kNN and no probe"
    else:
        hidden = 0 if train.labels is None else int((train.labels < 0).sum())
        seen = f" ({train.num_examples - hidden} labels seen)" if hidden else ""
        line += f", {len(splits.class_names)} classes{seen}"
    if train.has_labels and splits.evaluation is not None:
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
