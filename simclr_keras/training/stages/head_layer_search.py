"""--head_layer=auto: find the layer of the projection head that fine-tunes best, by cross-validation.

Every layer is fine-tuned on all folds but one with the settings of the run, and evaluated on the other. Every score is
written to head_layer.json, so that an interrupted search resumes after its last fold.
"""

import dataclasses
import time

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import accuracy
from simclr_keras.formatting import counted, duration
from simclr_keras.training.engine.epochs import epoch_ends
from simclr_keras.training.engine.learning import read_figures
from simclr_keras.training.engine.loop import make_step_function

FOLDS_SAVED = "finished folds are saved"
_WORDS = {"top1": "top-1", "balanced_accuracy": "balanced accuracy"}  # the choices of --best_metric


def search_head_layer(stage) -> int:
    """Return the layer with the best mean --best_metric over the folds, the lowest of equal ones.

    Raises:
        InputError: a class has fewer than 2 labeled images. Stopped: by a signal; finished folds are kept.
    """
    labels = _labels(stage)
    folds = _folds(labels, stage.config, stage.class_names)
    scores = _Scores(stage.run_dir, stage.config, stage.labeled.fingerprint())
    depth = stage.ancestor.architecture.head_depth
    stage.say(
        f"layers   trying 0 to {depth} of the projection head on {counted(len(folds), 'fold')} of "
        f"{counted(len(labels), 'label')}"
    )
    left = sum(scores.get(layer, fold) is None for layer in range(depth + 1) for fold in range(len(folds)))
    means, is_announced = [], False
    for layer in range(depth + 1):
        trial = None
        for fold, (train_rows, test_rows) in enumerate(folds):
            if scores.get(layer, fold) is None:
                trial = trial or _Trial(stage, layer, len(folds[0][0]))
                train, test = stage.labeled.subset(train_rows), stage.labeled.subset(test_rows)
                if not is_announced:
                    is_announced = True
                    seconds = trial.seconds(train)
                    stage.say(
                        f"layers   {counted(left, 'training')} of {counted(trial.steps, 'step')} each, about "
                        f"{duration(seconds * left)} in all; --head_layer=1 skips them"
                    )
                scores.set(layer, fold, trial.score(train, test))
                stage.stop.all_saved(FOLDS_SAVED)
        of_folds = [scores.get(layer, fold) for fold in range(len(folds))]
        means.append(np.mean(of_folds))
        shown = f"{_WORDS[stage.config.best_metric]} {means[-1]:.1%}"
        stage.say(f"layer {layer}  {shown} (folds {min(of_folds):.1%} to {max(of_folds):.1%})")
    best = int(np.argmax(means))
    stage.say(f"layer {best}  is used")
    return best


def fewest_labels(labels, class_names) -> int:
    """Return the number of labeled images of the smallest class; raise InputError if it is 1."""
    values, counts = np.unique(labels[labels >= 0], return_counts=True)
    if counts.min() < 2:
        name = class_names[values[counts.argmin()]]
        raise InputError(
            f"--head_layer=auto needs at least 2 labeled images of every class, but {name!r} has {counts.min()}; "
            "give more labels, or --head_layer=1."
        )
    return int(counts.min())


def _labels(stage):
    if stage.labeled.labels is None:
        stage.labeled = stage.labeled.read_contents()
    return stage.labeled.labels


def _folds(labels, config, class_names):
    """Return [(rows to train on, rows to evaluate on)], at most --cv_folds and one per label of any class."""
    from sklearn.model_selection import StratifiedKFold  # slow to import, and most runs do without it

    count = min(config.cv_folds, fewest_labels(labels, class_names))
    splitter = StratifiedKFold(count, shuffle=True, random_state=config.seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


class _Trial:
    """A learner on one layer, reset to its first weights for every fold, so that it is traced once."""

    def __init__(self, stage, layer, num_labels):
        self._stage = stage
        config = stage.config
        self._num_examples = max(num_labels, config.batch_size)
        self._learner, _ = stage.learner_on(layer, self._num_examples)
        self._start = {name: variable.numpy() for name, variable in self._learner.state().items()}
        self._take_steps = make_step_function(self._learner, stage.strategy, stage.stop, stage.hosts)
        self._recalibrate = stage.recalibration(self._learner, self.steps)
        self._extractor = stage.extractor(self._learner.model, "logits")

    @property
    def steps(self) -> int:
        """Return the steps of one training."""
        return epoch_ends(self._stage.config, self._num_examples)[-1]

    def seconds(self, train) -> float:
        """Return the time of one training, measured on a few steps; they have no effect on `score`."""
        iterator, count = self._batches(train), min(self._stage.config.steps_per_execution, self.steps)
        self._take_steps(iterator, count)  # this one is traced
        started = time.perf_counter()
        self._take_steps(iterator, count)
        read_figures(self._learner, count)  # waits for the device
        return (time.perf_counter() - started) / count * self.steps

    def score(self, train, test) -> float:
        """Train on one source and return --best_metric on the other."""
        config, stop = self._stage.config, self._stage.stop
        for name, variable in self._learner.state().items():
            variable.assign(self._start[name])
        steps, step = self.steps, 0
        iterator = self._batches(train)
        while step < steps:
            step += self._take_steps(iterator, min(config.steps_per_execution, steps - step))
            (stopping,) = self._stage.hosts.largest(stop.requested)
            if stopping:
                stop.leave(FOLDS_SAVED, stopping)
        read_figures(self._learner, step)  # raises if they are no longer finite
        self._recalibrate(self._stage.batches_of(train))
        outputs = self._extractor(test)
        return getattr(accuracy(outputs["logits"], outputs["label"]), config.best_metric)

    def _batches(self, train):
        batches, steps = self._stage.batches_of(train), self.steps
        # One call more than a training has, for the measurement.
        steps += self._stage.config.steps_per_execution
        return iter(
            self._stage.strategy.distribute_datasets_from_function(lambda context: batches(0, steps, context))
        )


class _Scores:
    """Scores by layer and fold, in head_layer.json; those of other settings or images are discarded."""

    def __init__(self, run_dir, config, data):
        self._run_dir = run_dir
        settings = {"labeled_images": data} | {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
            if field.metadata["resume"] != "free"  # free ones do not change the scores
        }
        self._metric = config.best_metric
        saved, scores = run_dir.read_fold_scores(config.NAME, self._metric)
        self._settings, self._scores = settings, scores if saved == settings else {}

    def get(self, layer, fold):
        return self._scores.get(f"layer {layer}, fold {fold}")

    def set(self, layer, fold, score):
        self._scores[f"layer {layer}, fold {fold}"] = score
        self._run_dir.write_fold_scores(self._settings, self._metric, self._scores)
