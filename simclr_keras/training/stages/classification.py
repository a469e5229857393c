"""The frame of the stages that train a classifier: evaluation by labels, best weights, result."""

import functools
import math

import numpy as np

from simclr_keras.evaluation import plots
from simclr_keras.evaluation.classification import confusion, per_class
from simclr_keras.evaluation.features import knn_bank
from simclr_keras.evaluation.metrics import accuracy, accuracy_interval, top_k_accuracy
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.objectives.classification import balanced_weights
from simclr_keras.objectives.recalibration import Recalibration, trained_statistics
from simclr_keras.runs import ancestors
from simclr_keras.runs.checkpoints import Checkpoints, model_part, steps_in
from simclr_keras.runs.run_files import METRICS
from simclr_keras.training.engine import checks, inputs
from simclr_keras.training.engine.epochs import epoch_ends
from simclr_keras.training.engine.introduction import count_labels
from simclr_keras.training.engine.learning import classifier_problem
from simclr_keras.training.stages.judging import say_simple_baselines
from simclr_keras.training.stages.training_stage import TrainingStage, set_up_layers

SCORES = ("top1", "top5", "balanced_accuracy")
# In fewer steps, the moving statistics are measured once more at the end. The papers have 750 or more.
SHORT_RUN = 500
RECALIBRATION_BATCHES = 20  # at most, and no more than the run has steps
CHECKED_IMAGES = 1000  # training images that are classified at the end, at most
MOST_DRAWN = 2000  # classes in confusion.png: at 20,000 it would take 24 GB
LAG = 0.1  # of the accuracy on them behind that in training, beyond what chance explains


def columns(figures) -> tuple[str, ...]:
    """Return the columns of metrics.csv for a learner's figures."""
    names = (*figures, "loss_of_chance", *SCORES, "skipped_batches", "images_per_second")
    return ("epoch", "step", "learning_rate", *names)


def labeled_part(source):
    """Return the labeled rows of a source; the source itself if all are labeled, as in a stream."""
    if source.labels is None or np.all(source.labels >= 0):
        return source
    return source.labeled()


