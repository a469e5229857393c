"""Whole training steps of every objective, several to a call, and the features of evaluation, traced for TPUs."""

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.evaluation.features import Extractor
from simclr_keras.models import resnet
from simclr_keras.models.freezing import ENCODER, freeze
from simclr_keras.objectives import nt_xent, tiled_nt_xent
from simclr_keras.optim.lars import LARS
from simclr_keras.training.engine.loop import make_step_function
from simclr_keras.training.engine.signals import Stop
from tests import tpu_tracing
from tests.data.small_sources import arrays
from tests.objectives import tiny_classifier, tiny_learner
from tests.objectives.tiny_learner import BATCH, make_learner

# Every kind of layer: the ResNet-D stem and its pooling, bottlenecks with projections, selective kernels.
NETWORK, SIZE = "r50_0.05x_sk1", 40
PRECISION = "mixed_bfloat16"


@pytest.fixture(autouse=True)
def short_network(monkeypatch):
    """One block in each group of the ResNet-50."""
    monkeypatch.setitem(resnet.BLOCKS, 50, (1, 1, 1, 1))


def augment():
    # On a TPU the step is compiled as a whole, and nothing in it on its own.
    return ColorBlur(SIZE, compile=False)


def pretrain():
    return make_learner(NETWORK, image_size=SIZE, dtype=PRECISION, augment=augment(), on_nan="skip_batch")


def model(name=NETWORK, **options):
    return tiny_classifier.make_model(name, dtype=PRECISION, image_size=SIZE, se_ratio=0.25, **options)


def finetune():
    network = model(proj_layers=2, head_layer=1, after_block=2)
    return tiny_classifier.make_classifier(
        network, optimizer=LARS(0.1, weight_decay=1e-2), label_smoothing=0.1, augment=augment()
    )


def linear_eval():
    network = tiny_classifier.make_model(proj_layers=1, head_layer=0, after_block=ENCODER)
    freeze(network, ENCODER, heads=True)
    return tiny_classifier.make_classifier(network)


def supervised():
    return tiny_classifier.make_classifier(
        tiny_classifier.make_model(), optimizer=LARS(0.1), on_nan="skip_batch"
    )


def distill():
    teacher = tiny_classifier.make_teacher(NETWORK, dtype=PRECISION, image_size=SIZE)
    return tiny_classifier.make_distiller(model(), teacher, alpha=0.5, augment=augment())


memory = functools.partial(make_learner, memory_size=4 * BATCH, on_nan="skip_batch")
LEARNERS = {
    "pretrain": pretrain,
    "pretrain, memory": memory,
    "pretrain, memory, tiled": memory,
    "pretrain, memory, micro-batches": functools.partial(memory, microbatch_size=4),
    "pretrain, micro-batches, local statistics": functools.partial(
        make_learner, microbatch_size=4, global_bn=False
    ),
    "finetune": finetune,
    "linear_eval": linear_eval,
    "supervised": supervised,
    "distill": distill,
}


def assert_compiles(graph):
    findings = tpu_tracing.findings(graph)
    assert not findings.without_kernel
    assert not findings.without_shape
    return findings


SLOW = ("pretrain", "distill")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in LEARNERS]
)
def test_several_steps_in_one_call(name, monkeypatch):
    if name.endswith("tiled"):
        monkeypatch.setattr(nt_xent, "MOST_DENSE_SIMILARITIES", 0)
        monkeypatch.setattr(tiled_nt_xent, "TILE", 8)
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        learner = LEARNERS[name]()
    module = tiny_learner if name.startswith("pretrain") else tiny_classifier
    size = SIZE if learner.augment else tiny_learner.SIZE
    (batch,) = module.make_batches(1)
    batch = {
        key: np.resize(array, (*array.shape[:2], size, size, 3)) if "views" in key else array
        for key, array in batch.items()
    }
    iterator = iter(
        strategy.distribute_datasets_from_function(
            lambda context: tiny_learner.as_dataset([batch], strategy.num_replicas_in_sync)
        )
    )
    # The graph that the training loop calls; without a TPU it can be made, but not run.
    take_steps = inspect.getclosurevars(make_step_function(learner, strategy, Stop())).nonlocals["take_steps"]
    graph = take_steps.get_concrete_function(iterator, tf.constant(3)).graph.as_graph_def(add_shapes=True)
    findings = assert_compiles(graph)
    assert findings.collectives["CrossReplicaSum"]
    assert not findings.wide_collectives
    is_guarded = any(node.op == "IsFinite" for node in tpu_tracing.replicated_nodes(graph))
    assert is_guarded == (learner.on_nan == "skip_batch")


@pytest.mark.slow
def test_features_of_evaluation():
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        network = model()
    extractor = Extractor(
        network, strategy, image_size=SIZE, batch_size=8, endpoints=("final_avg_pool", "logits")
    )
    (batch, *_) = extractor._batches(arrays(), as_they_are=False)
    graph = extractor._step.get_concrete_function(batch).graph.as_graph_def(add_shapes=True)
    assert_compiles(graph)
