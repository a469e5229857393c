"""The stages that need no training loop: --mode=eval, --mode=knn and --protocol=fast, on any finished run."""

import numpy as np

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.data.sources.source import Splits
from simclr_keras.errors import InputError, some
from simclr_keras.evaluation import plots
from simclr_keras.evaluation.features import knn_bank
from simclr_keras.evaluation.knn import knn_predict
from simclr_keras.evaluation.linear_probe import ProbeScores, logistic_predict
from simclr_keras.formatting import counted
from simclr_keras.runs import ancestors
from simclr_keras.runs.checkpoints import Checkpoints, state_of_model, steps_in
from simclr_keras.runs.run_images import has_files
from simclr_keras.runs.seen_images import seen_rows
from simclr_keras.training.engine import checks
from simclr_keras.training.engine.inputs import eval_batch_size
from simclr_keras.training.stages.base import Stage
from simclr_keras.training.stages.classification import labeled_part, say_result, score_logits
from simclr_keras.training.stages.from_run import FromRun
from simclr_keras.training.stages.judging import near_duplicates


def run(config, say=print) -> dict:
    """Evaluate with an EvalConfig or KnnConfig and return the result, see `Stage.run`."""
    return {"eval": ClassifierEvaluation, "knn": KnnEvaluation}[config.NAME](config, say).run()


class EvaluationStage(FromRun, Stage):
    """Features or logits of a finished run's network, scored on a labeled evaluation split.

    It always runs again: it is quick, and the run in --init may have trained longer since. A subclass sets MODE and
    TASK and defines `evaluate`.

    Attributes:
        TASK: what is done to the run in --init.
        LEARNS: whether labeled training images are needed, too.
        JUDGES_ALL: whether all images of another folder are evaluated on that no run of the chain was trained on.
        model: SimCLRModel of that run.
    """

    FILES = ("confusion.png",)
    TASK: str
    LEARNS = True
    JUDGES_ALL = True

    def split_all(self, whole):
        config, source, lineage = self.config, whole.train, self.lineage()
        if not self.JUDGES_ALL or any(ancestors.is_on_dataset(entry, config.dataset) for entry in lineage):
            return None
        if whole.evaluation is not None or not has_files(source) or not source.has_labels:
            return None
        train, class_names = self.training_part(source)
        if class_names is None:
            return None
        is_seen, unknown = seen_rows(source, lineage)
        seen, evaluation = counted(int(is_seen.sum()), "image"), source.subset(~is_seen).labeled()
        if not len(evaluation):
            raise InputError(
                f"{config.dataset} has no labeled image that is new: {seen} of {len(source):,} were trained on; give "
                "other images."
            )
        note = f"evaluating on all {counted(len(evaluation), 'labeled image')} of {config.dataset}"
        note += f" but {seen} that earlier runs were trained on" if is_seen.any() else ""
        notes = [*whole.notes, note]
        if unknown:
            notes.append(
                f"the training images of {some(unknown, 3)} are unknown: some of these may be among them"
            )
        if set(evaluation.class_names) <= set(class_names):
            evaluation = evaluation.with_class_names(tuple(class_names))
        return Splits(train, evaluation, evaluation.class_names, None, tuple(notes), whole.unreadable)

    def training_part(self, source):
        """Return the training images and the class names beside a source that is evaluated on as a whole."""
        return source.subset([]), self.ancestor.class_names or source.class_names

    @property
    def title(self):
        return f"{self.TASK} {self.ancestor.path}"

    @property
    def batch_setting(self):
        return f"--eval_batch_size={eval_batch_size(self.config)}"

    def check_data(self):
        has_labels = self.splits.evaluation is not None and self.splits.evaluation.has_labels
        if len(self.splits.train) and (self.LEARNS or not has_labels):
            checks.check_labels(self.config, self.splits.train, f"--mode={self.MODE}")
        if not has_labels:
            raise InputError(
                f"{self.config.dataset} has no evaluation split, and none of its labeled images is held out; give more "
                "labels, or a larger --eval_fraction."
            )

    def execute(self):
        self.stop.all_saved("nothing is lost")
        self.data.bind(resumed=False)
        self.run_dir.bind(self.MODE, self.config, **self.ancestry())
        for line in self.introduction():
            self.say(line)
        with self.strategy.scope():
            self.model = self.make_model()
        logits, labels, facts = self.evaluate()
        figure, scores = score_logits(logits, labels, self.splits.class_names)
        if figure is not None:
            self.run_dir.write("confusion.png", plots.png_bytes(figure))
        result = self.facts(self.model, self.splits.evaluation)
        count, warnings = near_duplicates(self.splits.train, self.splits.evaluation)
        return {
            **result,
            "near_duplicates": count or None,
            "warnings": [*result["warnings"], *warnings],
            "classes": len(self.splits.class_names),
            **facts,
            **scores,
            "ancestors": self.lineage(),
        }

    def make_model(self):
        """Return the network of the run in --init with its weights; called under the strategy."""
        model = self.ancestor.architecture.build(self.policy)
        self.ancestor.weights.load_into(model)
        return model

    def evaluate(self):
        """Return (logits or other scores [n, classes], labels [n], labels_used and other facts of the result)."""
        raise NotImplementedError

    def outputs(self, source, endpoint: str):
        """Return (values [n, ...], labels [n]) of an endpoint over a source."""
        outputs = self.extractor(self.model, endpoint)(source)
        return outputs[endpoint], outputs["label"]

    def features(self, source):
        """Return (features [n, d], labels [n]) of a source at --head_layer."""
        return self.outputs(source, f"proj_head_{self.config.head_layer}")

    def cross_validated_features(self) -> dict:
        """Return the cross-validated accuracy of the features at --head_layer; empty if they saw labels."""
        if ancestors.saw_labels(self.lineage()):
            return {}
        return self.cross_validated(
            self.model, f"proj_head_{self.config.head_layer}", self.splits.class_names
        )

    def say_result(self, result):
        say_result(result, self.say)


