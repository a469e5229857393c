"""--mode=pretrain: contrastive learning on unlabeled images, watched by kNN and an online probe."""

import numpy as np
import tensorflow as tf

from simclr_keras.data import pipeline
from simclr_keras.evaluation import plots
from simclr_keras.evaluation.features import RepresentationScore, knn_bank
from simclr_keras.objectives.contrastive import FIGURES as CONTRASTIVE_FIGURES
from simclr_keras.objectives.contrastive import PROBE_FIGURES, ContrastiveLearner
from simclr_keras.runs import architecture as architectures
from simclr_keras.training.engine import checks, inputs
from simclr_keras.training.engine import strategy as strategies
from simclr_keras.training.engine.epochs import OnItsTurn, epoch_ends
from simclr_keras.training.engine.optimizers import make_optimization
from simclr_keras.training.stages import baselines
from simclr_keras.training.stages.base import Stage
from simclr_keras.version import __version__

MODE = "pretrain"
FIGURES = (*CONTRASTIVE_FIGURES, *PROBE_FIGURES)
SCORES = ("knn_top1", "knn_top5", "probe_top1", "probe_top5")
COLUMNS = ("epoch", "step", "learning_rate", *FIGURES, *SCORES, "skipped_batches", "images_per_second")
SHOWN_PAIRS = 16
PIXEL_SIZE = 32  # of the images whose raw pixels are compared


def run(config, say=print):
    """Pretrains as a PretrainConfig says and returns the result, which is also in result.json.

    Raises:
        InputError, TrainingError, Stopped: see `Stage.run`.
    """
    return Pretraining(config, say).run()


class Pretraining(Stage):
    """A run of --mode=pretrain."""

    MODE = MODE
    COLUMNS = COLUMNS

    def make_learner(self):
        classes = len(self.splits.class_names) if self.splits.train.has_labels else None
        self.architecture = architectures.of_pretraining(self.config, classes)
        return make_learner(self.config, self.architecture, self.splits, self.strategy, self.policy)

    def make_batches(self):
        return make_batches(self.config, self.splits.train)

    def introduction(self):
        config, schedule = self.config, self.schedule
        parameters = checks.count_parameters(self.learner.model.encoder)
        yield f"simclr_keras {__version__}: pretraining {config.model}, {parameters} parameters"
        yield f"devices  {strategies.describe(self.strategy, self.policy)}"
        for line in checks.describe_data(self.splits):
            yield f"data     {line}"
        yield (
            f"steps    {schedule.total_steps} of {config.batch_size} images, {config.epochs} epochs; "
            f"{config.optimizer}, learning rate up to {schedule.peak:g} in {config.warmup_epochs:g} epochs"
        )

    def begin(self, first_step):
        config, run_dir = self.config, self.run_dir
        if first_step == 0:
            run_dir.save_figure("views.png", draw_views(config, self.splits.train, self.learner.augment))
            self.say(f"views    {run_dir.file('views.png')} shows pairs as the network sees them")
        extractor = self.extractor(self.learner.model, "final_avg_pool", "logits")
        score, self._baselines = make_scores(config, self.splits, extractor, run_dir)
        self._figures = self._baselines.before(first_step) if self._baselines else {}
        last = len(epoch_ends(config, self.num_examples)) - 1
        return OnItsTurn(None if score is None else lambda epoch: score(), config.eval_every_epochs, last)

    def end(self, history):
        figures, references = self._figures, None
        if self._baselines:
            figures = figures | self._baselines.after()
            references = {"raw pixels, kNN": figures["raw_pixels_knn_top1"]}
        self.run_dir.save_figure("curves.png", plots.curves_figure(history.rows, references))
        return {
            **self.facts(self.learner.model, self.splits.evaluation),
            **history.facts(FIGURES),
            # By kNN and probe; training has no use for them.
            "labels_used": checks.labels_seen(self.splits.train),
            **{name: history.last(name) for name in SCORES if history.last(name) is not None},
            **figures,
        }

    def say_result(self, result):
        say_result(result, self.say)


def make_learner(config, architecture, splits, strategy, policy):
    """Builds model, augmentation and optimizers under the strategy; returns (ContrastiveLearner, schedule)."""
    with strategy.scope():
        model = architectures.build(architecture, policy)
        optimization = make_optimization(config, splits.train.num_examples)
        learner = ContrastiveLearner(
            model,
            augment=inputs.color_and_blur(config),
            temperature=config.temperature,
            weight_decay=config.weight_decay,
            decayed_in_loss=optimization.decayed_in_loss,
            skip_nonfinite=config.on_nan == "skip_batch",
        )
        learner.compile(optimization.optimizer, optimization.probe_optimizer)
    return learner, optimization.schedule


def make_batches(config, train, batch_size=None):
    """Returns the function of (first step, steps, input context) to batches that `loop.train` wants."""
    crop = inputs.crop_config(config, random_crop=config.random_crop, flip=True)
    return inputs.make_batches(config, train, crop, windows=2, batch_size=batch_size)


def draw_views(config, train, augment):
    """Returns a figure of view pairs, made by the pipeline and augmentation of the run."""
    pairs = min(SHOWN_PAIRS, config.batch_size)
    batch = next(iter(make_batches(config, train, batch_size=pairs)(0, 1)))
    views = augment(batch["views"], tf.constant(0, tf.int64)).numpy()
    titles = None
    if train.class_names is not None:
        titles = ["" if label < 0 else train.class_names[label] for label in batch["label"].numpy()]
    return plots.view_pairs_figure(np.stack(np.split(views, 2), axis=1), titles)


def make_scores(config, splits, extractor, run_dir):
    """Returns (RepresentationScore, Baselines), each None where it does not apply."""
    if not splits.train.has_labels or splits.evaluation is None:
        return None, None
    bank = knn_bank(splits.train, config.knn_bank_size, config.seed)
    knn = {"num_classes": len(splits.class_names), "k": config.knn_k, "temperature": config.knn_temperature}
    score = RepresentationScore(extractor, bank, splits.evaluation, **knn)
    if not config.baselines:
        return score, None

    def pixels(source):
        # Small: photographs of full size would not fit into memory, and kNN on pixels gains nothing from it.
        size = min(config.image_size, PIXEL_SIZE)
        batches = pipeline.eval_batches(source, image_size=size, batch_size=config.batch_size)
        return np.concatenate([batch["image"].numpy().reshape(len(batch["id"]), -1) for batch in batches])

    return score, baselines.Baselines(run_dir, extractor, pixels, bank, splits.evaluation, knn)


def say_result(result, say):
    """Prints how good the representation is, beside what it is held against where that was measured."""
    if "random_encoder_knn_top1" in result:
        for line in baselines.table(result, result.get("probe_top1")):
            say(line)
    elif {"knn_top1", "probe_top1"} <= result.keys():
        say(f"top-1    kNN {result['knn_top1']:.1%}, online linear probe {result['probe_top1']:.1%}")
