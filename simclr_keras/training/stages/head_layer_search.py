"""--head_layer=auto: the layer of the projection head that fine-tunes best, by cross-validation on the labels.

Every layer is fine-tuned on all folds but one with the settings of the run, and judged on the one left out. What is
measured is written down fold by fold, so that a run that was stopped does not measure twice.
"""

import dataclasses
import json

import numpy as np
from sklearn.model_selection import StratifiedKFold

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import top_k_accuracy
from simclr_keras.runs import architecture as architectures
from simclr_keras.training.engine.epochs import epoch_ends
from simclr_keras.training.engine.loop import make_step_function
from simclr_keras.training.engine.nonfinite import read_figures

FILE = "head_layer.json"


def choose_head_layer(stage):
    """Returns the number of the layer with the best mean top-1 over the folds; of equal ones the lowest.

    Args:
        stage: a Finetuning with its data, and `stop`.

    Raises:
        InputError: a class has fewer than 2 labeled images.
        Stopped: the program was asked to stop; the folds that are done are kept.
    """
    labels = _labels(stage)
    folds = _folds(labels, stage.config, stage.class_names)
    found = _Found(stage.run_dir, stage.config)
    depth = architectures.head_depth(stage.ancestor.architecture)
    stage.say(
        f"layers   0 to {depth} of the projection head are tried on {len(folds)} folds of {len(labels)} labels"
    )
    for layer in range(depth + 1):
        trial = None
        for fold, (rest, held) in enumerate(folds):
            if found.get(layer, fold) is None:
                trial = trial or _Trial(stage, layer, len(folds[0][0]))
                found.set(layer, fold, trial.top1(stage.labeled.subset(rest), stage.labeled.subset(held)))
                stage.stop.all_saved("the folds measured so far are kept")
        shares = [found.get(layer, fold) for fold in range(len(folds))]
        stage.say(
            f"layer {layer}  top-1 {np.mean(shares):.1%} (folds {min(shares):.1%} to {max(shares):.1%})"
        )
    means = [np.mean([found.get(layer, fold) for fold in range(len(folds))]) for layer in range(depth + 1)]
    chosen = int(np.argmax(means))
    stage.say(f"layer {chosen}  is taken")
    return chosen


def fewest_labels(labels, class_names):
    """Returns how many labeled images the class with the fewest has.

    Args:
        labels: int [n]; -1 is none. class_names: of the classes.

    Raises:
        InputError: that is one.
    """
    values, counts = np.unique(labels[labels >= 0], return_counts=True)
    if counts.min() < 2:
        name = class_names[values[counts.argmin()]]
        raise InputError(
            f"--head_layer=auto needs at least 2 labeled images of every class, {name!r} has {counts.min()}; "
            "give more labels, or --head_layer=1."
        )
    return int(counts.min())


def _labels(stage):
    source = stage.labeled
    if source.labels is None:
        source = stage._labeled = source.read_labels()
    return source.labels


def _folds(labels, config, class_names):
    """[(rows to train on, rows held out)], as many as the smallest class allows, at most --cv_folds."""
    count = min(config.cv_folds, fewest_labels(labels, class_names))
    splitter = StratifiedKFold(count, shuffle=True, random_state=config.seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


class _Trial:
    """A learner on one layer, taken back to its start for every fold, so that it is traced once."""

    def __init__(self, stage, layer, num_labels):
        self._stage = stage
        config = stage.config
        self._num_examples = max(num_labels, config.batch_size)
        self._learner, _ = stage.learner_on(layer, self._num_examples)
        self._start = {name: variable.numpy() for name, variable in self._learner.state().items()}
        self._take_steps = make_step_function(self._learner, stage.strategy, stage.stop)
        self._extractor = stage.extractor(self._learner.model, "logits")

    def top1(self, rest, held):
        """Trains on one source, and returns the share of the other that is right."""
        config, stop = self._stage.config, self._stage.stop
        for name, variable in self._learner.state().items():
            variable.assign(self._start[name])
        steps, step = epoch_ends(config, self._num_examples)[-1], 0
        batches = self._stage.batches_of(rest)
        iterator = iter(
            self._stage.strategy.distribute_datasets_from_function(lambda context: batches(0, steps, context))
        )
        while step < steps:
            step += self._take_steps(iterator, min(config.steps_per_execution, steps - step))
            if stop.requested:
                stop.leave("the folds measured so far are kept")
        read_figures(self._learner, step)  # raises where they are no longer finite
        outputs = self._extractor(held)
        return top_k_accuracy(outputs["logits"], outputs["label"], 1)


class _Found:
    """Top-1 by layer and fold, in head_layer.json; what was measured with other settings does not count."""

    def __init__(self, run_dir, config):
        self._run_dir = run_dir
        settings = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
            if field.metadata["resume"] != "free"  # which could bring another outcome
        }
        try:
            held = run_dir.read_json(FILE) or {}
        except InputError:
            held = {}
        top1 = held.get("top1") if held.get("settings") == settings else None
        self._held = {"settings": settings, "top1": top1 if isinstance(top1, dict) else {}}

    def get(self, layer, fold):
        return self._held["top1"].get(f"layer {layer}, fold {fold}")

    def set(self, layer, fold, top1):
        self._held["top1"][f"layer {layer}, fold {fold}"] = top1
        self._run_dir.write_text(FILE, json.dumps(self._held, indent=2) + "\n")
