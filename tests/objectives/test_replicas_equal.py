"""Every objective on 1, 2 and 4 replicas, and compiled by XLA: the same losses, gradients, metrics and weights."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.models.freezing import ENCODER, NOTHING, freeze
from simclr_keras.objectives import nt_xent, tiled_nt_xent
from simclr_keras.optim.lars import LARS
from tests.models.block_encoders import TwoBlocks
from tests.objectives import tiny_classifier, tiny_learner
from tests.objectives.tiny_learner import BATCH, SIZE, SOME_LABELED, TinyEncoder, assert_close, values

STEPS, VIEWS = 5, 2
QUEUE = 3 * VIEWS * BATCH  # less than all steps fill
FLOAT32 = 1e-4  # of the largest value


def pretrain(dtype, augment, **options):
    return tiny_learner.make_learner(dtype=dtype, proj_layers=1, augment=augment, **options)


def finetune(dtype, augment, encoder=TinyEncoder, after_block=NOTHING, head_layer=1, heads=False, **options):
    model = tiny_classifier.make_model(
        dtype=dtype, encoder=encoder, proj_layers=2, head_layer=head_layer, after_block=after_block
    )
    if heads:
        freeze(model, after_block, heads=True)
    return tiny_classifier.make_classifier(model, augment=augment, **options)


def supervised(dtype, augment):
    optimizer = LARS(0.5, weight_decay=1e-2, exclude_from_layer_adaptation=["gamma|beta|bias"])
    return finetune(dtype, augment, TwoBlocks, head_layer=0, optimizer=optimizer)


def distill(dtype, augment):
    model = tiny_classifier.make_model(dtype=dtype)
    teacher = tiny_classifier.make_teacher(dtype=dtype)
    return tiny_classifier.make_distiller(model, teacher, alpha=0.3, temperature=0.5, augment=augment)


class Objective(NamedTuple):
    """How a learner is made, for how many replicas, and the objective whose one device it is compared with."""

    make: Callable
    replicas: tuple = (2, 4)
    reference: str | None = None
    microbatch_size: int | None = None


OBJECTIVES = {
    "pretrain": Objective(pretrain),
    "pretrain, memory": Objective(functools.partial(pretrain, memory_size=QUEUE)),
    # In tiles on replicas, against the whole matrix on one device.
    "pretrain, memory, tiled": Objective(
        functools.partial(pretrain, memory_size=QUEUE), (2,), "pretrain, memory"
    ),
    "pretrain, memory, micro-batches": Objective(
        functools.partial(pretrain, memory_size=QUEUE, microbatch_size=4), (2,), microbatch_size=4
    ),
    "finetune": Objective(functools.partial(finetune, label_smoothing=0.1)),
    "linear_eval": Objective(functools.partial(finetune, after_block=ENCODER, heads=True), (2,)),
    "supervised": Objective(supervised, (2,)),
    "distill": Objective(distill),
}
SLOW = ("pretrain, memory, tiled", "pretrain, memory, micro-batches", "supervised")


def case(name, *replicas):
    is_slow = name in SLOW or 4 in replicas
    return pytest.param(name, *replicas, marks=[pytest.mark.slow] * is_slow)


def batches_of(name):
    """Batches with labels and ids spread unevenly: ids come again while they are in the queue."""
    make = tiny_learner.make_batches if name.startswith("pretrain") else tiny_classifier.make_batches
    batches = make(STEPS, np.array(SOME_LABELED, np.int32))
    for step, batch in enumerate(batches):
        batch["id"] = (np.arange(BATCH, dtype=np.int32) * (step + 1)) % 13 + 70_000
        batch["id"][step] = -1
    return batches


def microbatch_order(replicas, size):
    """The rows of the batch in the order in which replicas go through them, each in micro-batches of its own rows."""
    rows = np.arange(BATCH).reshape(replicas, -1, size // replicas)
    return rows.transpose(1, 0, 2).reshape(-1)


class Brightness(ColorBlur):
    """Scales each row of the global batch by what it draws, exactly; `order` are the rows of a reordered batch."""

    def __init__(self, order):
        super().__init__(image_size=SIZE, seed=3)
        object.__setattr__(self, "order", order)

    def parameters(self, step, batch_size, windows=2):
        drawn = super().parameters(step, batch_size, windows)
        return {name: tf.gather(values, self.order, axis=1) for name, values in drawn.items()}

    def __call__(self, views, step, position=None):
        drawn = self.parameters_of_replica(step, views.shape[0], views.shape[1], position)
        # An integer: the other draws are float32, which XLA rounds in its own way.
        factor = tf.cast(1 + drawn["order"][:, 0], tf.float64)[:, None, None, None]
        return factor * tf.cast(tf.concat(tf.unstack(views, axis=1), axis=0), tf.float64) / 1020


def run(name, dtype, order, strategy, **options):
    """Take all steps.

    Returns:
        a list with, for each step, the loss and gradients of all replicas together, and the running figures; and the
        state at the end.
    """
    with strategy.scope():
        learner = OBJECTIVES[name].make(dtype, Brightness(order))
    paths = [variable.path for variable in learner.main_variables + learner.probe_variables]
    rows = BATCH // strategy.num_replicas_in_sync

    @tf.function(autograph=False, **options)
    def step(batch):
        return strategy.run(learner._step, args=(batch,))

    def part(array, context):
        return tf.constant(array[context.replica_id_in_sync_group * rows :][:rows])

    steps = []
    for batch in batches_of(name):
        in_order = {key: array[order] for key, array in batch.items()}
        local = strategy.experimental_distribute_values_from_function(
            lambda context, batch=in_order: {key: part(array, context) for key, array in batch.items()}
        )
        losses, *gradients = map(strategy.experimental_local_results, step(local))
        for path, copies in zip(paths, gradients, strict=True):
            np.testing.assert_array_equal(copies, [copies[0]] * len(copies), err_msg=path)
        figures = {key: float(value) for key, value in learner.get_metrics_result().items()}
        summed = {path: copies[0].numpy() for path, copies in zip(paths, gradients)}
        steps.append({"loss": {"": np.sum(losses)}, "gradients": summed, "figures": figures})
    for variable in learner.state().values():
        copies = strategy.experimental_local_results(variable.value)
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0], err_msg=variable.path)
    return steps, values(learner)


@functools.cache
def one_device(name, dtype, order):
    """As `run`, on one device, with what it leaves in the queue in the order of the batch."""
    steps, state = run(name, dtype, np.array(order), tf.distribute.get_strategy())
    for key in ("queue/projections", "queue/ids"):
        if key in state:
            blocks = state[key].reshape(-1, BATCH, *state[key].shape[1:])
            state[key] = blocks[:, np.argsort(order)].reshape(state[key].shape)
    return steps, state


def assert_same(actual, expected, tolerance):
    """Compares what `run` returned."""
    for ours, theirs in zip(actual[0], expected[0], strict=True):
        for kind in theirs:
            assert_close(ours[kind], theirs[kind], tolerance)
    assert_close(actual[1], expected[1], tolerance)


def on_replicas(name, replicas, dtype, tolerance):
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    order, size = np.arange(BATCH), OBJECTIVES[name].microbatch_size
    actual = run(name, dtype, order, strategy)
    if size:
        order = microbatch_order(replicas, size)
    expected = one_device(OBJECTIVES[name].reference or name, dtype, tuple(order.tolist()))
    assert_same(actual, expected, tolerance)
    return expected


@pytest.fixture
def tiles(monkeypatch):
    """Call it to have similarities in tiles of 4."""

    def use():
        monkeypatch.setattr(nt_xent, "MOST_DENSE_SIMILARITIES", 0)
        monkeypatch.setattr(tiled_nt_xent, "TILE", 4)

    return use


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "replicas"),
    [case(name, number) for name, objective in OBJECTIVES.items() for number in objective.replicas],
)
def test_replicas_are_one_device(name, replicas, tiles):
    if name.endswith("tiled"):
        tiles()
    steps, _ = on_replicas(name, replicas, "float64", 1e-9)
    assert abs(steps[-1]["loss"][""] - steps[0]["loss"][""]) > 1e-8


@pytest.mark.parametrize("name", ["pretrain, memory", "distill"])
def test_replicas_in_float32_are_one_device_but_for_rounding(name):
    on_replicas(name, 2, "float32", FLOAT32)


@pytest.mark.slow
@pytest.mark.parametrize("name", [case(name) for name in OBJECTIVES])
def test_xla_compiles_the_same_step(name, tiles, rewritten_graphs):
    if name.endswith("tiled"):
        tiles()
    order = np.arange(BATCH)
    expected = one_device(OBJECTIVES[name].reference or name, "float64", tuple(order.tolist()))
    assert_same(run(name, "float64", order, tf.distribute.get_strategy(), jit_compile=True), expected, 1e-9)


def test_evaluation_counts_every_example_once(mirrored):
    """Eleven examples in batches of 8 and 3, seven of them unlabeled."""
    arrays = {
        key: np.concatenate([b[key] for b in batches_of("finetune")[:2]])[:11] for key in ("views", "label")
    }
    with mirrored.scope():
        learner = tiny_classifier.make_classifier(tiny_classifier.make_model(dtype="float64"))
    figures = learner.evaluate(
        tf.data.Dataset.from_tensor_slices(arrays).batch(8), verbose=0, return_dict=True
    )
    logits = learner.model(arrays["views"][:, 0] / 255.0)["logits"].numpy()
    labeled = arrays["label"] >= 0
    losses = keras.losses.sparse_categorical_crossentropy(arrays["label"][labeled], logits[labeled], True)
    hits = logits[labeled].argmax(axis=1) == arrays["label"][labeled]
    np.testing.assert_allclose(figures["loss"], np.mean(losses), 1e-9)
    np.testing.assert_allclose(figures["accuracy"], np.mean(hits), 1e-9)
