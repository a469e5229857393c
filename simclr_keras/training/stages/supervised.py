"""--mode=supervised: the same networks from scratch, on labels alone; the baseline of the other stages."""

from simclr_keras.formatting import counted
from simclr_keras.objectives.classification import FIGURES, Classifier
from simclr_keras.runs.architecture import Architecture
from simclr_keras.training.engine import checks
from simclr_keras.training.engine.optimizers import make_optimization
from simclr_keras.training.stages.classification import ClassificationStage, columns
from simclr_keras.training.stages.judging import simple_baselines
from simclr_keras.training.stages.training_stage import backbone_arguments


def run(config, say=print) -> dict:
    """Train with a SupervisedConfig and return the result, see `Stage.run`."""
    return Supervised(config, say).run()


class Supervised(ClassificationStage):
    """A run of --mode=supervised."""

    MODE = "supervised"
    COLUMNS = columns(FIGURES)

    @property
    def title(self):
        return f"training {self.config.model} from scratch on {counted(self.labeled.num_examples, 'label')}"

    def check_config(self):
        super().check_config()
        checks.check_backbone_weights(self.config)

    def make_result(self, scores):
        simple = (
            simple_baselines(self.labeled, self.evaluation, len(self.class_names)) if self.evaluation else {}
        )
        return {**super().make_result(scores), **simple}

    def make_learner(self):
        config = self.config
        self.architecture = Architecture.of_classifier(config, len(self.class_names))
        with self.strategy.scope():
            model = self.architecture.build(self.policy, **backbone_arguments(config))
            optimization = make_optimization(config, self.num_examples, adapt_classifier=True)
            return self.compiled(
                Classifier,
                model,
                optimization,
                label_smoothing=config.label_smoothing,
                class_weights=self.class_weights,
            )
