"""--mode=distill: a student learns a teacher's tempered probabilities on unlabeled images."""

import dataclasses

from simclr_keras.data import pipeline
from simclr_keras.errors import InputError
from simclr_keras.interop.open_source import open_source
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.objectives.distillation import FIGURES, Distiller
from simclr_keras.runs import ancestors
from simclr_keras.runs.architecture import Architecture
from simclr_keras.training.engine import checks
from simclr_keras.training.engine.optimizers import make_optimization
from simclr_keras.training.stages import exported_teacher
from simclr_keras.training.stages.classification import ClassificationStage, columns
from simclr_keras.training.stages.training_stage import backbone_arguments

SELF_TEMPERATURE, OTHER_TEMPERATURE = 0.1, 1.0  # the paper's, section 3
LABELED_SEED = 1_000_003  # added to the seed, or both streams would have the same crops


def run(config, say=print) -> dict:
    """Distill with a DistillConfig and return the result, see `Stage.run`."""
    return Distillation(config, say).run()


class Distillation(ClassificationStage):
    """A run of --mode=distill (SimCLRv2, arXiv 2006.10029, section 2, equations 2 and 3).

    Attributes:
        teacher: OpenRun, or ExportedTeacher if `exported`.
        student: OpenRun whose encoder the student starts from, or None.
    """

    MODE = "distill"
    COLUMNS = columns(FIGURES)

    def inherit(self, config):
        self.exported = exported_teacher.is_export(config.teacher)
        self.teacher = self._open_teacher(config)
        self.student = (
            open_source(config.init, config.init_checkpoint, "init", finished=True, ema=config.use_ema)
            if config.init
            else None
        )
        start = self.student or self.teacher
        if config.model is None and start.architecture.name:
            config = _with_network_of(start, config)
        config = (
            self.teacher.inherit(config)
            if self.exported
            else ancestors.inherit(config, self.teacher, "teacher")
        )
        if self.student:
            ancestors.check_same_model(config, self.student, "init")
            ancestors.check_image_size(config, self.student, "init")
            _check_same_shape(config, self.student)
        if config.temperature is None:
            same = config.model == self.teacher.architecture.name
            config = dataclasses.replace(config, temperature=SELF_TEMPERATURE if same else OTHER_TEMPERATURE)
        return config

    def _open_teacher(self, config):
        if self.exported:
            return exported_teacher.ExportedTeacher(config.teacher)
        teacher = open_source(config.teacher, config.teacher_checkpoint, "teacher", finished=True)
        if teacher.architecture.num_classes is None or teacher.config.NAME == "pretrain":
            raise InputError(
                f"--teacher={config.teacher} is a run of --mode={teacher.config.NAME}, which has no classifier to "
                "learn from; give a fine-tuned, supervised or distilled run."
            )
        return teacher

    def check_config(self):
        super().check_config()
        checks.check_backbone_weights(self.config)
        if self.config.alpha < 1 and self.config.labeled_batch_size:
            replicas = self.strategy.num_replicas_in_sync
            checks.check_batch_divides(self.config, replicas, "labeled_batch_size")

    def lineage(self):
        teacher = self.teacher.as_ancestors()
        student = self.student.as_ancestors() if self.student else []
        # An earlier version may have listed one of the two.
        entries = [ancestors.without_place(run) for run in teacher]
        return [*(run for run in student if ancestors.without_place(run) not in entries), *teacher]

    def check_lineage(self, began_with):
        super().check_lineage(began_with)
        if self.exported:
            self.teacher.check_same(began_with, self.config.model_dir)

    def source_runs(self):
        # The images that an exported teacher was trained on are unknown.
        return [run for run in (None if self.exported else self.teacher, self.student) if run]

    def doubts(self):
        notes, count = super().doubts()
        if self.exported and self.evaluation is not None:
            notes.append(
                f"{self.teacher.path} is an export: evaluation images may be among its training images"
            )
        return notes, count

    @property
    def labels_needed_by(self):
        if self.config.alpha < 1:
            return f"--alpha={self.config.alpha:g}"
        return "--distill_on=labeled" if self.shows_labeled_only else None

    def check_data(self):
        super().check_data()
        ancestors.check_classes(self.teacher, "teacher", self.config, self.splits)

    @property
    def class_names(self):
        if self.splits.class_names is not None:
            return self.splits.class_names
        count = self.teacher.architecture.num_classes
        return self.teacher.class_names or tuple(str(label) for label in range(count))

    @property
    def shows_labeled_only(self):
        return self.config.distill_on == "labeled"

    @property
    def labeled_batch_size(self) -> int:
        """Return the images per step of the labeled stream."""
        return self.config.labeled_batch_size or self.config.batch_size

    def introduction(self):
        yield from super().introduction()
        if self.config.alpha < 1 and self.labeled.num_examples < self.labeled_batch_size:
            yield (
                f"steps    labeled batches of {self.labeled_batch_size} are filled by repeating the "
                f"{self.labeled.num_examples} labeled images"
            )

    @property
    def title(self):
        config, teacher = self.config, self.teacher.architecture.name or "a SavedModel"
        return (
            f"distilling {teacher} ({self.teacher.path}) into {config.model}, "
            f"temperature {config.temperature:g}, alpha {config.alpha:g}"
        )

    def make_learner(self):
        config = self.config
        self.architecture = Architecture.of_classifier(config, self.teacher.architecture.num_classes)
        start = (self.student or self.teacher).architecture
        if start.name == config.model:  # keep its stem, whatever the size of the images is now
            self.architecture = self.architecture.with_stem_of(start)
        with self.strategy.scope():
            # Before the teacher, which may draw from the seeded generator: the same seed gives the same student.
            student = self.architecture.build(self.policy, **backbone_arguments(config))
            if self.student:
                self.student.weights.load_into(student, parts=("encoder",))
            teacher = self._make_teacher()
            optimization = make_optimization(config, self.num_examples, adapt_classifier=True)
            return self.compiled(
                Distiller,
                student,
                optimization,
                teacher=teacher,
                temperature=config.temperature,
                alpha=config.alpha,
            )

    def _make_teacher(self):
        if self.exported:
            return self.teacher.load()
        teacher = self.teacher.architecture.build(self.policy)
        self.teacher.weights.load_into(teacher)
        teacher.trainable = False
        return teacher

    def make_batches(self):
        unlabeled = super().make_batches()
        if self.config.alpha == 1:
            return unlabeled
        labeled = self.batches_of(
            self.labeled, batch_size=self.labeled_batch_size, seed=self.config.seed + LABELED_SEED
        )
        return lambda *steps: pipeline.joined(unlabeled(*steps), labeled(*steps))

    @property
    def own_labels(self):
        own = self.labeled.num_examples if self.config.alpha < 1 else 0
        # The teacher's labels count, whatever data they belong to: its probabilities pass them on.
        return max(own, self.teacher.result.labels_used or 0)

    def make_result(self, scores):
        config = self.config
        return {
            **super().make_result(scores),
            "temperature": config.temperature,
            "alpha": config.alpha,
            "distill_on": config.distill_on,
        }


