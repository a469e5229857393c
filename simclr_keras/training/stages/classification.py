"""What every stage that trains a classifier shares: how it is judged by labels, its best weights, its result."""

import math

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation import plots
from simclr_keras.evaluation.classification import confusion, per_class
from simclr_keras.evaluation.metrics import accuracy, accuracy_interval
from simclr_keras.runs import ancestors
from simclr_keras.runs.checkpoints import Checkpoints, steps_in
from simclr_keras.training.engine import checks, inputs
from simclr_keras.training.engine import strategy as strategies
from simclr_keras.training.engine.epochs import OnItsTurn, epoch_ends
from simclr_keras.training.stages.base import Stage
from simclr_keras.version import __version__

SCORES = ("top1", "top5")
BAD_LOSS = 2  # in units of the loss of guessing


def columns(figures):
    """Columns of metrics.csv for a learner's figures."""
    return ("epoch", "step", "learning_rate", *figures, *SCORES, "skipped_batches", "images_per_second")


def labeled_part(source):
    """The rows of a source whose labels are known: itself where all are, as in a stream of labeled records."""
    if source.labels is None or np.all(source.labels >= 0):
        return source
    return source.labeled()


class ClassificationStage(Stage):
    """A stage whose learner's model has logits. A subclass defines make_learner and `title`."""

    FILES = ("curves.png", "confusion.png", "metrics.csv")
    title = None  # what is done, as its first line says

    def check_data(self, splits):
        checks.check_labels(self.config, splits.train, f"--mode={self.MODE}")
        if splits.train.num_examples < 2:
            raise InputError(f"{self.config.dataset} leaves fewer than 2 images to train on; give more.")

    @property
    def class_names(self):
        return self.splits.class_names

    @property
    def labeled(self):
        """The labeled training images."""
        if self._labeled is None:
            self._labeled = labeled_part(self.splits.train)
        return self._labeled

    _labeled = None

    @property
    def shown(self):
        """The source whose images fill the batches."""
        return self.labeled

    @property
    def judging(self):
        """The evaluation source; None where there is none with labels."""
        evaluation = self.splits.evaluation
        return evaluation if evaluation is not None and evaluation.has_labels else None

    @property
    def num_examples(self):
        # Of fewer images than a batch holds, an epoch is a batch: else a run of many epochs would be a step or two.
        return max(self.shown.num_examples, self.config.batch_size)

    def introduction(self):
        config, schedule = self.config, self.schedule
        parameters = checks.count_parameters(self.learner.model)
        yield f"simclr_keras {__version__}: {self.title}, {parameters} parameters"
        yield f"devices  {strategies.describe(self.strategy, self.policy)}"
        for line in checks.describe_data(self.splits):
            yield f"data     {line}"
        if self.judging is None:
            hint = "; --eval_fraction holds one out" if self.splits.train.has_labels else ""
            yield f"data     no labeled evaluation split: no top-1{hint}"
        yield (
            f"steps    {schedule.total_steps} of {config.batch_size} images, {config.epochs} epochs; "
            f"{config.optimizer}, learning rate up to {schedule.peak:g} in {config.warmup_epochs:g} epochs"
        )
        if self.shown.num_examples < config.batch_size:
            kind = "labeled" if self.shown is self.labeled else "training"
            yield (
                f"steps    batches of {config.batch_size} are filled by repeating the {self.shown.num_examples} "
                f"{kind} images; an epoch is one batch, the first two"
            )

    def told(self):
        # The data of a distillation may know no names of its own.
        return {**super().told(), "class_names": list(self.class_names)}

    def compiled(self, learner, model, optimization, **arguments):
        """Returns a compiled learner (a class) of the model, and its learning rate by step; under the strategy."""
        config = self.config
        learner = learner(
            model,
            augment=inputs.labeled_views(config)[1],
            weight_decay=config.weight_decay,
            decayed_in_loss=optimization.decayed_in_loss,
            skip_nonfinite=config.on_nan == "skip_batch",
            **arguments,
        )
        learner.compile(optimization.optimizer)
        return learner, optimization.schedule

    def make_batches(self):
        return self.batches_of(self.shown)

    def batches_of(self, source, **settings):
        """The function of (first step, steps, input context) to batches of a source; settings as in `make_batches`."""
        crop, _ = inputs.labeled_views(self.config)
        return inputs.make_batches(self.config, source, crop, windows=1, repeat=True, **settings)

    def begin(self, first_step):
        config, self._outputs = self.config, None
        self._extractor = self.extractor(self.learner.model, "logits")
        weights = {name: value for name, value in self.learner.state().items() if name.startswith("model/")}
        best = Checkpoints(self.run_dir.best, weights, keep=1)
        for step in steps_in(self.run_dir.best):
            if step > first_step:  # of epochs that a damaged checkpoint has taken back
                best.forget(step)
        ends = epoch_ends(config, self.num_examples)

        def evaluate(epoch):
            found = self._evaluate()
            before = [row["top1"] for row in self.history.rows if row["top1"] is not None]
            if found.top1 > max(before, default=-1):
                best.save(ends[epoch])
            return {"top1": found.top1, "top5": found.top5}

        return OnItsTurn(None if self.judging is None else evaluate, config.eval_every_epochs, len(ends) - 1)

    def _evaluate(self):
        self._outputs = self._extractor(self.judging)
        return accuracy(self._outputs["logits"], self._outputs["label"])

    def end(self, history):
        loss = history.rows[-1]["loss"]
        if loss is not None and loss > BAD_LOSS * math.log(max(len(self.class_names), 2)):
            self.say(
                f"the loss ended at {loss:.1f}, far above that of guessing; give a lower --learning_rate in another "
                "--model_dir"
            )
        figures = {}
        if self.judging is not None:
            figures = self._judgment(history)
        self.run_dir.save_figure("curves.png", plots.curves_figure(history.rows))
        return self.make_result(history, figures)

    def _judgment(self, history):
        if self._outputs is None:  # the last epoch was over before this process began
            self._evaluate()
        outputs = self._outputs
        figure, found = judge(outputs["logits"], outputs["label"], self.class_names)
        if figure is not None:
            self.run_dir.save_figure("confusion.png", figure)
        rows = [row for row in history.rows if row["top1"] is not None]
        best = max(rows, key=lambda row: row["top1"]) if rows else None
        if best:
            found |= {"best_top1": best["top1"], "best_epoch": best["epoch"]}
        return found

    def make_result(self, history, figures):
        """The figures of a finished run, as result.json holds them."""
        return {
            **self.facts(self.learner.model, self.judging),
            **history.facts(self.learner.averages),
            "labels_used": self.labels_used,
            "classes": len(self.class_names),
            **figures,
        }

    @property
    def labels_used(self):
        """Labels of this data that this network and those it comes from were trained on."""
        earlier = ancestors.labels_of(self.lineage(), self.config.dataset, self.contents["contents"])
        return max(self.own_labels, earlier)

    @property
    def own_labels(self):
        """Labels that this run itself is trained on."""
        return self.labeled.num_examples

    def say_result(self, result):
        say_result(result, self.say)


