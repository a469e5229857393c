"""--mode=pretrain: contrastive learning on unlabeled images, evaluated by kNN and an online probe."""

import dataclasses

import numpy as np
import tensorflow as tf

from simclr_keras.data.sources.source import ArrayStore, RowIds, Source
from simclr_keras.evaluation import baselines, plots
from simclr_keras.evaluation.features import RepresentationScore, ViewPairs, knn_bank
from simclr_keras.objectives.contrastive import FIGURES as CONTRASTIVE_FIGURES
from simclr_keras.objectives.contrastive import PROBE_FIGURES, ContrastiveLearner
from simclr_keras.runs import ancestors
from simclr_keras.runs.architecture import Architecture
from simclr_keras.training.engine import checks, inputs
from simclr_keras.training.engine.introduction import advice_about_lag, count_labels
from simclr_keras.training.engine.learning import contrastive_chance, contrastive_problem
from simclr_keras.training.engine.optimizers import make_optimization
from simclr_keras.training.stages.from_run import FromRun
from simclr_keras.training.stages.judging import say_simple_baselines, simple_baselines
from simclr_keras.training.stages.training_stage import TrainingStage, backbone_arguments, set_up_layers

FIGURES = (*CONTRASTIVE_FIGURES, *PROBE_FIGURES)
SCORES = ("knn_top1", "knn_top5", "probe_top1", "probe_top5")
CHANCE = "contrastive_loss_of_chance"
EMBEDDING_FIGURES = ("alignment", "uniformity", "effective_rank")
MEASURED = (*FIGURES, CHANCE, *SCORES, *EMBEDDING_FIGURES)
COLUMNS = ("epoch", "step", "learning_rate", *MEASURED, "skipped_batches", "images_per_second")
MOST_PAIRS = 256  # whose views are compared: their images stay in memory
SHOWN_PAIRS = 16
PIXEL_SIZE = 32  # of the images whose raw pixels are compared


def run(config, say=print) -> dict:
    """Pretrain with a PretrainConfig and return the result, see `Stage.run`."""
    return Pretraining(config, say).run()


class Pretraining(FromRun, TrainingStage):
    """A run of --mode=pretrain."""

    MODE = "pretrain"
    COLUMNS = COLUMNS

    def inherit(self, config):
        config = super().inherit(config)
        return ancestors.inherit_network(config, self.ancestor) if self.ancestor else config

    def check_config(self):
        super().check_config()
        checks.check_backbone_weights(self.config)
        if self.config.microbatch_size:
            checks.check_batch_divides(self.config, self.strategy.num_replicas_in_sync, "microbatch_size")

    def check_data(self):
        checks.check_enough_images(self.config, self.splits.train, False, self.run_dir)
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
            if advice := advice_about_lag(self.config.ema_decay, self.schedule.total_steps):
                yield f"memory   {advice}"

    def make_batches(self):
        return inputs.make_batches(self.config, self.splits.train, windows=2)

    def begin(self, first_step):
        config, run_dir = self.config, self.run_dir
        if first_step == 0:
            run_dir.write(
                "views.png", plots.png_bytes(draw_views(config, self.splits.train, self.learner.augment))
            )
            self.say(f"views    {run_dir.file('views.png')} shows pairs of views as the network gets them")
        self._baselines, self._baseline_scores = None, {}
        score = self._score = self._representation_score()
        if score is not None and config.baselines:
            has_weights = self.ancestor or config.backbone_weights
            start = "initial_encoder" if has_weights else "random_encoder"
            # Small: photographs of full size would not fit into memory, and kNN on pixels gains nothing from it.
            side = min(config.image_size, PIXEL_SIZE)
            self._baselines = baselines.Baselines(score, side, start)
            saved = run_dir.read_baselines() if first_step else {}
            self._baseline_scores = self._baselines.before(first_step, saved)
            if self._baseline_scores is not saved:
                run_dir.write_baselines(self._baseline_scores)
        return None if score is None else lambda epoch: score()

    @property
    def batch_setting(self):
        size = self.config.microbatch_size
        return f"--microbatch_size={size}" if size else super().batch_setting

    @property
    def smaller_batch(self):
        half, odd = divmod(self.config.batch_size, 2)
        rows, rest = divmod(half, self.strategy.num_replicas_in_sync)
        if self.config.microbatch_size or odd or rest or rows < 2:
            return super().smaller_batch
        return f"--microbatch_size={half}, which keeps the batch and its negatives, or a smaller batch"

    def _representation_score(self):
        """Return a RepresentationScore, or None without labels or evaluation images."""
        config, splits = self.config, self.splits
        if not count_labels(splits.train) or splits.evaluation is None:
            return None
        embeddings = self.learner.endpoints[0]
        return RepresentationScore(
            self.extractor(self.learner.model, "final_avg_pool", "logits", embeddings),
            knn_bank(splits.train, config.knn_bank_size, config.seed),
            splits.evaluation,
            lambda: evaluation_pairs(config, splits.evaluation, self.learner.augment, embeddings),
            num_classes=len(splits.class_names),
            k=config.knn_k,
            temperature=config.knn_temperature,
        )

    def chance_of(self, epoch):
        return {CHANCE: contrastive_chance(self.config, self.num_examples, epoch)}

    def problem_of(self, row):
        return contrastive_problem(row, self.config)

    def end(self):
        history, scores, references = self.history, self._baseline_scores, None
        if self._baselines:
            score, classes = self._score, len(self.splits.class_names)
            scores = (
                scores | self._baselines.after() | simple_baselines(score.bank, score.evaluation, classes)
            )
            references = {"raw pixels, kNN": scores["raw_pixels_knn_top1"]}
        self.run_dir.write("curves.png", plots.png_bytes(plots.curves_figure(history.rows, references)))
        model, saw_labels = self.learner.model, ancestors.saw_labels(self.lineage())
        return {
            **self.facts(model, self.splits.evaluation),
            **history.facts(FIGURES),
            **self.chance_of(history.rows[-1]["epoch"]),
            **({} if self.learner.momentum is None else {"memory": str(self.learner.momentum)}),
            # Used by kNN and probe, not by training.
            "labels_used": count_labels(self.splits.train),
            **{
                name: history.last(name)
                for name in (*SCORES, *EMBEDDING_FIGURES)
                if history.last(name) is not None
            },
            **scores,
            **(
                {} if saw_labels else self.cross_validated(model, baselines.FEATURES, self.splits.class_names)
            ),
        }

    def say_result(self, result):
        if "pretrained_encoder_knn_top1" in result:
            for line in baselines.table(result, result.get("probe_top1")):
                self.say(line)
        elif {"knn_top1", "probe_top1"} <= result.keys():
            self.say(f"top-1    kNN {result['knn_top1']:.1%}, online linear probe {result['probe_top1']:.1%}")
        say_simple_baselines(result, self.say)


