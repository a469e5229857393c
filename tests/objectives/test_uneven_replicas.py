"""Replicas with different numbers of images, as in the last batch of Keras' fit: the same as one device, or refused."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.objectives.nt_xent import nt_xent
from tests.objectives.nt_xent_twin import draw, gradients, step_with_gradients
from tests.objectives.tiny_classifier import make_batches as make_single_views
from tests.objectives.tiny_classifier import make_distiller, make_model, make_teacher
from tests.objectives.tiny_learner import SIZE, assert_close, make_batches, make_learner, values


@pytest.fixture
def two():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def on_rows(strategy, step, views, counts, static=False):
    """Outputs of step(view1, view2) on each replica, which has as many rows as `counts` says."""
    bounds = np.cumsum([0, *counts])

    def part(view, context):
        replica = context.replica_id_in_sync_group
        return tf.constant(view[bounds[replica] : bounds[replica + 1]])

    parts = [
        strategy.experimental_distribute_values_from_function(lambda context, view=view: part(view, context))
        for view in views
    ]

    def unknown(view):
        return (
            view
            if static
            else tf.ensure_shape(tf.boolean_mask(view, tf.ones(tf.shape(view)[0], bool)), [None, 6])
        )

    run = tf.function(
        lambda: strategy.run(lambda *views: step(*map(unknown, views)), args=tuple(parts)), autograph=False
    )
    return tf.nest.map_structure(strategy.experimental_local_results, run())


@pytest.mark.slow
@pytest.mark.parametrize("memory", [False, True])
def test_nt_xent_weights_replicas_by_their_examples(two, memory):
    views = draw(5, 6)
    keys = {"keys": tuple(map(tf.constant, draw(5, 6, seed=3)))} if memory else {}
    results, grads = on_rows(two, step_with_gradients(**keys), views, (3, 2))
    np.testing.assert_allclose(np.mean(results, axis=1), nt_xent(*views, **keys), rtol=1e-9)
    actual = [np.concatenate(grad) for grad in grads]
    np.testing.assert_allclose(actual, gradients(*views, **keys), rtol=1e-9, atol=1e-12)


def test_different_static_shapes_are_refused(two):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"different numbers of examples.*drop_remainder=True"
    ):
        on_rows(two, nt_xent, draw(5, 6), (3, 2), static=True)


def make_distiller_of_both(**options):
    model, teacher = (make(dtype="float64") for make in (make_model, make_teacher))
    return make_distiller(model, teacher, alpha=0.3, temperature=0.5, **options)


def make_contrastive():
    return make_learner(dtype="float64", augment=ColorBlur(SIZE, seed=3, compile=False))


LEARNERS = {
    "contrastive": (make_contrastive, make_batches),
    "distiller of both streams": (make_distiller_of_both, make_single_views),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "batches"), LEARNERS.values(), ids=LEARNERS)
def test_fit_on_replicas_equals_one_device_to_the_last_smaller_batch(two, make, batches):
    arrays = {name: np.concatenate([batch[name] for batch in batches(2)])[:11] for name in batches(1)[0]}
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(5)  # split into 3 and 2, 3 and 2, 1 and none
    results = []
    for scope in (tf.distribute.get_strategy().scope(), two.scope()):
        with scope:
            learner = make()
        figures = learner.fit(data, shuffle=False, verbose=0).history
        results.append({name: np.array(value) for name, value in figures.items()} | values(learner))
    assert_close(results[1], results[0], 1e-9)
