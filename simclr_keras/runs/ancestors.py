"""An earlier run that a stage goes on from: checked, with what it hands down."""

import dataclasses
import os

import tensorflow as tf

from simclr_keras.config.modes import config_of_run
from simclr_keras.data.sources.load_dataset import DEFAULT_EVAL_FRACTION
from simclr_keras.errors import InputError
from simclr_keras.runs import architecture as architectures
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.open_run import OpenRun, Weights, architecture_of, check_has_network
from simclr_keras.runs.run_dir import CONFIG, RESULT, SPLIT, RunDir

# What a descendant's result.json says of an ancestor.
TOLD = (
    "mode",
    "model",
    "parameters",
    "dataset",
    "contents",
    "labels_used",
    "head_layer",
    "step",
    "epochs",
    "seed",
    "top1",
)


@dataclasses.dataclass(frozen=True)
class Ancestor(OpenRun):
    """A finished run.

    Attributes:
        result: what result.json holds. checkpoint: "last" or "best": which of its weights count.
    """

    result: dict
    checkpoint: str

    @property
    def path(self):
        return self.run_dir.path

    def lineage(self):
        """All runs from the first to this one, oldest first, as a descendant's result.json names them."""
        told = {name: self.result[name] for name in TOLD if name in self.result}
        return [
            *(self.result.get("ancestors") or []),
            {"run": self.path, **told, "checkpoint": self.checkpoint},
        ]

    def selection(self, config, contents=None):
        """The arguments of `load_dataset` that keep a stage to the same held-out images and labels.

        Where its data is that of this run, or of one before it: what was held out then, whose labels may have been
        learned from otherwise; and the labels that were seen, unless the stage says itself which may be.

        Args:
            config: of the stage.
            contents: of its images, by `data.contents.contents_of`, to know them again in another place; None where
                they have not been opened yet, or nobody is judged by some of them.

        Raises:
            InputError: the config asks for another evaluation split, or there is no telling what was held out.
        """
        own, split, held = self._on_same_data(config, contents)
        if own is None:
            return {}
        given = {}
        if split.get("held_out"):
            if config.eval_fraction not in (None, own.eval_fraction or DEFAULT_EVAL_FRACTION):
                raise InputError(
                    f"--eval_fraction={config.eval_fraction}: {self.path} goes back to a run on the same data, which "
                    f"has learned from images that would be held out now; leave --eval_fraction out to evaluate on its."
                )
            given |= {"held_out": tuple(split["held_out"]), "eval_fraction": None}
        chosen = held.get("labels_chosen", chose_labels(own)) and not chose_labels(config)
        if chosen and split.get("labeled") is not None:
            given["labeled"] = tuple(split["labeled"])
        return given

    def _on_same_data(self, config, contents):
        """(config, split.json, config.json) of the latest run of the lineage with that data; thrice None of none."""
        place, found = place_of(config.dataset), None
        for own, split, held in self._with_data_like(config, contents):
            here = place == held.get("place", place_of(own.dataset))
            # A run that held nothing out, as on these images without their labels, has nothing to hand down.
            if split.get("held_out") and (
                here or (contents is not None and contents == split.get("contents"))
            ):
                return own, split, held
            if here and found is None:
                found = own, split, held
                if contents is None:
                    break
        return found or (None, None, None)

    def _with_data_like(self, config, contents):
        """Yields (config, split.json, config.json) of this run and, from the latest on, of those before it whose data
        is of the same kind.

        Raises:
            InputError: one of them is gone, and nothing tells that its data was other data.
        """
        place = place_of(config.dataset)
        yield self.config, self.split, self.held
        # A run that was on this very data tells what it knows, wherever those before it are.
        here = place == self.held.get("place", place_of(self.config.dataset))
        for earlier in reversed(self.result.get("ancestors") or []):
            # Runs that an export tells of may be of another machine; what they held out is not known here.
            if earlier.get("exported") or _kind(place) != _kind(earlier["dataset"]):
                continue
            run_dir = RunDir(earlier["run"], self.run_dir.flag)
            held, split = (run_dir.read_json(name) for name in (CONFIG, SPLIT))
            if held is None or split is None:
                told = earlier.get("contents")
                other = place != place_of(earlier["dataset"])
                if here or (other and (contents is None or told not in (None, contents))):
                    continue
                raise InputError(
                    f"{earlier['run']}, which {self.path} goes back to, is gone, so that there is no telling which "
                    f"images of {config.dataset} it held out; bring it back."
                )
            yield config_of_run(held, run_dir.file(CONFIG)), split, held


def find(path, flag, checkpoint="last"):
    """Returns the Ancestor in a run directory.

    Args:
        path: run directory. flag: name of the flag that gave it. checkpoint: "last" or "best".

    Raises:
        InputError: one line: there is no run, it is damaged or not finished, or lacks that checkpoint.
    """
    run_dir = RunDir(path, flag)
    run_dir.check_path()
    held, split = (run_dir.read_json(name) for name in (CONFIG, SPLIT))
    if held is None or split is None:
        why = f"it holds no {SPLIT if held else CONFIG}" if tf.io.gfile.isdir(path) else "no such directory"
        raise InputError(
            f"--{flag}={path} is not a run directory ({why}); give the --model_dir of an earlier stage."
        )
    config = config_of_run(held, run_dir.file(CONFIG))
    result = run_dir.read_json(RESULT)
    for earlier in (result or {}).get("ancestors") or []:
        for key, kind in (("run", str), ("dataset", str), ("mode", str), ("labels_used", int)):
            if not isinstance(earlier.get(key, 0 if kind is int else None), kind):
                raise run_dir.damaged(RESULT, f"{key} of an ancestor is {earlier.get(key)!r}")
    if (
        result is None
        or result.get("finished") is not True
        or result.get("epochs") != getattr(config, "epochs", None)
    ):
        raise InputError(
            f"--{flag}={path} is not finished; repeat its own command until it ends, then this one."
        )
    _check_has_weights(run_dir, config, checkpoint)
    weights = Weights(run_dir, checkpoint)
    architecture = architecture_of(run_dir, config, weights)
    if weights.num_classes != architecture.get("num_classes"):
        raise run_dir.damaged(
            architectures.FILE,
            f"it has {architecture.get('num_classes')} classes, the checkpoint {weights.num_classes}",
        )
    return Ancestor(run_dir, config, held, split, architecture, weights, result, checkpoint)


