"""The stages that need no training loop: --mode=eval, --mode=knn and --protocol=fast, on any finished run."""

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation import plots
from simclr_keras.evaluation.features import knn_bank
from simclr_keras.evaluation.knn import knn_predict
from simclr_keras.evaluation.linear_probe import ProbeScores, logistic_predict
from simclr_keras.runs import ancestors
from simclr_keras.runs.checkpoints import Checkpoints, state_of_model, steps_in
from simclr_keras.training.engine import checks
from simclr_keras.training.engine.inputs import eval_batch_size
from simclr_keras.training.stages.base import Stage
from simclr_keras.training.stages.classification import labeled_part, say_result, score_logits
from simclr_keras.training.stages.from_run import FromRun


def run(config, say=print) -> dict:
    """Evaluate with an EvalConfig or KnnConfig and return the result, see `Stage.run`."""
    return {"eval": ClassifierEvaluation, "knn": KnnEvaluation}[config.NAME](config, say).run()


class EvaluationStage(FromRun, Stage):
    """Features or logits of a finished run's network, scored on a labeled evaluation split.

    It always runs again: it is quick, and the run in --init may have trained longer since. A subclass sets MODE and
    TASK and defines `evaluate`.

    Attributes:
        TASK: what is done to the run in --init.
        model: SimCLRModel of that run.
    """

    FILES = ("confusion.png",)
    TASK: str

    @property
    def title(self):
        return f"{self.TASK} {self.ancestor.path}"

    @property
    def batch_setting(self):
        return f"--eval_batch_size={eval_batch_size(self.config)}"

    def check_data(self):
        checks.check_labels(self.config, self.splits.train, f"--mode={self.MODE}")
        if self.splits.evaluation is None or not self.splits.evaluation.has_labels:
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
        return {
            **self.facts(self.model, self.splits.evaluation),
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

    def say_result(self, result):
        say_result(result, self.say)


class ClassifierEvaluation(EvaluationStage):
    """--mode=eval: the classifier as it is; the online probe of a pretraining run."""

    MODE = "eval"
    TASK = "evaluating the classifier of"

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
        return votes, labels, {"labels_used": used, "head_layer": config.head_layer, "knn_k": config.knn_k}


class LogisticRegressionEvaluation(EvaluationStage):
    """--protocol=fast: scikit-learn's logistic regression on features computed once, without augmentation.

    It becomes the classifier of the run's network, which is saved as that of a run that trains.
    """

    MODE = "linear_eval"
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
