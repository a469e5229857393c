"""--mode=distill: a teacher's tempered probabilities taught to a student on unlabeled images."""

import dataclasses

from simclr_keras.data import pipeline
from simclr_keras.errors import InputError
from simclr_keras.objectives.distillation import FIGURES, Distiller
from simclr_keras.runs import ancestors
from simclr_keras.runs import architecture as architectures
from simclr_keras.training.engine import checks
from simclr_keras.training.engine.optimizers import make_optimization
from simclr_keras.training.stages import exported_teacher
from simclr_keras.training.stages.classification import ClassificationStage, columns
from simclr_keras.training.stages.supervised import backbone_arguments

SELF_TEMPERATURE, OTHER_TEMPERATURE = 0.1, 1.0  # the paper's, section 3
LABELED_SEED = 1_000_003  # apart from the unlabeled stream's, or both would show the same crops


def run(config, say=print):
    """Distills as a DistillConfig says and returns the result, which is also in result.json.

    Raises:
        InputError, TrainingError, Stopped: see `Stage.run`.
    """
    return Distillation(config, say).run()


class Distillation(ClassificationStage):
    """A run of --mode=distill (SimCLRv2, arXiv 2006.10029, section 2, equations 2 and 3).

    Attributes:
        teacher: Ancestor, or ExportedTeacher. student: Ancestor whose encoder the student starts from, or None.
    """

    MODE = "distill"

    def inherit(self, config):
        self.exported = exported_teacher.is_export(config.teacher)
        self.teacher = self._find_teacher(config)
        self.student = ancestors.find(config.init, "init", config.init_checkpoint) if config.init else None
        start = self.student or self.teacher
        if config.model is None and "name" in start.architecture:
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
            same = config.model == self.teacher.architecture.get("name")
            config = dataclasses.replace(config, temperature=SELF_TEMPERATURE if same else OTHER_TEMPERATURE)
        return config

    def _find_teacher(self, config):
        if self.exported:
            return exported_teacher.ExportedTeacher(config.teacher)
        teacher = ancestors.find(config.teacher, "teacher", config.teacher_checkpoint)
        if teacher.architecture.get("num_classes") is None or teacher.config.NAME == "pretrain":
            raise InputError(
                f"--teacher={config.teacher} is a run of --mode={teacher.config.NAME}, which has no classifier to "
                "learn from; give a fine-tuned, supervised or distilled one."
            )
        return teacher

    COLUMNS = columns(FIGURES)

    def check_config(self):
        super().check_config()
        checks.check_backbone_weights(self.config)
        if self.config.alpha < 1 and self.config.labeled_batch_size:
            checks.check_batch(self.config, self.strategy, "labeled_batch_size")

    def lineage(self):
        taught = self.teacher.lineage()
        begun = self.student.lineage() if self.student else []
        return [*(run for run in begun if run not in taught), *taught]

    def check_lineage(self, began_with):
        super().check_lineage(began_with)
        if self.exported:
            self.teacher.check_same(began_with, self.config.model_dir)

    def selection(self):
        selection = self.teacher.selection(self.config, self.known_by)
        own = self.student.selection(self.config, self.known_by) if self.student else {}
        apart = selection.get("held_out") != own.get("held_out")
        if selection and own and apart and self.student.config.NAME != "pretrain":
            raise InputError(
                f"--init={self.config.init} and --teacher={self.config.teacher} held out different images, so that one "
                "has learned from those the other is judged by; give runs of one chain."
            )
        return selection or own

    def check_data(self, splits):
        config = self.config
        if config.alpha < 1 or config.distill_on == "labeled":
            what = f"--alpha={config.alpha:g}" if config.alpha < 1 else "--distill_on=labeled"
            checks.check_labels(config, splits.train, what)
            super().check_data(splits)
        else:
            checks.check_batch_fits(config, splits.train)
        ancestors.check_classes(self.teacher, "teacher", config, splits)

    @property
    def class_names(self):
        if self.splits.class_names is not None:
            return self.splits.class_names
        count = self.teacher.architecture["num_classes"]
        return self.teacher.class_names or tuple(str(label) for label in range(count))

    @property
    def shown(self):
        """The images the teacher speaks about."""
        return self.labeled if self.config.distill_on == "labeled" else self.splits.train

    @property
    def labeled_batch_size(self):
        """Images of the labeled stream in a step."""
        return self.config.labeled_batch_size or self.config.batch_size

    def introduction(self):
        yield from super().introduction()
        if self.exported and self.judging is not None:
            yield (
                f"data     which images {self.teacher.path} has learned from is not known here: held-out ones may be "
                "among them"
            )
        known, size = self.labeled.num_examples, self.labeled_batch_size
        if self.config.alpha < 1 and known < size:
            yield f"steps    labeled batches of {size} are filled by repeating the {known} labeled images"

    @property
    def title(self):
        config, teacher = self.config, self.teacher.architecture.get("name", "a SavedModel")
        return (
            f"distilling {teacher} ({self.teacher.path}) into {config.model}, "
            f"temperature {config.temperature:g}, alpha {config.alpha:g}"
        )

    def make_learner(self):
        config = self.config
        self.architecture = architectures.of_classifier(config, self.teacher.architecture["num_classes"])
        start = (self.student or self.teacher).architecture
        if start.get("name") == config.model:
            self.architecture["image_size"] = start["image_size"]  # its stem, whatever size is seen now
        with self.strategy.scope():
            # Before the teacher, which may be made in several ways: the same seed, the same student.
            student = architectures.build(self.architecture, self.policy, **backbone_arguments(config))
            if self.student:
                self.student.weights.load_into(student, parts=("encoder",))
            teacher = self._make_teacher()
            optimization = make_optimization(config, self.num_examples, adapt_classifier=True)
            told = {"temperature": config.temperature, "alpha": config.alpha}
            return self.compiled(Distiller, student, optimization, teacher=teacher, **told)

    def _make_teacher(self):
        """What the learner asks, made in the strategy's scope."""
        if self.exported:
            return self.teacher.load()
        teacher = architectures.build(self.teacher.architecture, self.policy)
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
        # Its labels come through its probabilities, whatever the data they were of.
        return max(own, self.teacher.result.get("labels_used") or 0)

    def make_result(self, history, figures):
        told = {"temperature": self.config.temperature, "alpha": self.config.alpha}
        return {**super().make_result(history, figures), **told, "distill_on": self.config.distill_on}


