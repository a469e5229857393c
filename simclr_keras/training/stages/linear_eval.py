"""--mode=linear_eval: how good frozen features are for a linear classifier, by the paper's protocol or a quick one."""

from simclr_keras.models.freezing import freeze
from simclr_keras.runs import ancestors
from simclr_keras.training.stages import evaluate
from simclr_keras.training.stages.finetune import Finetuning


def run(config, say=print):
    """Evaluates as a LinearEvalConfig says and returns the result, which is also in result.json.

    Raises:
        InputError, TrainingError, Stopped: see `Stage.run`.
    """
    stage = evaluate.LogisticRegressionOnFeatures if config.protocol == "fast" else LinearEvaluation
    return stage(config, say).run()


class LinearEvaluation(Finetuning):
    """The paper's protocol: the classifier alone is trained, on augmented crops, the rest in inference mode."""

    MODE = "linear_eval"
    label_smoothing = 0.0

    def settle(self, config):
        ancestors.check_head_layer(config.head_layer, self.ancestor)
        self.head_layer = config.head_layer
        return config

    @property
    def title(self):
        return f"linear evaluation of {self.config.model}, layer {self.head_layer} of its projection head, frozen"

    def freeze(self, model):
        freeze(model, 4, heads=True)

    def make_result(self, history, figures):
        return {**super().make_result(history, figures), "protocol": "paper"}
