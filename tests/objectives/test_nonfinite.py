"""on_nan="skip_batch": a bad batch leaves no trace but the iterations and the counts; a good one what it always did."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.objectives.nonfinite import Guard, all_finite
from simclr_keras.runs.checkpoints import Checkpoints
from tests import tpu_tracing
from tests.objectives.spoiled_batches import (
    INF,
    NAN,
    TROUBLES,
    Spoiled,
    Trainer,
    Trouble,
    good_batches,
    trainer,
)
from tests.objectives.tiny_learner import as_dataset, assert_equal, make_batches, make_learner

by_name = pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)


def without_counters(state):
    return {name: value for name, value in state.items() if not name.startswith("skipped/")}


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)], ids=["one device", "two replicas"])
def replicas(request):
    return request.param


def test_good_batches_do_to_the_last_bit_what_they_do_without_the_guard(replicas):
    guarded, plain = trainer(replicas, on_nan="skip_batch").reset(), trainer(replicas).reset()
    guarded.train(good_batches(3))
    plain.train(good_batches(3))
    assert_equal(guarded.state(), plain.state())
    assert guarded.learner.skipped == plain.learner.skipped == (0, 0)
    assert not np.array_equal(
        plain.state()["model/encoder/conv/kernel"], plain.start["model/encoder/conv/kernel"]
    )


@by_name
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_bad_batch_is_as_if_it_had_never_been(trouble, dtype, replicas):
    guarded = trainer(replicas, dtype=dtype, on_nan="skip_batch").reset()
    twin = trainer(replicas, dtype=dtype).reset()
    first, second = good_batches(2)
    guarded.train([first, trouble.batch()])
    twin.train([first])
    twin.move_on()
    assert guarded.learner.skipped == (1, 1)
    assert_equal(without_counters(guarded.state()), without_counters(twin.state()))
    guarded.train([second])
    twin.train([second])
    assert guarded.learner.skipped == (1, 0)
    assert_equal(without_counters(guarded.state()), without_counters(twin.state()))


@by_name
def test_the_troubles_show_where_they_say_and_would_spoil_the_state(trouble):
    plain = trainer(1).reset()
    batch = {name: tf.constant(array) for name, array in trouble.batch().items()}
    loss, *gradients = plain.learner._step(batch)
    assert bool(all_finite([loss])) != trouble.loss
    assert bool(all_finite(gradients)) != trouble.gradients
    assert not all_finite(plain.learner.state().values())
    assert plain.learner.skipped == (0, 0)


def test_skipped_counts_in_total_and_in_a_row(replicas):
    guarded = trainer(replicas, on_nan="skip_batch").reset()
    good, bad = good_batches(1)[0], TROUBLES[0].batch()
    seen = []
    for batch in (bad, good, bad, bad, bad, good):
        guarded.train([batch])
        seen.append(guarded.learner.skipped)
    assert seen == [(1, 1), (1, 0), (2, 1), (3, 2), (4, 3), (4, 0)]
    assert all(type(count) is int for count in seen[0])
    assert_equal(
        {name: len(np.unique(guarded.state()[name])) for name in ("skipped/total", "skipped/in_a_row")},
        {"skipped/total": 1, "skipped/in_a_row": 1},
    )


OPTIMIZERS = {
    "decoupled decay": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1),
    "moving average": lambda: keras.optimizers.Adam(1e-3, use_ema=True, ema_overwrite_frequency=2),
}


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_whatever_the_optimizer_keeps_is_kept(make_optimizer):
    guarded = Trainer(1, optimizer=make_optimizer(), on_nan="skip_batch")
    guarded.train(good_batches(1))
    before = guarded.state()
    guarded.train([Trouble("", ("factor",), INF).batch()])
    after = guarded.state()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {
        "optimizer/iteration",
        "probe_optimizer/iteration",
        "skipped/total",
        "skipped/in_a_row",
    }


@pytest.mark.parametrize("way", ["eagerly", pytest.param("compiled by XLA", marks=pytest.mark.slow)])
def test_a_bad_batch_is_skipped_in_every_way_to_run_a_step(way):
    learner = make_learner(learner_class=Spoiled, on_nan="skip_batch")
    step = learner.train_step
    if way == "compiled by XLA":
        step = tf.function(step, jit_compile=True)
    for batch in (*good_batches(1), TROUBLES[0].batch()):
        before = {name: variable.numpy() for name, variable in learner.state().items()}
        step({name: tf.constant(array) for name, array in batch.items()})
    after = {name: variable.numpy() for name, variable in learner.state().items()}
    names = [name for name in before if not name.startswith("skipped/") and not name.endswith("/iteration")]
    assert_equal({name: after[name] for name in names}, {name: before[name] for name in names})
    assert learner.skipped == (1, 1)
    assert after["optimizer/iteration"] == 2


def test_bad_batches_are_skipped_within_a_call_of_several_steps(replicas):
    guarded, twin = trainer(replicas, on_nan="skip_batch").reset(), trainer(replicas).reset()
    first, second, third = good_batches(3)
    batches = [first, TROUBLES[0].batch(), second, TROUBLES[1].batch(), third]
    iterator = iter(
        guarded.strategy.distribute_datasets_from_function(lambda context: as_dataset(batches, replicas))
    )

    @tf.function
    def take_five(iterator):
        for _ in tf.range(5):
            guarded.strategy.run(guarded.learner.train_step, args=(next(iterator),))

    take_five(iterator)
    for batch in (first, second, third):
        twin.train([batch])
        twin.move_on()
    names = [name for name in twin.state() if name.startswith(("model/", "metrics/")) or "velocity" in name]
    ours, theirs = guarded.state(), twin.state()
    assert_equal({name: ours[name] for name in names}, {name: theirs[name] for name in names})
    assert guarded.learner.skipped == (2, 0)
    assert (ours["optimizer/iteration"] == 5).all()


def test_a_checkpoint_carries_the_counts_whether_or_not_batches_are_skipped(replicas, tmp_path):
    guarded, plain = trainer(replicas, on_nan="skip_batch").reset(), trainer(replicas).reset()
    guarded.train([*good_batches(1), TROUBLES[0].batch(), TROUBLES[0].batch()])
    Checkpoints(str(tmp_path), guarded.learner.state(), keep=1).save(3)
    assert Checkpoints(str(tmp_path), plain.learner.state(), keep=1).restore() == 3
    assert plain.learner.skipped == (2, 2)
    assert_equal(plain.state(), guarded.state())
    plain.train(good_batches(1))
    assert plain.learner.skipped == (2, 2)


def test_without_skipping_nothing_looks_for_what_is_not_finite():
    def operations(**options):
        learner = make_learner(**options)
        batch = {name: tf.constant(array) for name, array in make_batches(1)[0].items()}
        return [
            op.type
            for op in tf.function(learner.train_step).get_concrete_function(batch).graph.get_operations()
        ]

    assert "IsFinite" in operations(on_nan="skip_batch")
    assert "IsFinite" not in operations()


@pytest.mark.parametrize("bad", [True, False])
def test_one_replica_decides_for_all(mirrored, bad):
    last = mirrored.num_replicas_in_sync - 1
    with mirrored.scope():
        own = keras.Variable(
            1.0, synchronization="on_read", aggregation="only_first_replica", trainable=False
        )
        guard = Guard()

    def step():
        own.assign_add(1.0)
        here = tf.distribute.get_replica_context().replica_id_in_sync_group
        return [tf.where((here == last) & bad, NAN, 0.0)]

    tf.function(lambda: mirrored.run(lambda: guard.run(step, [own])))()
    for variable, expected in ((own, 1 if bad else 2), (guard.total, bad), (guard.in_a_row, bad)):
        copies = mirrored.experimental_local_results(variable.value)
        assert [int(copy.numpy()) for copy in copies] == [expected] * (last + 1)


def test_only_floating_point_numbers_can_be_bad():
    assert all_finite([tf.constant(3), tf.constant(True), tf.constant(1.0)])
    for value in (NAN, INF, -INF):
        for dtype in ("bfloat16", "float32", "float64"):
            assert not all_finite([tf.ones(2), tf.constant([[0.0, value]], dtype)])


@pytest.mark.parametrize("traced", [False, True])
def test_what_is_given_back_was_read_before_the_step(traced):
    variable, guard = keras.Variable([1.0, 2.0]), Guard()

    def step():
        variable.assign(variable * 2)
        variable.assign(variable / 0)
        return [tf.constant(0.0), None]

    def run():
        guard.run(step, [variable])

    (tf.function(run) if traced else run)()
    np.testing.assert_array_equal(variable, [1.0, 2.0])


@pytest.mark.slow
def test_the_guarded_step_traces_for_tpus():
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        learner = make_learner("r18_0.125x_sk0", on_nan="skip_batch")

    def step(views, label, number):
        return learner.train_step({"views": views, "label": label, "id": number})

    rows = tf.TensorSpec([4], tf.int32)
    graph = tpu_tracing.trace(strategy, step, tf.TensorSpec([4, 2, 8, 8, 3], tf.uint8), rows, rows)
    found = tpu_tracing.findings(graph)
    assert any(node.op == "IsFinite" for node in tpu_tracing.replicated_nodes(graph))
    assert not found.without_kernel
    assert not found.without_shape