def make_learner(config, architecture, num_examples, strategy, policy, start=None):
    """Return (compiled ContrastiveLearner, learning rate by step), made under the strategy.

    start: the StoredWeights of --init. A momentum network starts from the one beside them, else from themselves.
    """
    parts = ("encoder", "projection_head") if start and config.init_head == "keep" else ("encoder",)
    with strategy.scope():
        model = architecture.build(policy, **backbone_arguments(config))
        set_up_layers(model, config, parts)
        if start:
            (start.of_momentum_network() or start).load_into(model, parts)
        optimization = make_optimization(config, num_examples)
        learner = ContrastiveLearner(
            model,
            augment=inputs.color_and_blur(config),
            temperature=config.temperature,
            **_memory_settings(config),
            microbatch_size=config.microbatch_size or None,
            weight_decay=config.weight_decay,
            decayed_in_loss=optimization.decayed_in_loss,
            on_nan=config.on_nan,
        )
        if start:  # once more, now that the momentum network has its own copy
            start.load_into(model, parts)
        learner.compile(optimization.optimizer, optimization.probe_optimizer)
    return learner, optimization.schedule


def _memory_settings(config):
    if config.memory == "none":
        return {}
    return {"memory": config.memory, "ema_decay": config.ema_decay, "memory_size": config.memory_size}


def make_views(config, source, augment, count):
    """Return (float views [2 * count, h, w, 3], first ones first; labels [count]) as in the first training step."""
    batch = next(iter(inputs.make_batches(config, source, windows=2, batch_size=count)(0, 1)))
    # Without XLA, which would take longer to compile than the few images take.
    views = dataclasses.replace(augment, compile=False)(batch["views"], tf.constant(0, tf.int64))
    return views.numpy(), batch["label"].numpy()


def evaluation_pairs(config, evaluation, augment, endpoint):
    """Return ViewPairs of at most MOST_PAIRS evaluation images, the same in every evaluation; None for one image."""
    count = min(len(evaluation), MOST_PAIRS)
    if count < 2:
        return None
    views, _ = make_views(config, evaluation, augment, count)
    images = np.rint(views * 255).astype(np.uint8)  # a quarter of the memory
    return ViewPairs(Source("views", ArrayStore(images), RowIds("views", len(images))), endpoint)


def draw_views(config, train, augment):
    """Return a figure of view pairs, made by the pipeline and augmentation of the run."""
    views, labels = make_views(config, train, augment, min(SHOWN_PAIRS, config.batch_size))
    titles = None
    if train.class_names is not None:
        titles = ["" if label < 0 else train.class_names[label] for label in labels]
    return plots.view_pairs_figure(np.stack(np.split(views, 2), axis=1), titles)
