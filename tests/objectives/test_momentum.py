"""The momentum memory: against a NumPy twin over many steps, resumed, and skipped."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.remat import enable_remat
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.objectives.contrastive import ContrastiveLearner
from simclr_keras.objectives.momentum import Momentum, gather_keys
from simclr_keras.objectives.nt_xent import nt_xent
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.training.engine.loop import make_step_function
from simclr_keras.training.engine.signals import Stop
from tests.models.block_encoders import OneBlock
from tests.objectives import release_twin
from tests.objectives.nt_xent_twin import twin
from tests.objectives.spoiled_batches import TROUBLES, good_batches, trainer
from tests.objectives.test_contrastive_replicas import iterate, two_replicas
from tests.objectives.test_nonfinite import without_counters
from tests.objectives.tiny_learner import (
    BATCH,
    DECAY,
    assert_close,
    assert_equal,
    make_batches,
    make_learner,
    make_step,
    train,
    values,
)

ROWS = 2 * BATCH  # of a step


def batches_with_ids(count):
    """Batches in which ids come again while they are in the queue, occur twice in a batch, or are unknown."""
    batches = make_batches(count)
    for step, batch in enumerate(batches):
        batch["id"] = (np.arange(BATCH, dtype=np.int32) * (step + 1)) % 13 + 70_000
        batch["id"][step % BATCH] = -1
        batch["views"] = (batch["views"] / 255).astype(np.float32)
    return batches


def forward(weights, images):
    """The projections of a TinyEncoder, and the new moving averages."""
    moved = {}
    x = release_twin.convolve(weights, "encoder/conv", tf.constant(images), stride=2)
    z = tf.reduce_mean(tf.nn.relu(release_twin.normalize(weights, moved, "encoder/bn", x)), [1, 2])
    for layer in (1, 2, 3):
        z = z @ weights[f"projection_head/dense{layer}/kernel"]
        z = release_twin.normalize(weights, moved, f"projection_head/bn{layer}", z)
        z = tf.nn.relu(z) if layer < 3 else z
    return z.numpy(), moved


class MemoryTwin:
    """A momentum network and its queue, as a dict of weights and a list of (embedding, id), oldest first."""

    def __init__(self, weights, size):
        self.weights, self.size, self.queue = dict(weights), size, []

    def step(self, online, after, batch):
        """Returns the figures of a step, before which the model's weights are `online`; then they are `after`."""
        images = np.concatenate([batch["views"][:, 0], batch["views"][:, 1]]).astype(np.float64)
        anchors, _ = forward(online, images)
        keys, moved = forward(self.weights, images)
        figures = twin(
            *np.split(anchors, 2),
            0.5,
            keys=np.split(keys, 2),
            queue=[key for key, _ in self.queue],
            ids=batch["id"],
            queue_ids=[-2 if number < 0 else number for _, number in self.queue],
        )
        self.queue = (
            [*self.queue, *zip(keys, [*batch["id"], *batch["id"]])][-self.size :] if self.size else []
        )
        for name, value in self.weights.items():
            self.weights[name] = moved[name] if name in moved else DECAY * value + (1 - DECAY) * after[name]
        return figures


