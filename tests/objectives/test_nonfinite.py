"""on_nan="skip_batch": a bad batch leaves no trace but the iterations and the counts; a good one what it always did."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.objectives.nonfinite import Guard, all_finite
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.training.engine.learning import read_figures
from simclr_keras.training.engine.progress import epoch_line
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


def without_counters(state):
    return {name: value for name, value in state.items() if not name.startswith("skipped/")}


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)], ids=["one device", "two replicas"])
def replicas(request):
    return request.param


@pytest.mark.slow
def test_good_batches_train_as_without_the_guard(replicas):
    guarded = trainer(replicas, dtype="float32", on_nan="skip_batch").reset()
    plain = trainer(replicas, dtype="float32").reset()
    guarded.train(good_batches(3))
    plain.train(good_batches(3))
    assert_equal(guarded.state(), plain.state())
    assert guarded.learner.skipped == plain.learner.skipped == (0, 0)
    assert not np.array_equal(
        plain.state()["model/encoder/conv/kernel"], plain.start["model/encoder/conv/kernel"]
    )


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_bad_batch_is_as_if_it_had_never_been(trouble, replicas):
    # Replicas and bfloat16 are each new to the guard; both at once are not.
    for dtype in ("float32",) if replicas > 1 else ("float32", "mixed_bfloat16"):
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("replicas", "memory_size"), [(1, None), pytest.param(2, 32, marks=pytest.mark.slow)]
)
def test_bad_batch_of_micro_batches_is_as_if_it_had_never_been(replicas, memory_size):
    options = {"microbatch_size": 4, "memory_size": memory_size}
    guarded = trainer(replicas, on_nan="skip_batch", **options).reset()
    twin = trainer(replicas, **options).reset()
    first, second = good_batches(2)
    twin.train([first])
    for _ in TROUBLES:
        twin.move_on()
    twin.train([second])
    guarded.train([first, *(trouble.batch() for trouble in TROUBLES), second])
    assert guarded.learner.skipped == (len(TROUBLES), 0)
    assert_equal(without_counters(guarded.state()), without_counters(twin.state()))


def test_troubles_spoil_the_state_without_the_guard():
    plain, offenders = trainer(1, dtype="float32"), []
    for trouble in TROUBLES:
        plain.reset()
        batch = {name: tf.constant(array) for name, array in trouble.batch().items()}
        loss, *gradients = plain.learner._step(batch)
        finite = [bool(all_finite(x)) for x in ([loss], gradients, plain.learner.state().values())]
        if finite != [not trouble.loss, not trouble.gradients, False] or plain.learner.skipped != (0, 0):
            offenders.append((trouble.name, finite))
    assert not offenders


def test_skipped_counts(replicas):
    guarded = trainer(replicas, dtype="float32", on_nan="skip_batch").reset()
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


def test_figures_of_skipped_batches_alone_are_none():
    guarded = trainer(1, dtype="float32", on_nan="skip_batch").reset()
    guarded.train([TROUBLES[0].batch()])
    assert set(guarded.learner.figures().values()) == {None}
    assert read_figures(guarded.learner, 1) == guarded.learner.figures()
    assert "loss" not in epoch_line({"epoch": 1, "learning_rate": 0.1, **guarded.learner.figures()}, 2)
    guarded.train(good_batches(1))
    assert guarded.learner.figures()["contrastive_loss"] > 0


@pytest.mark.slow
def test_optimizer_state_is_kept():
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=2)
    guarded = Trainer(1, optimizer=optimizer, on_nan="skip_batch")
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


def test_bad_batch_is_skipped_eagerly():
    learner = make_learner(learner_class=Spoiled, on_nan="skip_batch")
    for batch in (*good_batches(1), TROUBLES[0].batch()):
        before = {name: variable.numpy() for name, variable in learner.state().items()}
        learner.train_step({name: tf.constant(array) for name, array in batch.items()})
    after = {name: variable.numpy() for name, variable in learner.state().items()}
    names = [name for name in before if not name.startswith("skipped/") and not name.endswith("/iteration")]
    assert_equal({name: after[name] for name in names}, {name: before[name] for name in names})
    assert learner.skipped == (1, 1)
    assert after["optimizer/iteration"] == 2


@pytest.mark.slow
def test_bad_batches_are_skipped_within_a_call_of_several_steps():
    guarded = trainer(1, dtype="float32", on_nan="skip_batch").reset()
    twin = trainer(1, dtype="float32").reset()
    first, second, third = good_batches(3)
    iterator = iter(as_dataset([first, TROUBLES[0].batch(), second, TROUBLES[1].batch(), third]))

    @tf.function
    def take_five(iterator):
        for _ in tf.range(5):
            guarded.learner.train_step(next(iterator))

    take_five(iterator)
    for batch in (first, second, third):
        twin.train([batch])
        twin.move_on()
    names = [name for name in twin.state() if name.startswith(("model/", "metrics/")) or "velocity" in name]
    ours, theirs = guarded.state(), twin.state()
    assert_equal({name: ours[name] for name in names}, {name: theirs[name] for name in names})
    assert guarded.learner.skipped == (2, 0)
    assert (ours["optimizer/iteration"] == 5).all()


def test_checkpoint_carries_the_counts(replicas, tmp_path):
    guarded = trainer(replicas, dtype="float32", on_nan="skip_batch").reset()
    plain = trainer(replicas, dtype="float32").reset()
    guarded.train([*good_batches(1), TROUBLES[0].batch(), TROUBLES[0].batch()])
    Checkpoints(str(tmp_path), guarded.learner.state(), keep=1).save(3)
    assert Checkpoints(str(tmp_path), plain.learner.state(), keep=1).restore() == 3
    assert plain.learner.skipped == (2, 2)
    assert_equal(plain.state(), guarded.state())
    plain.train(good_batches(1))
    assert plain.learner.skipped == (2, 2)


@pytest.mark.slow
def test_without_skipping_nothing_looks_for_nonfinite_numbers():
    learner = make_learner()
    batch = {name: tf.constant(array) for name, array in make_batches(1)[0].items()}
    graph = tf.function(learner.train_step, autograph=False).get_concrete_function(batch).graph
    assert "IsFinite" not in {op.type for op in graph.get_operations()}


def test_one_replica_decides_for_all(mirrored):
    last = mirrored.num_replicas_in_sync - 1
    with mirrored.scope():
        own = keras.Variable(
            0.0, synchronization="on_read", aggregation="only_first_replica", trainable=False
        )
        guard = Guard()

    @tf.function
    def run(bad):
        def step():
            own.assign_add(1.0)
            here = tf.distribute.get_replica_context().replica_id_in_sync_group
            return [tf.where((here == last) & bad, NAN, 0.0)]

        mirrored.run(lambda: guard.run(step, [own]))

    for bad, expected in ((True, (0, 1, 1)), (False, (1, 1, 0))):
        run(tf.constant(bad))
        for variable, value in zip((own, guard.total, guard.in_a_row), expected):
            copies = mirrored.experimental_local_results(variable.value)
            assert [int(copy.numpy()) for copy in copies] == [value] * (last + 1)


def test_only_floating_point_numbers_can_be_bad():
    assert all_finite([tf.constant(3), tf.constant(True), tf.constant(1.0)])
    for value in (NAN, INF, -INF):
        for dtype in ("bfloat16", "float32", "float64"):
            assert not all_finite([tf.ones(2), tf.constant([[0.0, value]], dtype)])


@pytest.mark.parametrize("way", ["eagerly", "traced", "compiled by XLA"])
def test_values_are_restored_from_before_the_step(way):
    variable, guard = keras.Variable([1.0, 2.0]), Guard()

    def step():
        variable.assign(variable * 2)
        variable.assign(variable / 0)
        return [tf.constant(0.0), None]

    def run():
        guard.run(step, [variable])

    if way != "eagerly":
        run = tf.function(run, jit_compile=way == "compiled by XLA")
    run()
    np.testing.assert_array_equal(variable, [1.0, 2.0])