def judge(scores, labels, class_names):
    """How good scores are: a confusion matrix as a figure (None where nothing is labeled), and figures.

    Args:
        scores: [n, classes]. labels: int [n], -1 for a row that is not counted. class_names: a name per class.

    Returns:
        (matplotlib Figure, dict of top1, top5, top1_interval, top5_interval, per_class).
    """
    known = labels >= 0
    if not known.any():
        return None, {}
    found, predicted = accuracy(scores, labels), np.argmax(scores, axis=-1)
    figure = plots.confusion_figure(confusion(labels[known], predicted[known], len(class_names)), class_names)
    return figure, {
        "top1": found.top1,
        "top5": found.top5,
        "top1_interval": list(accuracy_interval(round(found.top1 * found.total), found.total)),
        "top5_interval": list(accuracy_interval(round(found.top5 * found.total), found.total)),
        "per_class": per_class(labels[known], predicted[known], class_names),
    }


def say_result(result, say):
    """Prints top-1 and top-5 with their intervals, and the best epoch where that was another."""
    if "top1" not in result:
        return
    low, high = result["top1_interval"]
    best = ""
    if result.get("best_top1", result["top1"]) > result["top1"]:
        best = f"; best {result['best_top1']:.1%} after epoch {result['best_epoch']}, kept in best/"
    say(f"top-1    {result['top1']:.1%} (95 % interval {low:.1%} to {high:.1%}){best}")
    if result["classes"] > 5:  # else it is 1
        low, high = result["top5_interval"]
        say(f"top-5    {result['top5']:.1%} (95 % interval {low:.1%} to {high:.1%})")