def _with_network_of(start, config):
    """Return the config with the encoder of a run as the student's; raise InputError if --se_ratio differs."""
    name, se_ratio = start.architecture.name, start.architecture.se_ratio
    if config.se_ratio not in (0.0, se_ratio):
        raise InputError(
            f"--se_ratio={config.se_ratio}, but the student is the network of {start.path}, which has {se_ratio}; "
            "leave --se_ratio out, or give --model."
        )
    dense = config.dense_layers
    if is_backbone(name) and dense is None:
        dense = ",".join(map(str, start.architecture.dense_layers or ())) or None
    return dataclasses.replace(config, model=name, se_ratio=se_ratio, dense_layers=dense)


def _check_same_shape(config, student):
    """Raise InputError if the network in --init has the student's name but other parts."""
    architecture = student.architecture
    for flag, expected, actual in (
        ("se_ratio", config.se_ratio, architecture.se_ratio),
        ("dense_layers", list(config.dense_widths), list(architecture.dense_layers or ())),
    ):
        if expected != actual:
            raise InputError(
                f"--{flag}: the student has {expected or 'none'}, --init={student.path} has {actual or 'none'}; leave "
                f"--model and --{flag} out."
            )
    if config.backbone_weights:
        raise InputError(
            f"--backbone_weights={config.backbone_weights} and --init={student.path} both set the student's first "
            "weights; give one of them."
        )
