"""--mode=pretrain: contrastive learning on unlabeled images, evaluated by kNN and an online probe."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from simclr_keras.data import pipeline
from simclr_keras.evaluation import plots
from simclr_keras.evaluation.features import RepresentationScore, knn_bank
from simclr_keras.interop.open_source import open_source
from simclr_keras.objectives.contrastive import FIGURES as CONTRASTIVE_FIGURES
from simclr_keras.objectives.contrastive import PROBE_FIGURES, ContrastiveLearner
from simclr_keras.runs import ancestors
from simclr_keras.runs.architecture import Architecture
from simclr_keras.training.engine import checks, inputs, loop
from simclr_keras.training.engine.epochs import epoch_ends
from simclr_keras.training.engine.introduction import count_labels
from simclr_keras.training.engine.optimizers import make_optimization
from simclr_keras.training.stages import baselines
from simclr_keras.training.stages.training_stage import TrainingStage, backbone_arguments, set_up_layers

FIGURES = (*CONTRASTIVE_FIGURES, *PROBE_FIGURES)
SCORES = ("knn_top1", "knn_top5", "probe_top1", "probe_top5")
COLUMNS = ("epoch", "step", "learning_rate", *FIGURES, *SCORES, "skipped_batches", "images_per_second")
AT_CHANCE, ABOVE_CHANCE = 0.99, 1.05  # in units of the loss of guessing
SHOWN_PAIRS = 16
PIXEL_SIZE = 32  # of the images whose raw pixels are compared


def run(config, say=print) -> dict:
    """Pretrain with a PretrainConfig and return the result, see `Stage.run`."""
    return Pretraining(config, say).run()


class Pretraining(TrainingStage):
    """A run of --mode=pretrain.

    Attributes:
        ancestor: the OpenRun in --init, or None.
    """

    MODE = "pretrain"
    COLUMNS = COLUMNS
    ancestor = None

    def inherit(self, config):
        if config.init is None:
            return config
        self.ancestor = open_source(
            config.init, config.init_checkpoint, "init", finished=True, ema=config.use_ema
        )
        config = ancestors.inherit(config, self.ancestor, "init")
        ancestors.check_same_model(config, self.ancestor, "init")
        return ancestors.inherit_network(config, self.ancestor)

    def lineage(self):
        return self.ancestor.as_ancestors() if self.ancestor else []

    def source_runs(self):
        return [self.ancestor] if self.ancestor else []

    def check_config(self):
        super().check_config()
        checks.check_backbone_weights(self.config)
        if self.config.microbatch_size:
            checks.check_batch_divides(self.config, self.strategy.num_replicas_in_sync, "microbatch_size")

    def check_data(self):
        checks.check_enough_images(self.config, self.splits.train, repeat=False)
        super().check_data()

    @property
    def title(self):
        start = f", starting from {self.ancestor.path}" if self.ancestor else ""
        return f"pretraining {self.config.model}{start}"

    def make_learner(self):
        classes = len(self.splits.class_names) if self.splits.train.has_labels else None
        self.architecture = Architecture.of_pretraining(self.config, classes)
        if self.ancestor:
            self.architecture = self.architecture.with_stem_of(self.ancestor.architecture)
        start = self.ancestor.weights if self.ancestor else None
        return make_learner(
            self.config, self.architecture, self.num_examples, self.strategy, self.policy, start
        )

    def introduction(self):
        yield from super().introduction()
        if self.learner.momentum is not None:
            yield f"memory   {self.learner.momentum}"

    def make_batches(self):
        return make_batches(self.config, self.splits.train)

    def begin(self, first_step):
        config, run_dir = self.config, self.run_dir
        if first_step == 0:
            run_dir.write(
                "views.png", plots.png_bytes(draw_views(config, self.splits.train, self.learner.augment))
            )
            self.say(f"views    {run_dir.file('views.png')} shows pairs of views as the network gets them")
        self._baselines, self._baseline_scores = None, {}
        score = self._representation_score()
        if score is not None and config.baselines:
            has_weights = self.ancestor or config.backbone_weights
            start = "initial_encoder" if has_weights else "random_encoder"
            self._baselines = baselines.Baselines(run_dir, score, self._pixels, start)
            self._baseline_scores = self._baselines.before(first_step)
        return None if score is None else lambda epoch: score()

    def _representation_score(self):
        """Return a RepresentationScore, or None without labels or evaluation images."""
        config, splits = self.config, self.splits
        if not splits.train.has_labels or splits.evaluation is None:
            return None
        return RepresentationScore(
            self.extractor(self.learner.model, "final_avg_pool", "logits"),
            knn_bank(splits.train, config.knn_bank_size, config.seed),
            splits.evaluation,
            num_classes=len(splits.class_names),
            k=config.knn_k,
            temperature=config.knn_temperature,
        )

    def _pixels(self, source):
        """Return float arrays [n, height * width * 3] of a source's images, preprocessed for evaluation."""
        # Small: photographs of full size would not fit into memory, and kNN on pixels gains nothing from it.
        size = min(self.config.image_size, PIXEL_SIZE)
        batches = pipeline.eval_batches(source, image_size=size, batch_size=self.config.batch_size)
        return np.concatenate([batch["image"].numpy().reshape(len(batch["id"]), -1) for batch in batches])

    def problem_of(self, row):
        loss, chance = row["contrastive_loss"], self._chance_loss(row["epoch"])
        if loss is None or loss < AT_CHANCE * chance:
            return None
        figures = f"the contrastive loss is {loss:,.3f} after epoch {row['epoch']}, that of guessing is {chance:.3f}"
        if loss > ABOVE_CHANCE * chance:
            return loop.Problem(
                "loss above chance",
                f"{figures}, so training diverges or was too short; give a lower --learning_rate or a higher "
                "--temperature in another --model_dir, or more --epochs",
            )
        return loop.Problem(
            "loss at chance",
            f"{figures}, so the network has learned nothing; check that views.png shows the images, then give another "
            "--learning_rate, or more --epochs",
        )

    def _chance_loss(self, epoch):
        """Return the contrastive loss of guessing, its mean over the steps of an epoch: the queue fills meanwhile."""
        config = self.config
        if config.memory == "none":
            return chance_loss(config.batch_size)
        start, end = epoch_ends(config, self.num_examples)[epoch - 1 : epoch + 1]
        rows = np.minimum(2 * config.batch_size * np.arange(start, end), config.memory_size)
        return float(np.mean([chance_loss(config.batch_size, count) for count in rows]))

    def end(self):
        history, scores, references = self.history, self._baseline_scores, None
        if self._baselines:
            scores = scores | self._baselines.after()
            references = {"raw pixels, kNN": scores["raw_pixels_knn_top1"]}
        self.run_dir.write("curves.png", plots.png_bytes(plots.curves_figure(history.rows, references)))
        return {
            **self.facts(self.learner.model, self.splits.evaluation),
            **history.facts(FIGURES),
            "contrastive_loss_of_chance": self._chance_loss(history.rows[-1]["epoch"]),
            **({} if self.learner.momentum is None else {"memory": str(self.learner.momentum)}),
            # Used by kNN and probe, not by training.
            "labels_used": count_labels(self.splits.train),
            **{name: history.last(name) for name in SCORES if history.last(name) is not None},
            **scores,
        }

    def say_result(self, result):
        if "pretrained_encoder_knn_top1" in result:
            for line in baselines.table(result, result.get("probe_top1")):
                self.say(line)
        elif {"knn_top1", "probe_top1"} <= result.keys():
            self.say(f"top-1    kNN {result['knn_top1']:.1%}, online linear probe {result['probe_top1']:.1%}")


