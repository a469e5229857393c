"""--mode=linear_eval: a linear classifier on frozen features, by the paper's protocol or a fast one."""

from simclr_keras.models.freezing import freeze
from simclr_keras.runs import ancestors
from simclr_keras.training.stages.evaluate import LogisticRegressionEvaluation
from simclr_keras.training.stages.finetune import Finetuning


def run(config, say=print) -> dict:
    """Evaluate with a LinearEvalConfig and return the result, see `Stage.run`."""
    stage = LinearEvaluation if config.trains else LogisticRegressionEvaluation
    return stage(config, say).run()


class LinearEvaluation(Finetuning):
    """The paper's protocol: only the classifier is trained, on augmented crops; the rest is in inference mode."""

    MODE = "linear_eval"
    classifier_init = "normal"
    label_smoothing = 0.0

    def choose_head_layer(self, config):
        ancestors.check_head_layer(config.head_layer, self.ancestor)
        self.head_layer = config.head_layer
        return config

    @property
    def title(self):
        return f"linear evaluation of {self.config.model}, layer {self.head_layer} of its projection head, frozen"

    def freeze(self, model):
        freeze(model, 4, heads=True)

    def make_result(self, scores):
        return {**super().make_result(scores), "protocol": "paper"}
