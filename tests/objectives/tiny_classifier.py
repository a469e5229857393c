"""A Classifier and a Distiller small enough to trace on four replicas in seconds, and their batches."""

import keras
import numpy as np

from simclr_keras.models.freezing import NOTHING, freeze
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import create_model
from simclr_keras.objectives.classification import Classifier
from simclr_keras.objectives.distillation import Distiller
from tests.objectives.tiny_learner import BATCH, CLASSES, SIZE, TinyEncoder

SOME_LABELED = np.array([2, -1, -1, -1, -1, -1, 0, 1], np.int32)  # on four replicas 1, 0, 0 and 2 of them
ALL_LABELED = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)


def make_model(
    name=None,
    *,
    seed=0,
    dtype="float32",
    image_size=SIZE,
    num_classes=CLASSES,
    after_block=NOTHING,
    encoder=TinyEncoder,
    **options,
):
    """The named network, or one of a tiny encoder, frozen up to a place; the same weights for each seed."""
    keras.utils.set_random_seed(seed)
    options = {"num_classes": num_classes, "proj_layers": 0, "dtype": dtype, **options}
    if name is None:
        model = SimCLRModel(encoder(dtype=dtype), **options)
        model.build((None, image_size, image_size, 3))
    else:
        model = create_model(name, image_size=image_size, **options)
    freeze(model, after_block)
    return model


def make_teacher(name=None, scale=300.0, seed=1, **options):
    """A model that is sure of some classes, and whose moving statistics are not those of a batch."""
    model = make_model(name, seed=seed, **options)
    random = np.random.default_rng(seed)
    model.classifier.kernel.assign(model.classifier.kernel * scale)
    for variable in model.non_trainable_variables:
        variable.assign(random.uniform(0.1, 0.2, variable.shape))
    return model


def compiled(learner, optimizer=None, **options):
    learner.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), **options)
    return learner


def make_classifier(model=None, *, optimizer=None, learner_class=Classifier, **options):
    options = {"weight_decay": 1e-2, "decayed_in_loss": lambda path: path.endswith("/kernel"), **options}
    return compiled(learner_class(model or make_model(), **options), optimizer)


def make_distiller(model=None, teacher=None, *, optimizer=None, learner_class=Distiller, **options):
    options = {"weight_decay": 1e-2, "decayed_in_loss": lambda path: path.endswith("/kernel"), **options}
    return compiled(learner_class(model or make_model(), teacher or make_teacher(), **options), optimizer)


def make_batches(count, labels=SOME_LABELED):
    """`count` batches of random images for both learners; the labels are those of both streams."""
    random = np.random.default_rng(1)
    views = random.integers(256, size=(2, count, BATCH, 1, SIZE, SIZE, 3), dtype=np.uint8)
    rows = np.arange(BATCH, dtype=np.int32)
    return [
        {"views": v, "id": rows, "label": labels, "labeled_views": w, "labeled_label": labels}
        for v, w in zip(*views)
    ]


def only(batches, *names):
    return [{name: batch[name] for name in names} for batch in batches]