class ClassifierEvaluation(EvaluationStage):
    """--mode=eval: the classifier as it is; the online probe of a pretraining run."""

    MODE = "eval"
    TASK = "evaluating the classifier of"
    LEARNS = False

    def check_data(self):
        super().check_data()
        if self.ancestor.architecture.num_classes is None:
            raise InputError(
                f"--init={self.config.init} has no classifier; evaluate its features with simclr knn or "
                "simclr linear_eval."
            )
        ancestors.check_classes(self.ancestor, "init", self.config, self.splits)

    def evaluate(self):
        logits, labels = self.outputs(self.splits.evaluation, "logits")
        probe = self.ancestor.architecture.stop_gradient
        facts = {
            "labels_used": self.ancestor.result.labels_used or 0,
            "classifier": "online probe" if probe else "trained",
        }
        return logits, labels, facts


class KnnEvaluation(EvaluationStage):
    """--mode=knn: weighted kNN on a layer's features."""

    MODE = "knn"
    TASK = "weighted kNN on the features of"

    def training_part(self, source):
        """Return the labeled images that the run was trained on and the names of its classes.

        (None, None) if it has other classes, or its data is not here: the neighbors are then images of the source.
        """
        own, ids = self.ancestor.config, self.ancestor.split.ids()
        if not set(source.class_names) <= set(self.ancestor.class_names or ()):
            return None, None
        try:
            train = load_dataset(
                own.dataset,
                data_dir=own.data_dir,
                labels=own.labels,
                unlabeled=own.unlabeled,
                eval_fraction=None if "held_out" in ids else own.eval_fraction,
                **ids,
            ).train
        except (InputError, ModuleNotFoundError):
            return None, None
        has_its_classes = train.has_labels and set(source.class_names) <= set(train.class_names)
        return (train, train.class_names) if has_its_classes else (None, None)

    def evaluate(self):
        config = self.config
        bank, bank_labels = self.features(knn_bank(self.splits.train, config.knn_bank_size, config.seed))
        features, labels = self.features(self.splits.evaluation)
        votes = self.hosts.map_rows(
            lambda queries: knn_predict(
                bank,
                bank_labels,
                queries,
                num_classes=len(self.splits.class_names),
                k=config.knn_k,
                temperature=config.knn_temperature,
            ),
            features,
        )
        used = int(np.count_nonzero(bank_labels >= 0))
        facts = {"labels_used": used, "head_layer": config.head_layer, "knn_k": config.knn_k}
        return votes, labels, {**facts, **self.cross_validated_features()}


class LogisticRegressionEvaluation(EvaluationStage):
    """--protocol=fast: scikit-learn's logistic regression on features computed once, without augmentation.

    It becomes the classifier of the run's network, which is saved as that of a run that trains.
    """

    MODE = "linear_eval"
    JUDGES_ALL = False
    TASK = "logistic regression on the features of"

    def make_model(self):
        classes = len(self.splits.class_names)
        self.architecture = self.ancestor.architecture.with_classifier(classes, self.config.head_layer)
        model = self.architecture.build(self.policy)
        self.ancestor.weights.load_into(model, parts=("encoder", "projection_head"))
        return model

    def evaluate(self):
        train, train_labels = self.features(labeled_part(self.splits.train))
        features, labels = self.features(self.splits.evaluation)
        regression = self.hosts.from_chief(
            lambda: logistic_predict(
                train,
                train_labels,
                features,
                num_classes=len(self.splits.class_names),
                c=self.config.logistic_c,
                balanced=self.config.class_weights == "balanced",
            ),
            ProbeScores._make,
        )
        self._save(regression)
        facts = {
            "labels_used": int(np.count_nonzero(train_labels >= 0)),
            "head_layer": self.config.head_layer,
            "protocol": "fast",
            "logistic_c": regression.c,
            "converged": regression.converged,
            **self.cross_validated_features(),
        }
        return regression.scores, labels, facts

    def _save(self, regression):
        """Save the network with the regression as its classifier, in place of that of an earlier evaluation."""
        with self.strategy.scope():
            self.model.classifier.kernel.assign(regression.kernel)
            self.model.classifier.bias.assign(regression.bias)
        self.run_dir.write_architecture(self.architecture)
        step = self.ancestor.weights.step
        state = state_of_model(self.model)
        checkpoints = Checkpoints(self.run_dir.checkpoints, state, keep=2, writes=self.hosts.is_chief)
        checkpoints.save(step)
        for other in {*steps_in(self.run_dir.checkpoints)} - {step}:
            checkpoints.forget(other)