def _with_network_of(start, config):
    """Returns the config whose student has the encoder of a run.

    Raises:
        InputError: it asks for another --se_ratio.
    """
    name, held = start.architecture["name"], start.architecture.get("se_ratio", 0.0)
    if config.se_ratio not in (0.0, held):
        raise InputError(
            f"--se_ratio={config.se_ratio}, but the student is the network of {start.path}, which has {held}; "
            "leave it out, or give --model."
        )
    dense = config.dense_layers
    if name.startswith("keras:") and dense is None:
        dense = ",".join(map(str, start.architecture.get("dense_layers") or ())) or None
    return dataclasses.replace(config, model=name, se_ratio=held, dense_layers=dense)


def _check_same_shape(config, student):
    """Raises InputError where --init holds a network of that name with other parts."""
    held = student.architecture
    for flag, wanted, found in (
        ("se_ratio", config.se_ratio, held.get("se_ratio", 0.0)),
        ("dense_layers", list(config.dense_widths), held.get("dense_layers") or []),
    ):
        if wanted != found:
            raise InputError(
                f"--{flag}: the student has {wanted or 'none'}, --init={student.path} {found or 'none'}; leave --model "
                f"and --{flag} out."
            )
    if config.backbone_weights:
        raise InputError(
            f"--backbone_weights={config.backbone_weights} and --init={student.path} both say where the student "
            "starts; give one of them."
        )
