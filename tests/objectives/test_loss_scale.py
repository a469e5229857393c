"""The loss scale of float16: its automaton, exact gradients, steps that overflow, and what is resumed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.objectives import nt_xent
from simclr_keras.objectives.loss_scale import GROWTH_STEPS, INITIAL, LARGEST, SMALLEST, LossScale
from simclr_keras.runs.checkpoints import Checkpoints
from tests.objectives import tiny_classifier
from tests.objectives.spoiled_batches import TROUBLES, Spoiled, good_batches, trainer
from tests.objectives.tiny_learner import assert_equal, make_learner

GROWTH = 3


class Scaled(Spoiled):
    """A float32 learner with a loss scale."""

    def compile(self, *args, **options):
        super().compile(*args, **options)
        self.loss_scale = LossScale(growth_steps=GROWTH)


def twin(bad_steps, scale):
    """Yields scale, finite steps and overflows after each step."""
    finite_steps = overflows = 0
    for bad in bad_steps:
        if bad:
            finite_steps = 0
            if scale > SMALLEST:
                scale /= 2
                overflows += 1
        else:
            finite_steps += 1
            if finite_steps == GROWTH:
                scale, finite_steps = min(2 * scale, LARGEST), 0
        yield scale, finite_steps, overflows


def test_automaton_is_its_twin_and_has_the_constants_of_keras():
    random = np.random.default_rng(0)
    mixed = random.random(60) < 0.25
    bad_steps = [*mixed.tolist(), *[True] * 20, *[False] * 90]
    loss_scale = LossScale(growth_steps=GROWTH)
    update = tf.function(loss_scale.update, autograph=False)
    seen, overflows = [], []
    for bad in bad_steps:
        overflows.append(bool(update(tf.constant(bad))))
        seen.append(tuple(variable.numpy() for variable in loss_scale.variables))
    expected = [*twin(bad_steps, INITIAL)]
    assert seen == expected
    assert np.cumsum(overflows).tolist() == [count for *_, count in expected]
    scales = [scale for scale, *_ in seen]
    assert (min(scales), max(scales)) == (SMALLEST, LARGEST)
    theirs = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    assert (theirs.initial_scale, theirs.dynamic_growth_steps) == (INITIAL, GROWTH_STEPS)


def without_scale(state):
    return {name: value for name, value in state.items() if not name.startswith("loss_scale/")}


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"microbatch_size": 4, "memory_size": 32}, marks=pytest.mark.slow)],
    ids=["whole", "micro"],
)
def test_float32_trains_bitwise_as_without_a_scale_and_an_overflow_leaves_no_trace(replicas, options):
    # LARS with weight decay, a momentum network and its queue, the probe's optimizer and moving statistics.
    scaled = trainer(replicas, learner_class=Scaled, dtype="float32", **options).reset()
    plain = trainer(replicas, dtype="float32", **options).reset()
    batches = good_batches(4)
    scaled.train([*batches[:3], *(trouble.batch() for trouble in TROUBLES), batches[3]])
    plain.train(batches[:3])
    for _ in TROUBLES:
        plain.move_on()
    plain.train(batches[3:])
    state = scaled.state()
    assert_equal(without_scale(state), plain.state())
    figures = {"scale": 2 * INITIAL / 2 ** len(TROUBLES), "finite_steps": 1, "overflow_steps": len(TROUBLES)}
    for name, value in figures.items():
        assert state[f"loss_scale/{name}"].tolist() == [value] * replicas


def test_a_checkpoint_resumes_scale_and_counts(tmp_path):
    scaled = trainer(1, learner_class=Scaled, dtype="float32").reset()
    batches = [*good_batches(1), TROUBLES[0].batch(), *good_batches(2)]
    scaled.train(batches[:3])
    checkpoints = Checkpoints(str(tmp_path), scaled.learner.state(), keep=1)
    checkpoints.save(3)
    scaled.train(batches[3:])
    expected = scaled.state()
    scaled.reset()
    assert checkpoints.restore() == 3
    assert scaled.learner.loss_scale.figures() == {"loss_scale": INITIAL / 2, "overflow_steps": 1}
    scaled.train(batches[3:])
    assert_equal(scaled.state(), expected)


@pytest.mark.parametrize("on_nan", ["stop", "skip_batch"])
def test_at_the_smallest_scale_on_nan_decides(on_nan):
    learner = make_learner(learner_class=Scaled, on_nan=on_nan)
    learner.loss_scale.scale.assign(2 * SMALLEST)
    kernel = learner.model.encoder.conv.kernel
    batch = {name: tf.constant(array) for name, array in TROUBLES[2].batch().items()}
    learner.train_step(batch)
    assert learner.loss_scale.figures() == {"loss_scale": SMALLEST, "overflow_steps": 1}
    assert learner.skipped == (0, 0)
    learner.train_step(batch)
    assert learner.loss_scale.figures() == {"loss_scale": SMALLEST, "overflow_steps": 1}
    assert learner.skipped == ((0, 0) if on_nan == "stop" else (1, 1))
    assert np.isfinite(kernel.numpy()).all() == (on_nan == "skip_batch")


def gradients(learner, batch):
    _, _, gradients = learner.loss_and_gradients({name: tf.constant(value) for name, value in batch.items()})
    return [gradient.numpy() for gradient in gradients if gradient is not None]


def test_tiles_classes_and_teachers_are_scaled_exactly(monkeypatch):
    monkeypatch.setattr(nt_xent, "MOST_DENSE_SIMILARITIES", 0)
    batch = {**tiny_classifier.make_batches(1)[0]}
    for learner, inputs in (
        (make_learner(learner_class=Spoiled), good_batches(1)[0]),
        (tiny_classifier.make_classifier(), batch),
        (tiny_classifier.make_distiller(alpha=0.5, temperature=0.5), batch),
    ):
        plain = gradients(learner, inputs)
        learner.loss_scale = LossScale()
        for gradient, expected in zip(gradients(learner, inputs), plain, strict=True):
            np.testing.assert_array_equal(gradient, expected * np.float32(INITIAL))


@pytest.mark.slow
def test_small_gradients_of_float16_layers_survive():
    batch = {**good_batches(1)[0], "factor": np.full(8, 1e-6, np.float32)}
    expected = gradients(make_learner(learner_class=Spoiled), batch)[0]
    learner = make_learner(learner_class=Spoiled, dtype="mixed_float16")
    (scaled,) = learner.loss_scale.divide([tf.constant(gradients(learner, batch)[0])])
    learner.loss_scale = None
    lost = gradients(learner, batch)[0]

    def error(gradient):
        return np.linalg.norm(gradient - expected) / np.linalg.norm(expected)

    assert error(scaled.numpy()) < 0.01
    assert error(lost) > 0.2
