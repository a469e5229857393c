"""ContrastiveLearner on one device: the probe, missing labels, models without classifier, pixels, fit, XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.errors import InputError
from simclr_keras.objectives.contrastive import FIGURES, PROBE_FIGURES, ContrastiveLearner
from simclr_keras.objectives.nt_xent import nt_xent
from tests.objectives.tiny_learner import (
    ALL_LABELED,
    BATCH,
    NONE_LABELED,
    SOME_LABELED,
    as_dataset,
    assert_close,
    assert_equal,
    make_batches,
    make_learner,
    train,
    values,
)


def network(learner):
    """Weights and moving statistics of encoder and projection head."""
    return {v.path: v.numpy() for v in learner.model.variables if "classifier" not in v.path}


def probe(learner):
    return {v.path: v.numpy() for v in learner.model.variables if "classifier" in v.path}


def moved(before, after):
    return {name for name, value in before.items() if not np.array_equal(value, after[name])}


@pytest.mark.slow
def test_the_probe_learns_and_leaves_the_encoder_alone():
    with_labels, without = make_learner(), make_learner()
    start = probe(with_labels)
    train(with_labels, make_batches(3, ALL_LABELED))
    train(without, make_batches(3, NONE_LABELED))
    assert moved(start, probe(with_labels)) == probe(with_labels).keys()
    assert moved(probe(without), probe(with_labels)) == probe(with_labels).keys()
    assert_equal(network(with_labels), network(without))


def test_without_labels_the_encoder_trains_and_nothing_is_nan():
    learner = make_learner()
    start = network(learner)
    figures = train(learner, make_batches(3, NONE_LABELED))[-1]
    assert moved(start, network(learner)) == start.keys()
    assert all(np.isfinite(value).all() for value in values(learner).values())
    assert figures["probe_loss"] == figures["probe_accuracy"] == 0
    assert figures["contrastive_loss"] > 0


@pytest.mark.parametrize("batch", [np.zeros((8, 2, 8, 8, 3), np.uint8), {"views": np.zeros((8, 2, 8, 8, 3))}])
def test_a_batch_without_what_is_needed_is_refused(batch):
    with pytest.raises(InputError, match=r"A batch is a dict of label and views\. Received: "):
        make_learner().objective(batch)


def test_a_batch_of_single_views_is_refused():
    batch = {"views": np.zeros((8, 1, 8, 8, 3), np.uint8), "label": np.zeros(8, np.int32)}
    with pytest.raises(InputError, match=r"Views must be \[batch, 2, .*Received: \[8, 1, 8, 8, 3\]"):
        make_learner().objective(batch)


@pytest.mark.slow
def test_a_model_without_classifier_trains_the_same_network():
    plain, probed = make_learner(num_classes=None), make_learner()
    plain.model.set_weights([v.numpy() for v in probed.model.variables if "classifier" not in v.path])
    assert plain.probe_variables == []
    batches = [{"views": batch["views"]} for batch in make_batches(3)]
    figures = train(plain, batches)[-1]
    assert figures.keys() == set(FIGURES)
    train(probed, make_batches(3))
    assert_equal(network(plain), network(probed))


def test_figures_are_means_over_the_steps_and_over_the_labeled_images():
    learner = make_learner(dtype="float64", rate=1e-9)  # so small that the weights stay
    learner.probe_optimizer.learning_rate = 0.0
    batches = make_batches(3, SOME_LABELED)
    figures = train(learner, batches)[-1]
    assert figures.keys() == {*FIGURES, *PROBE_FIGURES}
    contrastive, losses, hits = [], [], []
    for batch in batches:
        images = np.concatenate([batch["views"][:, 0], batch["views"][:, 1]]) / 255
        outputs = learner.model(images, training=True)
        embeddings = outputs["proj_head_3"].numpy()
        contrastive.append(
            [float(x) for x in nt_xent(embeddings[:BATCH], embeddings[BATCH:], temperature=0.5)]
        )
        logits = outputs["logits"].numpy()
        for row, label in enumerate([*SOME_LABELED, *SOME_LABELED]):
            if label >= 0:
                shares = np.exp(logits[row]) / np.exp(logits[row]).sum()
                losses.append(-np.log(shares[label]))
                hits.append(logits[row].argmax() == label)
    expected = [*np.mean(contrastive, axis=0), np.mean(losses), np.mean(hits)]
    np.testing.assert_allclose([figures[name] for name in (*FIGURES, *PROBE_FIGURES)], expected, rtol=1e-6)


@pytest.mark.slow
def test_whole_pixels_are_brought_to_one_without_augmentation():
    of_integers, of_floats = make_learner(dtype="float64"), make_learner(dtype="float64")
    batches = make_batches(2)
    figures = train(of_integers, batches)[-1]
    scaled = [{**batch, "views": (batch["views"] / 255).astype(np.float32)} for batch in batches]
    assert_close(train(of_floats, scaled)[-1], figures, 1e-5)


def test_views_change_with_the_step():
    seen = []
    augment = ColorBlur(image_size=40, seed=3, compile=False)

    class Recorder(ContrastiveLearner):
        def images(self, *arguments):
            images = super().images(*arguments)
            seen.append(images.numpy())
            return images

    model = make_learner().model
    learner = Recorder(model, augment=augment)
    learner.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    batch = {name: tf.constant(array) for name, array in make_batches(1)[0].items()}
    for _ in range(2):
        learner.train_step(batch)
    for step in range(2):
        np.testing.assert_array_equal(seen[step], augment(batch["views"], step))
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.slow
def test_fit_takes_the_same_steps():
    by_hand, fitted = make_learner(), make_learner()
    batches = make_batches(3)
    figures = train(by_hand, batches)[-1]
    history = fitted.fit(as_dataset(batches), epochs=1, verbose=0).history
    assert history.pop("loss") == history["contrastive_loss"]
    assert history.keys() == {*FIGURES, *PROBE_FIGURES}
    assert_close({name: np.float32(x[0]) for name, x in history.items()}, figures, 1e-5)
    assert_close(values(fitted), values(by_hand), 1e-5)


def test_fit_lowers_the_losses():
    learner = make_learner(rate=0.05)
    learner.probe_optimizer.learning_rate = 0.1
    batches = make_batches(2)
    for batch in batches:
        batch["views"][:, 1] = batch["views"][:, 0] // 2  # else the views have nothing in common
    history = learner.fit(as_dataset(batches), epochs=8, verbose=0).history
    assert history["contrastive_loss"][-1] < history["contrastive_loss"][0] - 1
    assert history["contrastive_accuracy"][-1] > history["contrastive_accuracy"][0] + 0.2
    assert history["probe_loss"][-1] < history["probe_loss"][0] - 0.02


@pytest.mark.slow
def test_xla_compiles_the_step_on_one_device():
    options = {"dtype": "float64", "augment": ColorBlur(image_size=40, seed=3)}
    plain, compiled = make_learner(**options), make_learner(**options, jit_compile=True)
    batches = make_batches(3, SOME_LABELED)
    expected = train(plain, batches)[-1]
    history = compiled.fit(as_dataset(batches), verbose=0).history
    del history["loss"]
    # Colors are computed in float32, which XLA rounds in its own way.
    assert_close({name: np.float64(x[0]) for name, x in history.items()}, expected, 1e-4)
    assert_close(values(compiled), values(plain), 1e-4)
