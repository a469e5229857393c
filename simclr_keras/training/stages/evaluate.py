"""The modes that train no network: --mode=eval, --mode=knn, and --protocol=fast, on any finished run."""

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.evaluation.features import knn_bank
from simclr_keras.evaluation.knn import knn_predict
from simclr_keras.evaluation.linear_probe import logistic_predict
from simclr_keras.runs import ancestors
from simclr_keras.runs import architecture as architectures
from simclr_keras.runs.data_binding import bind_data
from simclr_keras.training.engine import checks
from simclr_keras.training.engine import strategy as strategies
from simclr_keras.training.stages.base import Stage
from simclr_keras.training.stages.classification import judge, labeled_part, say_result
from simclr_keras.training.stages.from_run import FromRun
from simclr_keras.version import __version__


def run(config, say=print):
    """Measures as an EvalConfig or KnnConfig says and returns the result, which is also in result.json.

    Raises:
        InputError, TrainingError, Stopped: see `Stage.run`.
    """
    return {"eval": Evaluation, "knn": Neighbors}[config.NAME](config, say).run()


class Measurement(FromRun, Stage):
    """Features or logits of a finished run's network, judged by the labels of an evaluation split.

    A subclass sets MODE and TITLE and defines `measure`.
    """

    FILES = ("confusion.png",)
    REPEATED = True  # quick, and the run that it judges may have gone on
    TITLE = None

    def settle(self, config):
        ancestors.check_head_layer(getattr(config, "head_layer", 0), self.ancestor)
        return config

    def check_config(self):
        """Evaluation batches are rounded up to the replicas, so any size will do."""

    def check_data(self, splits):
        checks.check_labels(self.config, splits.train, f"--mode={self.MODE}")
        if splits.evaluation is None or not splits.evaluation.has_labels:
            raise InputError(
                f"{self.config.dataset} has no labeled evaluation split, nor classes of two labeled images, of which "
                "one could be held out: give more labels."
            )

    def _go(self, splits, stop):
        config, run_dir = self.config, self.run_dir
        stop.all_saved("nothing is lost")
        self.splits = bind_data(run_dir, splits, False, self.say, self.contents)
        run_dir.bind(self.MODE, config, **self.told())
        self.say(f"simclr_keras {__version__}: {self.TITLE} {self.ancestor.path}")
        self.say(f"devices  {strategies.describe(self.strategy, self.policy)}")
        for line in checks.describe_data(self.splits):
            self.say(f"data     {line}")
        with self.strategy.scope():
            self.model = architectures.build(self.ancestor.architecture, self.policy)
            self.ancestor.weights.load_into(self.model)
        scores, labels, labels_used, told = self.measure()
        figure, figures = judge(scores, labels, self.splits.class_names)
        if figure is not None:
            run_dir.save_figure("confusion.png", figure)
        result = {
            **self.facts(self.model, self.splits.evaluation),
            "labels_used": labels_used,
            "classes": len(self.splits.class_names),
            **told,
            **figures,
            "ancestors": self.lineage(),
        }
        run_dir.write_result(result)
        return result, self.splits.unreadable

    def measure(self):
        """Returns (scores [n, classes], labels [n], labels used, what else the result tells)."""
        raise NotImplementedError

    def outputs(self, source, endpoint):
        """(values [n, ...], labels [n]) of an endpoint over a source."""
        found = self.extractor(self.model, endpoint)(source)
        return found[endpoint], found["label"]

    def say_result(self, result):
        say_result(result, self.say)


class Evaluation(Measurement):
    """--mode=eval: the classifier as it is; of a pretraining run that is the online probe."""

    MODE = "eval"
    TITLE = "evaluating the classifier of"

    def check_data(self, splits):
        super().check_data(splits)
        known = self.ancestor.architecture.get("num_classes")
        if known is None:
            raise InputError(
                f"--init={self.config.init} has no classifier; --mode=knn and --mode=linear_eval judge features."
            )
        ancestors.check_classes(self.ancestor, "init", self.config, splits)

    def measure(self):
        scores, labels = self.outputs(self.splits.evaluation, "logits")
        probe = self.ancestor.architecture.get("stop_gradient", False)
        told = {"classifier": "online probe" if probe else "trained"}
        return scores, labels, self.ancestor.result.get("labels_used", 0), told


class Neighbors(Measurement):
    """--mode=knn: weighted kNN on a layer's features."""

    MODE = "knn"
    TITLE = "weighted kNN on the features of"

    def measure(self):
        config = self.config
        endpoint = f"proj_head_{config.head_layer}"
        bank, bank_labels = self.outputs(
            knn_bank(self.splits.train, config.knn_bank_size, config.seed), endpoint
        )
        features, labels = self.outputs(self.splits.evaluation, endpoint)
        scores = knn_predict(
            bank,
            bank_labels,
            features,
            num_classes=len(self.splits.class_names),
            k=config.knn_k,
            temperature=config.knn_temperature,
        )
        used = int(np.count_nonzero(bank_labels >= 0))
        return scores, labels, used, {"head_layer": config.head_layer, "knn_k": config.knn_k}


class LogisticRegressionOnFeatures(Measurement):
    """--protocol=fast: scikit-learn's logistic regression on features computed once, without augmentation."""

    MODE = "linear_eval"
    TITLE = "logistic regression on the features of"

    def measure(self):
        config = self.config
        endpoint = f"proj_head_{config.head_layer}"
        train, train_labels = self.outputs(labeled_part(self.splits.train), endpoint)
        features, labels = self.outputs(self.splits.evaluation, endpoint)
        found = logistic_predict(
            train, train_labels, features, num_classes=len(self.splits.class_names), c=config.logistic_c
        )
        used = int(np.count_nonzero(train_labels >= 0))
        told = {"head_layer": config.head_layer, "protocol": "fast"}
        told |= {"logistic_c": found.c, "converged": found.converged}
        return found.scores, labels, used, told
