"""An earlier run that a stage goes on from: checked, with what it hands down."""

import dataclasses
import os

from simclr_keras.errors import InputError
from simclr_keras.training import architecture as architectures
from simclr_keras.training.config import config_of_run
from simclr_keras.training.data_binding import SPLIT
from simclr_keras.training.restore import Weights
from simclr_keras.training.run_dir import CONFIG, RESULT, RunDir

# What a descendant's result.json says of an ancestor.
TOLD = (
    "mode",
    "model",
    "parameters",
    "dataset",
    "labels_used",
    "head_layer",
    "step",
    "epochs",
    "seed",
    "top1",
)


@dataclasses.dataclass(frozen=True)
class Ancestor:
    """A finished run.

    Attributes:
        path: as the user gave it. run_dir: RunDir. config: of its stage.
        architecture: arguments of `create_model`.
        split: what its split.json holds. result: what its result.json holds.
        checkpoint: "last" or "best": which of its weights count.
    """

    path: str
    run_dir: RunDir
    config: object
    architecture: dict
    split: dict
    result: dict
    checkpoint: str

    @property
    def class_names(self):
        names = self.split.get("class_names")
        return None if names is None else tuple(names)

    def weights(self):
        return Weights(self.run_dir, self.checkpoint)

    def lineage(self):
        """All runs from the first to this one, oldest first, as a descendant's result.json names them."""
        told = {name: self.result[name] for name in TOLD if name in self.result}
        return [*self.result.get("ancestors", []), {"run": self.path, **told, "checkpoint": self.checkpoint}]

    def selection(self, config):
        """The arguments of `sources.load` that keep a stage to the same held-out images and labels.

        Where its data is that of this run, or of one before it: what was held out then, whose labels may have been
        learnt from otherwise; and the labels that were seen, unless the stage says itself which may be.

        Raises:
            InputError: the config asks for another evaluation split, or there is no telling what was held out.
        """
        own, split = self._on_same_data(config)
        if own is None:
            return {}
        given = {}
        if split.get("held_out"):
            if config.eval_fraction not in (None, own.eval_fraction):
                raise InputError(
                    f"--eval_fraction={config.eval_fraction}: {self.path} goes back to a run on the same data, which "
                    f"has learnt from images that would be held out now; leave --eval_fraction out to evaluate on its."
                )
            given |= {"held_out": tuple(split["held_out"]), "eval_fraction": None}
        chosen = config.label_fraction is not None or config.labels_per_class is not None
        if split.get("labelled") is not None and not chosen:
            given["labelled"] = tuple(split["labelled"])
        return given

    def _on_same_data(self, config):
        """(config, split.json) of the latest run of the lineage with the data of a config; (None, None) of none."""
        if _data(config) == _data(self.config):
            return self.config, self.split
        for earlier in reversed(self.result.get("ancestors", [])):
            if _data(config)[0] != _place(earlier.get("dataset", "")):
                continue
            run_dir = RunDir(earlier["run"])
            held, split = (run_dir.read_json(name) for name in (CONFIG, SPLIT))
            if held is None or split is None:
                raise InputError(
                    f"{earlier['run']}, which {self.path} goes back to, is gone, so that there is no telling which "
                    f"images of {config.dataset} it held out; bring it back."
                )
            own = config_of_run(held, run_dir.file(CONFIG))
            if _data(config) == _data(own):
                return own, split
        return None, None


def find(path, flag, checkpoint="last"):
    """Returns the Ancestor in a run directory.

    Args:
        path: run directory. flag: name of the flag that gave it. checkpoint: "last" or "best".

    Raises:
        InputError: one line: there is no run, it is damaged or not finished, or lacks that checkpoint.
    """
    run_dir = RunDir(path)
    held, split = (run_dir.read_json(name) for name in (CONFIG, SPLIT))
    if held is None or split is None:
        raise InputError(f"--{flag}={path} is not a run directory: give the --model_dir of an earlier stage.")
    config = config_of_run(held, run_dir.file(CONFIG))
    result = run_dir.read_json(RESULT)
    if (
        result is None
        or result.get("finished") is not True
        or result.get("epochs") != getattr(config, "epochs", None)
    ):
        raise InputError(
            f"--{flag}={path} is not finished; repeat its own command until it ends, then this one."
        )
    weights = Weights(run_dir, checkpoint)
    architecture = architectures.read(run_dir)
    if architecture is None:
        architecture = architectures.of_pretraining(config, weights.num_classes)
    return Ancestor(run_dir.path, run_dir, config, architecture, split, result, checkpoint)


def inherit(config, ancestor, flag):
    """Returns the config with what it leaves open taken from the ancestor: dataset, model, image size.

    Raises:
        InputError: --model names another architecture.
    """
    own = ancestor.config
    found = {}
    if config.dataset is None:
        found |= {"dataset": own.dataset, "labels": config.labels or own.labels}
        found["data_dir"] = config.data_dir or own.data_dir
    if config.model is None:
        found["model"] = ancestor.architecture["name"]
    if config.image_size is None:
        found["image_size"] = ancestor.architecture["image_size"]
    config = dataclasses.replace(config, **found)
    if config.eval_fraction is None and _data(config) == _data(own):
        config = dataclasses.replace(config, eval_fraction=own.eval_fraction)
    return config


def check_same_model(config, ancestor, flag):
    """Raises InputError where --model was given and is not what the ancestor holds."""
    name = ancestor.architecture["name"]
    if config.model != name:
        raise InputError(
            f"--model={config.model}, but --{flag}={ancestor.path} holds {name}; leave --model out."
        )


def _data(config):
    """What tells the data of two configs apart, however their paths are spelled."""
    return _place(config.dataset), None if config.labels is None else os.path.realpath(config.labels)


def _place(dataset):
    kind, _, path = dataset.partition(":")
    local = kind in ("folder", "npz") and "://" not in path
    return f"{kind}:{os.path.realpath(path)}" if local else dataset