def part(state, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith((f"{prefix}encoder", f"{prefix}projection_head"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("size", [3 * ROWS, 0])
def test_memory_agrees_with_the_twin_over_many_steps(size):
    learner = make_learner(dtype="float64", memory_size=size)
    after = values(learner)
    assert_equal(part(after, "momentum/"), part(after, "model/"))
    memory, step = MemoryTwin(part(after, "momentum/"), size), make_step(learner)
    for batch in batches_with_ids(8):
        before = after
        learner.reset_metrics()
        step(batch)
        after = values(learner)
        expected = memory.step(part(before, "model/"), part(after, "model/"), batch)
        figures = learner.get_metrics_result()
        actual = [figures[f"contrastive_{name}"] for name in ("loss", "accuracy", "entropy")]
        np.testing.assert_allclose(actual, expected, rtol=1e-9)
    assert_close(part(after, "momentum/"), memory.weights, 1e-9)
    if size:
        order = (after["queue/index"] + np.arange(size)) % size
        np.testing.assert_allclose(after["queue/projections"][order], [key for key, _ in memory.queue], 1e-9)
        ids = [number if number >= 0 else -2 for _, number in memory.queue]
        np.testing.assert_array_equal(after["queue/ids"][order], ids)


@pytest.mark.slow
def test_unfilled_places_are_no_negatives():
    small, large = (make_learner(dtype="float64", memory_size=size) for size in (2 * ROWS, 50 * ROWS))
    batches = [{name: array for name, array in batch.items() if name != "id"} for batch in make_batches(3)]
    # The third step's queue is full of two batches in one, and mostly empty in the other.
    assert_close(train(large, batches)[-1], train(small, batches)[-1], 1e-12)
    ids = values(large)["queue/ids"]
    assert (ids == -2).sum() == 3 * ROWS
    assert (ids == -1).sum() == 47 * ROWS


def test_no_memory_has_no_variables_and_memory_keeps_those_of_the_model():
    plain, with_memory = make_learner(), make_learner(memory_size=ROWS)
    added = values(with_memory).keys() - values(plain).keys()
    assert {name.split("/")[0] for name in added} == {"momentum", "queue"}
    assert not any("classifier" in name for name in added)
    assert [v.path for v in with_memory.trainable_variables] == [v.path for v in plain.trainable_variables]


@pytest.mark.slow
def test_evaluation_changes_nothing():
    learner = make_learner(memory_size=2 * ROWS)
    train(learner, make_batches(2))
    before = values(learner)
    result = learner.evaluate(make_batches(3)[2], batch_size=BATCH, verbose=0, return_dict=True)
    assert np.isfinite(result["contrastive_loss"])
    after = values(learner)
    assert_equal(*({n: v for n, v in state.items() if "metrics" not in n} for state in (after, before)))


@pytest.mark.slow
def test_bad_batch_leaves_network_and_queue_unchanged():
    options = {"dtype": "float32", "memory_size": 2 * ROWS}
    guarded, plain = trainer(1, on_nan="skip_batch", **options), trainer(1, **options)
    first, second = good_batches(2)
    for trouble in TROUBLES[0], TROUBLES[-1]:
        for each in guarded, plain:
            each.reset().train([first])
        guarded.train([trouble.batch()])
        plain.move_on()
        for each in guarded, plain:
            each.train([second])
        assert guarded.learner.skipped == (1, 0)
        assert_equal(without_counters(guarded.state()), without_counters(plain.state()))


@pytest.mark.slow
def test_several_steps_in_one_call_and_a_resumed_run_are_bitwise_the_same(tmp_path):
    strategy, batches = two_replicas(), batches_with_ids(5)
    with strategy.scope():
        learner, resumed = (make_learner(memory_size=3 * ROWS) for _ in range(2))
    take_steps, iterator = make_step_function(learner, strategy, Stop()), iterate(strategy, batches)
    take_steps(iterator, 3)
    Checkpoints(str(tmp_path), learner.state(), keep=1).save(3)
    take_steps(iterator, 2)

    for variable in resumed.state().values():  # so that whatever is not restored shows
        variable.assign(variable * 0 + 1)
    assert Checkpoints(str(tmp_path), resumed.state(), keep=1).restore() == 3
    train(resumed, batches[3:], strategy)
    assert_equal(values(resumed), values(learner))


def test_keys_and_ids_are_gathered_by_one_collective():
    strategy, keys, ids = two_replicas(), tf.zeros([6, 4]), tf.constant([2**31, -1, 2**63 - 2**16 - 1])
    function = tf.function(lambda: strategy.run(gather_keys, args=(keys, ids)))
    operations = function.get_concrete_function().graph.get_operations()
    # One more is TensorFlow's, of the lengths.
    gathers = [op.get_attr("T") for op in operations if op.type.startswith("CollectiveGather")]
    assert gathers.count(tf.float32) == 2 >= gathers.count(tf.int32)
    (_, gathered) = function()
    np.testing.assert_array_equal(strategy.experimental_local_results(gathered)[0], [*ids, *ids])


def test_remat_changes_nothing():
    model = SimCLRModel(OneBlock())
    model.build((None, 8, 8, 3))
    images, results = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32"), []
    for remat in (False, True):
        momentum = Momentum(model, memory_size=0)
        if remat:
            enable_remat(model)
        results.append({"z": momentum.projections(images), **momentum.state()})
    before = {f"momentum/{v.path.partition('/')[2]}": v for v in model.variables}
    assert any(not np.array_equal(results[1][name], value) for name, value in before.items())
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_weights_of_keras_contain_the_memory(tmp_path):
    saved, loaded = (make_learner(memory_size=3 * ROWS) for _ in range(2))
    for batch in batches_with_ids(2):
        saved.train_step(batch)
    saved.save_weights(tmp_path / "x.weights.h5")
    loaded.load_weights(tmp_path / "x.weights.h5")
    saved.reset_metrics()
    assert_equal(values(loaded), values(saved))
    assert (values(loaded)["queue/ids"] >= 70_000).any()
    network, rows = "19 variables of the momentum network", f"and a queue of {3 * ROWS} rows x 8"
    for other, words in (
        (make_learner(), f"{network} {rows}, not no memory"),
        (make_learner(memory_size=0), f"{network} {rows}, not {network}"),
        (make_learner(memory_size=ROWS), f"{network} {rows}, not {network} and a queue of {ROWS} rows x 8"),
    ):
        before = values(other)
        with pytest.raises(
            InputError, match=rf"^the weights were saved with another memory .* Received: {words}$"
        ):
            other.load_weights(tmp_path / "x.weights.h5")
        assert_equal(values(other), before)


def test_weights_are_loaded_whole_or_not_at_all(tmp_path, monkeypatch):
    saved = make_learner(memory_size=ROWS)
    saved.train_step(batches_with_ids(1)[0])
    saved.save_weights(tmp_path / "x.weights.h5")
    # Without optimizers, as for inference.
    bare = ContrastiveLearner(make_learner().model, memory="queue", memory_size=ROWS)
    bare.load_weights(tmp_path / "x.weights.h5", True)
    np.testing.assert_array_equal(bare.momentum.queue, saved.momentum.queue)

    other = make_learner(memory_size=ROWS)
    before = values(other)
    shapes = [tuple(variable.shape) for variable in other._own_state()]
    store = {str(i): np.zeros((2, *shape) if i == 0 else shape) for i, shape in enumerate(shapes)}
    with pytest.raises(InputError, match=r"Received: a variable of shape \(2, .*\), not \(.*\)$"):
        other.load_own_variables(store)

    def stop_half_way(learner, store):
        learner.model.variables[0].assign_add(tf.ones(learner.model.variables[0].shape))
        raise KeyboardInterrupt

    monkeypatch.setattr(ContrastiveLearner, "load_own_variables", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        other.load_weights(tmp_path / "x.weights.h5")
    assert_equal(values(other), before)


def test_of_a_larger_batch_of_unknown_size_the_newest_rows_stay():
    momentum = Momentum(make_learner().model, memory_size=3)
    keys = np.arange(4 * 8, dtype=np.float32).reshape(4, 8)
    rows, numbers = tf.TensorSpec([None, 8]), tf.TensorSpec([None], tf.int64)
    enqueue = tf.function(momentum.enqueue, input_signature=[(rows, rows), numbers])
    enqueue((tf.constant(keys[:1]), tf.constant(keys[1:2])), tf.constant([5], tf.int64))
    np.testing.assert_array_equal(momentum.queue_ids, [5, 5, -1])
    enqueue((tf.constant(keys[:2]), tf.constant(keys[2:])), tf.constant([6, 7], tf.int64))
    order = (int(momentum.index.numpy()) + np.arange(3)) % 3
    np.testing.assert_array_equal(momentum.queue.numpy()[order], keys[1:])
    np.testing.assert_array_equal(momentum.queue_ids.numpy()[order], [7, 6, 7])


def test_ids_of_64_bits_are_kept():
    ids = np.array([5, 5 + 2**32, 2**63 - 1, -1] * 2)  # the first two are alike in 32 bits
    learner = make_learner(memory_size=ROWS)
    keys = tf.random.normal([ROWS, 8])
    learner.contrast(*tf.split(keys, 2), keys, ids)
    np.testing.assert_array_equal(learner.momentum.queue_ids, np.where(ids < 0, -2, ids).tolist() * 2)
    views, queue = tf.split(tf.random.normal([4, 8]), 2), tf.random.normal([2, 8])
    losses = [
        nt_xent(*views, keys=views, queue=queue, ids=np.array([7, 8]), queue_ids=queue_ids).loss
        for queue_ids in ([7 + 2**32, 8 + 2**32], [-2, -2])
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_arguments_that_make_no_sense_are_refused():
    model = make_learner().model
    for options, message in [
        ({"memory": "bank"}, "'none' or 'queue'. Received: memory='bank'"),
        ({"ema_decay": 1.0}, "below 1. Received: ema_decay=1.0"),
        ({"memory_size": -1}, "0 or more. Received: memory_size=-1"),
        ({"memory": "none", "ema_decay": 0.99}, "no ema_decay. Received: {'ema_decay': 0.99}"),
    ]:
        with pytest.raises(InputError, match=message):
            ContrastiveLearner(model, **{"memory": "queue", **options})
    learner = make_learner(memory_size=8)
    with pytest.raises(InputError, match=r"at least 16.* 8 examples.*Received: memory_size=8"):
        learner.objective(make_batches(1)[0])
    batch = {**make_batches(1)[0], "id": np.ones(8, np.float32)}
    with pytest.raises(InputError, match=r'The "id" of a batch must be integers \[8\].*float32'):
        make_learner(memory_size=16).objective(batch)