def _check_has_weights(run_dir, config, checkpoint):
    """Raises InputError where a finished run has no such checkpoint."""
    check_has_network(run_dir, config)
    if not steps_in(run_dir.checkpoints):
        raise InputError(
            f"{run_dir.path} has no checkpoint; bring back its folder, or give another --{run_dir.flag}."
        )
    if checkpoint == "best" and not steps_in(run_dir.best):
        raise InputError(
            f"{run_dir.path} has no best checkpoint, which is kept where a classifier is evaluated; give "
            f"--{run_dir.flag}_checkpoint=last."
        )


def inherit(config, ancestor, flag):
    """Returns the config with what it leaves open taken from the ancestor: dataset, model, image size.

    Raises:
        InputError: --image_size is not what a keras: backbone was built for.
    """
    own = ancestor.config
    found = {}
    if config.dataset is None and config.labels is not None and not own.dataset.startswith("folder:"):
        raise InputError(
            f"--labels={config.labels} goes with folder:PATH, but --{flag}={ancestor.path} was trained on "
            f"{own.dataset}; give another --{flag}, or --dataset=folder:PATH."
        )
    if config.dataset is None:
        found |= {"dataset": own.dataset, "labels": config.labels or own.labels}
        found["data_dir"] = config.data_dir or own.data_dir
    if config.model is None:
        found["model"] = ancestor.architecture["name"]
    if config.image_size is None:
        # The architecture's says what its stem was made for; the run may have seen others.
        found["image_size"] = ancestor.image_size
    config = dataclasses.replace(config, **found)
    if config.eval_fraction is None and place_of(config.dataset) == place_of(own.dataset):
        config = dataclasses.replace(config, eval_fraction=own.eval_fraction)
    check_image_size(config, ancestor, flag)
    return config


def labels_of(lineage, dataset, contents=None):
    """The most labels of a dataset that any network of a lineage was trained on (a probe's do not count).

    Args:
        lineage: runs as result.json names them. dataset: name. contents: of the dataset, to know it in another place.
    """
    trained = ("finetune", "supervised", "distill")
    return max(
        (
            run.get("labels_used") or 0
            for run in lineage
            if run.get("mode") in trained
            and (
                place_of(run.get("dataset")) == place_of(dataset)
                or (contents is not None and run.get("contents") == contents)
            )
        ),
        default=0,
    )


def check_image_size(config, ancestor, flag):
    """Raises InputError where the ancestor's network cannot take images of that size."""
    name, size = ancestor.architecture["name"], ancestor.architecture["image_size"]
    if name.startswith("keras:") and config.image_size != size:
        raise InputError(
            f"--image_size={config.image_size}, but --{flag}={ancestor.path} holds {name}, built for {size}; leave "
            "--image_size out."
        )


def check_head_layer(layer, ancestor):
    """Raises InputError where the projection head of --init has no such layer."""
    depth = architectures.head_depth(ancestor.architecture)
    if layer > depth:
        layers = f"layers 0 to {depth}" if depth else "layer 0 alone (the encoder's output)"
        raise InputError(
            f"--head_layer={layer} is beyond the projection head of --init={ancestor.path}, which has {layers}."
        )


def check_classes(ancestor, flag, config, splits):
    """Raises InputError, with both counts, where labeled data has other classes than the ancestor's classifier."""
    known, names, classes = ancestor.architecture["num_classes"], ancestor.class_names, splits.class_names
    if classes is not None and (len(classes) != known or (names and tuple(names) != tuple(classes))):
        raise InputError(
            f"--{flag}={ancestor.path} knows {known} classes ({_first(names)}), {config.dataset} has {len(classes)} "
            f"({_first(classes)}); give data with its classes, or another --{flag}."
        )


def _first(names):
    return "names unknown" if not names else ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def check_same_model(config, ancestor, flag):
    """Raises InputError where --model was given and is not what the ancestor holds."""
    name = ancestor.architecture["name"]
    if config.model != name:
        raise InputError(
            f"--model={config.model}, but --{flag}={ancestor.path} holds {name}; leave --model out."
        )


def _kind(dataset):
    return dataset.partition(":")[0]


def chose_labels(config):
    """Whether a config says which labels may be seen."""
    return config.label_fraction is not None or config.labels_per_class is not None


def place_of(dataset):
    """The same for the same images, however the path or the version is spelled; labels may have come since."""
    kind, _, path = str(dataset).partition(":")
    if kind not in ("folder", "npz"):
        return kind  # without the version of a TFDS name
    return str(dataset) if "://" in path else f"{kind}:{os.path.realpath(path)}"