class ClassificationStage(TrainingStage):
    """A stage whose learner's model has logits. A subclass defines `title` and `make_learner`."""

    FILES = ("curves.png", "confusion.png", METRICS)
    TRAINED_PARTS = ("encoder",)  # start from trained weights, if any part does

    def check_data(self):
        if self.labels_needed_by:
            checks.check_labels(self.config, self.splits.train, self.labels_needed_by)
        repeat = self.labels_needed_by is not None
        checks.check_enough_images(self.config, self.splits.train, repeat, self.run_dir)
        super().check_data()

    @property
    def labels_needed_by(self) -> str | None:
        """Return the flag and value that need labeled training images, or None if nothing does."""
        return f"--mode={self.MODE}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.splits.class_names

    @functools.cached_property
    def labeled(self):
        """The labeled training images; a copy, so made once, on bound data."""
        return labeled_part(self.splits.train)

    @functools.cached_property
    def class_weights(self):
        """The weights of the classes in the loss, float [classes], or None."""
        if self.config.class_weights == "none":
            return None
        return balanced_weights(self.labeled.read_contents().labels, len(self.class_names))

    @property
    def shows_labeled_only(self) -> bool:
        """Return whether the batches of `make_batches` consist of labeled images only."""
        return True

    @property
    def evaluation(self):
        """Return the evaluation source, or None if there is none with labels."""
        source = self.splits.evaluation
        return source if source is not None and source.has_labels else None

    @property
    def _num_shown(self):
        train = self.splits.train
        return count_labels(train) if self.shows_labeled_only else train.num_examples

    def count_epoch_images(self):
        # An epoch is at least one batch; else many epochs over a few images would be a step or two.
        return max(self._num_shown, self.config.batch_size)

    def introduction(self):
        yield from super().introduction()
        if self.evaluation is None:
            hint = "; hold one out with --eval_fraction" if self.splits.train.has_labels else ""
            yield f"data     no labeled evaluation split: no top-1{hint}"
        if self.config.class_weights != "none":
            weights = self.class_weights[self.class_weights > 0]
            yield f"steps    the losses of the classes are weighted by {weights.min():.3g} to {weights.max():.3g}"
        size = self.config.batch_size
        if self._num_shown < size:
            kind = "labeled" if self.shows_labeled_only else "training"
            yield (
                f"steps    batches of {size} are filled by repeating the {self._num_shown} {kind} images; an epoch is "
                "one batch, the first epoch two"
            )

    def ancestry(self):
        # The data of a distillation may have no class names of its own.
        return {**super().ancestry(), "class_names": list(self.class_names)}

    def compiled(self, learner, model, optimization, **arguments):
        """Return a compiled learner (a class) of the model, and its learning rate by step; under the strategy."""
        config = self.config
        set_up_layers(model, config, self.TRAINED_PARTS)
        learner = learner(
            model,
            augment=inputs.color_and_blur(config) if "color" in config.augmentations else None,
            weight_decay=config.weight_decay,
            decayed_in_loss=optimization.decayed_in_loss,
            on_nan=config.on_nan,
            **arguments,
        )
        learner.compile(optimization.optimizer)
        return learner, optimization.schedule

    def make_batches(self):
        return self.batches_of(self.labeled if self.shows_labeled_only else self.splits.train)

    def batches_of(self, source, **settings):
        """Return the function of (first step, steps, input context) to batches; settings as in `make_batches`."""
        return inputs.make_batches(self.config, source, windows=1, **settings)

    def begin(self, first_step):
        self._outputs = None
        self._extractor = self.extractor(self.learner.model, "logits")
        state = model_part(self.learner.state())
        best = Checkpoints(self.run_dir.best, state, keep=1, writes=self.hosts.is_chief)
        for step in steps_in(self.run_dir.best):
            if step > first_step:  # of epochs that were lost with a damaged checkpoint
                best.forget(step)
        ends = epoch_ends(self.config, self.num_examples)

        def evaluate(epoch):
            scores = self._evaluate()
            figures = {name: getattr(scores, name) for name in SCORES}
            metric = self.config.best_metric
            earlier = [row[metric] for row in self.history.rows if row[metric] is not None]
            if figures[metric] > max(earlier, default=-1):
                best.save(ends[epoch])
            return figures

        return None if self.evaluation is None else evaluate

    def _evaluate(self):
        self._outputs = self._extractor(self.evaluation)
        return accuracy(self._outputs["logits"], self._outputs["label"])

    def finish_weights(self):
        self.recalibration(self.learner, self.schedule.total_steps)(self.make_batches())

    def recalibration(self, learner, steps):
        """Return a function of `make_batches` that makes the moving statistics fit the final weights of a short run.

        In a training of many steps moving averages do not lag behind the weights.
        """
        if steps >= SHORT_RUN or not trained_statistics(learner.model):
            return lambda batches: None
        recalibrate, count = Recalibration(learner, self.strategy), min(steps, RECALIBRATION_BATCHES)

        def run(batches):
            # The first ones of the run: of a stream, later ones would be read for nothing.
            recalibrate(
                self.strategy.distribute_datasets_from_function(lambda context: batches(0, count, context))
            )

        return run

    def chance_of(self, epoch):
        return {"loss_of_chance": math.log(max(len(self.class_names), 2))}

    def problem_of(self, row):
        return classifier_problem(row)

    def end(self):
        scores = {} if self.evaluation is None else self._scores()
        self.run_dir.write("curves.png", plots.png_bytes(plots.curves_figure(self.history.rows)))
        result = self.make_result(scores)
        top1, warnings = self._check_statistics(self.history.rows[-1])
        return {**result, "training_images_top1": top1, "warnings": [*result["warnings"], *warnings]}

    def _check_statistics(self, row):
        """Return the accuracy on labeled training images as they are evaluated, and a warning if it is far too low.

        Returns:
            (top-1 or None, list of at most one sentence): None and [] if nothing normalizes by moving statistics.
        """
        accuracy_in_training = row.get("accuracy")
        if accuracy_in_training is None or not trained_statistics(self.learner.model):
            return None, []
        images = knn_bank(self.labeled, CHECKED_IMAGES, self.config.seed)
        outputs = self._extractor(images)
        top1 = float(top_k_accuracy(outputs["logits"], outputs["label"], 1))
        # Of images that are not augmented the accuracy is higher, as a rule.
        noise = 2 * math.sqrt(0.25 / len(images))
        if accuracy_in_training - top1 <= LAG + noise:
            return top1, []
        fields = vars(self.config)
        freezing = "--freeze_through=4" if "freeze_through" in fields else "--freeze_backbone"
        hint = ""
        if fields.get("init") or fields.get("backbone_weights"):
            hint += ", or freeze batch normalization (--freeze_batch_norm)"
        if "freeze_through" in fields or is_backbone(self.architecture.name):
            hint += f", or freeze the encoder ({freezing})"
        return top1, [
            f"the accuracy in training is {accuracy_in_training:.1%}, but that on the same images in inference mode is "
            f"{top1:.1%}: the moving statistics of batch normalization do not fit the weights; give more --epochs or a "
            f"lower --learning_rate{hint}"
        ]

    def _scores(self):
        if self._outputs is None:  # an earlier process evaluated the last epoch
            self._evaluate()
        figure, scores = score_logits(self._outputs["logits"], self._outputs["label"], self.class_names)
        if figure is not None:
            self.run_dir.write("confusion.png", plots.png_bytes(figure))
        metric = self.config.best_metric
        rows = [row for row in self.history.rows if row[metric] is not None]
        best = max(rows, key=lambda row: row[metric]) if rows else None
        if best:
            scores |= {f"best_{metric}": best[metric], "best_top1": best["top1"], "best_epoch": best["epoch"]}
        return scores

    def make_result(self, scores: dict) -> dict:
        """Return the result of a finished run with these scores."""
        return {
            **self.facts(self.learner.model, self.evaluation),
            **self.history.facts(self.learner.averages),
            "labels_used": self.labels_used,
            "classes": len(self.class_names),
            **scores,
        }

    @property
    def labels_used(self) -> int:
        """Return how many labels of this data trained this network and those it comes from."""
        return max(self.own_labels, ancestors.labels_of(self.lineage(), self.config.dataset))

    @property
    def own_labels(self) -> int:
        """Return how many labels this run itself is trained on."""
        return self.labeled.num_examples

    def say_result(self, result):
        say_result(result, self.say)


