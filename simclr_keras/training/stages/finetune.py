"""--mode=finetune: a classifier on a layer of the projection head, everything below it trained on (few) labels."""

import dataclasses

import keras

from simclr_keras.config.classify import finetuning_rate
from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import is_backbone
from simclr_keras.models.freezing import freeze
from simclr_keras.objectives.classification import FIGURES, Classifier
from simclr_keras.runs import ancestors
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.training.engine.optimizers import make_optimization
from simclr_keras.training.stages.classification import ClassificationStage, columns
from simclr_keras.training.stages.from_run import FromRun
from simclr_keras.training.stages.head_layer_search import fewest_labels, search_head_layer


def run(config, say=print) -> dict:
    """Fine-tune with a FinetuneConfig and return the result, see `Stage.run`."""
    return Finetuning(config, say).run()


class Finetuning(FromRun, ClassificationStage):
    """A run of --mode=finetune (SimCLRv2, arXiv 2006.10029, section 2).

    Attributes:
        head_layer: int; with --head_layer=auto None until the learner is made.
        rate_of_network: whether the network has chosen the learning rate.
    """

    MODE = "finetune"
    COLUMNS = columns(FIGURES)
    TRAINED_PARTS = ("encoder", "projection_head")
    rate_of_network = False

    def choose_head_layer(self, config):
        depth = self.ancestor.architecture.head_depth
        if config.head_layer is None:
            # In the middle of the head, as the paper found best for few labels; a head of one layer has no middle.
            whole = self.ancestor.architecture.whole_head_depth
            middle = depth >= 1 and whole >= 2
            config = dataclasses.replace(config, head_layer=int(middle))
        self.rate_of_network = config.learning_rate is None
        if self.rate_of_network:
            config = dataclasses.replace(config, learning_rate=finetuning_rate(config.model))
        self.head_layer = None if config.head_layer == "auto" else config.head_layer
        if self.head_layer is not None:
            ancestors.check_head_layer(self.head_layer, self.ancestor)
        if is_backbone(config.model) and config.freeze_through not in (-1, 4):
            raise InputError(
                f"--freeze_through={config.freeze_through} is not for --init={config.init}: {config.model} has "
                "no block groups; give -1 or 4."
            )
        return config

    def check_data(self):
        super().check_data()
        labels = self.splits.train.labels  # a stream's are not read yet
        if self.head_layer is None and labels is not None and not steps_in(self.run_dir.checkpoints):
            fewest_labels(labels, self.splits.class_names)

    @property
    def title(self):
        return f"fine-tuning {self.config.model} from layer {self.head_layer} of its projection head"

    def introduction(self):
        yield from super().introduction()
        if self.rate_of_network:
            network = "ResNets" if is_backbone(self.config.model) else self.config.model
            yield (
                f"steps    base learning rate {self.config.learning_rate:g}, the paper's for {network}; "
                "--learning_rate sets another"
            )

    def make_learner(self):
        if self.head_layer is None and steps_in(self.run_dir.checkpoints):
            # It was searched when the run began, maybe with fewer epochs.
            architecture = self.run_dir.read_architecture()
            self.head_layer = architecture.head_layer if architecture else None
        if self.head_layer is None:
            # Before the search, which may take long: reports list runs by their config.json.
            self.run_dir.bind(self.MODE, self.config, **self.ancestry())
            self.head_layer = search_head_layer(self)
        return self.learner_on(self.head_layer, self.num_examples)

    def learner_on(self, head_layer, num_examples):
        """Return (compiled Classifier on that layer of the pretrained network, its learning rate by step)."""
        config = self.config
        self.architecture = self.ancestor.architecture.with_classifier(len(self.class_names), head_layer)
        # Whatever was made before: a search that was interrupted makes fewer networks when it resumes.
        keras.utils.set_random_seed(config.seed)
        with self.strategy.scope():
            model = self.architecture.build(self.policy, classifier_init=self.classifier_init)
            self.ancestor.weights.load_into(model, parts=("encoder", "projection_head"))
            self.freeze(model)
            optimization = make_optimization(config, num_examples)
            return self.compiled(
                Classifier,
                model,
                optimization,
                label_smoothing=self.label_smoothing,
                class_weights=self.class_weights,
            )

    @property
    def classifier_init(self) -> str:
        return self.config.classifier_init

    @property
    def label_smoothing(self) -> float:
        return self.config.label_smoothing

    def freeze(self, model) -> None:
        """Freeze the layers that are not trained."""
        freeze(model, self.config.freeze_through)

    def begin(self, first_step):
        self._cross_validated = self._scores_before(first_step)
        return super().begin(first_step)

    def _scores_before(self, first_step):
        """Return the cross-validated accuracy of the features before training; a resumed run has it in a file."""
        if ancestors.saw_labels(self.lineage()):
            return {}
        if first_step:
            return self.run_dir.read_baselines()
        scores = self.cross_validated(self.learner.model, f"proj_head_{self.head_layer}", self.class_names)
        self.run_dir.write_baselines(scores)
        return scores

    def make_result(self, scores):
        return {**super().make_result(scores), "head_layer": self.head_layer, **self._cross_validated}