def chance_loss(batch_size: int, queue_rows: int = 0) -> float:
    """Return the contrastive loss of projections that are all alike, in both directions: 2 log(2B - 1 + rows)."""
    return 2 * math.log(2 * batch_size - 1 + queue_rows)


def make_learner(config, architecture, num_examples, strategy, policy, start=None):
    """Return (compiled ContrastiveLearner, learning rate by step), made under the strategy.

    start: the StoredWeights of --init. A momentum network starts from the one beside them, else from themselves.
    """
    parts = ("encoder", "projection_head") if config.init_head == "keep" else ("encoder",)
    with strategy.scope():
        model = architecture.build(policy, **backbone_arguments(config))
        set_up_layers(model, config)
        if start:
            (start.of_momentum_network() or start).load_into(model, parts)
        optimization = make_optimization(config, num_examples)
        learner = ContrastiveLearner(
            model,
            augment=inputs.color_and_blur(config),
            temperature=config.temperature,
            memory=config.memory,
            ema_decay=config.ema_decay,
            memory_size=config.memory_size,
            microbatch_size=config.microbatch_size or None,
            weight_decay=config.weight_decay,
            decayed_in_loss=optimization.decayed_in_loss,
            on_nan=config.on_nan,
        )
        if start:  # once more, now that the momentum network has its own copy
            start.load_into(model, parts)
        learner.compile(optimization.optimizer, optimization.probe_optimizer)
    return learner, optimization.schedule


def make_batches(config, train, batch_size=None):
    """Return the function of (first step, steps, input context) to batches of two views."""
    crop = inputs.crop_config(config)
    return inputs.make_batches(config, train, crop, windows=2, batch_size=batch_size)


def draw_views(config, train, augment):
    """Return a figure of view pairs, made by the pipeline and augmentation of the run."""
    pairs = min(SHOWN_PAIRS, config.batch_size)
    batch = next(iter(make_batches(config, train, batch_size=pairs)(0, 1)))
    # Without XLA, which would take longer to compile than the few images take.
    views = dataclasses.replace(augment, compile=False)(batch["views"], tf.constant(0, tf.int64)).numpy()
    titles = None
    if train.class_names is not None:
        titles = ["" if label < 0 else train.class_names[label] for label in batch["label"].numpy()]
    return plots.view_pairs_figure(np.stack(np.split(views, 2), axis=1), titles)