def score_logits(logits, labels, class_names):
    """Score logits or other scores by labels.

    Args:
        logits: [n, classes]. labels: int [n], -1 for a row that is not counted. class_names: a name per class.

    Returns:
        (confusion matrix as a matplotlib Figure, None if no row is labeled or there are more than MOST_DRAWN classes;
        dict of top1, top5, balanced_accuracy, top1_interval, top5_interval, per_class, empty then).
    """
    labeled = labels >= 0
    if not labeled.any():
        return None, {}
    scores, predicted = accuracy(logits, labels), np.argmax(logits, axis=-1)
    figure = None
    if len(class_names) <= MOST_DRAWN:
        matrix = confusion(labels[labeled], predicted[labeled], len(class_names))
        figure = plots.confusion_figure(matrix, class_names)
    return figure, {
        "top1": scores.top1,
        "top5": scores.top5,
        "balanced_accuracy": scores.balanced_accuracy,
        "top1_interval": list(accuracy_interval(round(scores.top1 * scores.total), scores.total)),
        "top5_interval": list(accuracy_interval(round(scores.top5 * scores.total), scores.total)),
        "per_class": per_class(labels[labeled], predicted[labeled], class_names),
    }


def say_result(result: dict, say) -> None:
    """Print top-1 and top-5 with their intervals, balanced accuracy, and the best epoch if it was not the last."""
    say_simple_baselines(result, say)
    if "top1" not in result:
        return
    low, high = result["top1_interval"]
    metric = "balanced_accuracy" if "best_balanced_accuracy" in result else "top1"
    best = dict.fromkeys(("top1", "balanced_accuracy"), "")
    if result.get(f"best_{metric}", result[metric]) > result[metric]:
        best[metric] = (
            f"; best {result[f'best_{metric}']:.1%} after epoch {result['best_epoch']}, kept in best/"
        )
    say(f"top-1    {result['top1']:.1%} (95 % interval {low:.1%} to {high:.1%}){best['top1']}")
    if "balanced_accuracy" in result:  # runs of earlier versions have none
        balanced = f"{result['balanced_accuracy']:.1%}, the mean recall of the classes"
        say(f"balanced {balanced}{best['balanced_accuracy']}")
    if result["classes"] > 5:  # else it is 1
        low, high = result["top5_interval"]
        say(f"top-5    {result['top5']:.1%} (95 % interval {low:.1%} to {high:.1%})")
