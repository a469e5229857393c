"""Frozen means frozen: through real train steps, weights and moving statistics of what is frozen stand still."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.models.blocks import spatial_mean
from simclr_keras.models.freezing import freeze, freeze_batch_norm
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import create_model

SMALL = "r18_0.125x_sk0"
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 1, (8, 16, 16, 3)).astype("float32")
LABELS = RNG.integers(0, 3, 8).astype("int32")
PARTS = (
    "stem",
    "block_group1",
    "block_group2",
    "block_group3",
    "block_group4",
    "projection_head",
    "classifier",
)
# What trains, by place.
PLACES = {-1: PARTS, 0: PARTS[1:], 1: PARTS[2:], 2: PARTS[3:], 3: PARTS[4:], 4: PARTS[5:]}


def create(**arguments):
    keras.utils.set_random_seed(0)
    return create_model(
        SMALL, **{"num_classes": 3, "image_size": 16, "head_layer": 1, "kept_head_layers": 1} | arguments
    )


def train(model, strategy=None, steps=2):
    """Takes steps of a plain training: all trainable variables, with decay, in training mode."""
    strategy = strategy or tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
        optimizer.build(model.trainable_variables)

    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)["logits"]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses) / replicas
            loss += 0.1 * tf.add_n(
                [tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in model.trainable_variables]
            )
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    run = tf.function(lambda images, labels: strategy.run(step, args=(images, labels)), autograph=False)
    images, labels = (share(strategy, array) for array in (IMAGES, LABELS))
    for _ in range(steps):
        run(images, labels)


def share(strategy, array):
    """Gives each replica its rows."""
    parts = np.split(array, strategy.num_replicas_in_sync)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def values(model):
    return {variable.path.partition("/")[2]: variable.numpy() for variable in model.variables}


def moved(before, after):
    """Names of the parts of which something changed, and of those of which everything did."""
    changed, unchanged = set(), set()
    for name, value in before.items():
        part = next(part for part in PARTS if part in name)
        (unchanged if np.array_equal(value, after[name]) else changed).add(part)
    return changed, changed - unchanged


def assert_trains(model, parts, strategy=None):
    before = values(model)
    train(model, strategy)
    assert moved(before, values(model)) == (set(parts), set(parts))


@pytest.mark.slow
@pytest.mark.parametrize("after_block", [-1, 0, 3, 4])
def test_what_is_frozen_stands_still_and_the_rest_trains(after_block):
    model = create()
    freeze(model, after_block)
    assert_trains(model, PLACES[after_block])


@pytest.mark.slow
def test_every_place_has_its_trainable_variables():
    for after_block in PLACES:
        model = create()
        freeze(model, after_block)
        parts = {part for part in PARTS for variable in model.trainable_variables if part in variable.path}
        assert parts == set(PLACES[after_block])


@pytest.mark.slow
def test_the_classifier_may_train_alone():
    model = create()
    freeze(model, 4, heads=True)
    assert_trains(model, ["classifier"])


@pytest.mark.slow
def test_frozen_parts_compute_what_they_do_in_inference():
    model = create()
    train(model)
    freeze(model, 2)
    inference, training = model(IMAGES), model(IMAGES, training=True)
    for name in ("initial_max_pool", "block_group1", "block_group2"):
        np.testing.assert_array_equal(training[name], inference[name])
    assert np.abs(training["block_group3"] - inference["block_group3"]).max() > 1e-3


def test_frozen_batch_norm_stands_still_and_all_else_trains():
    model = create()
    train(model)
    freeze_batch_norm(model.encoder)
    before = values(model)
    names = {v.path.partition("/")[2] for v in model.encoder.non_trainable_variables}
    assert len(names) == 84  # 21 layers of scale, offset, mean and variance
    np.testing.assert_array_equal(
        model(IMAGES, training=True)["final_avg_pool"], model(IMAGES)["final_avg_pool"]
    )
    train(model)
    after = values(model)
    for name, value in before.items():
        assert np.array_equal(value, after[name]) == (name in names), name


def test_freezing_again_undoes_the_earlier_one():
    model = create()
    everything = len(model.trainable_variables)
    for after_block, heads in ((4, True), (0, False), (4, False), (3, False), (-1, False)):
        freeze(model, after_block, heads)
    assert len(model.trainable_variables) == everything


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [2], indirect=True)
def test_frozen_stands_still_on_replicas(mirrored):
    with mirrored.scope():
        model = create()
        freeze(model, 3)
    assert_trains(model, PLACES[3], mirrored)
    for variable in model.variables:
        copies = [copy.numpy() for copy in mirrored.experimental_local_results(variable.value)]
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0], err_msg=variable.path)


@pytest.mark.slow
def test_files_do_not_tell_what_was_frozen(tmp_path):
    free, frozen = create(), create()
    freeze(frozen, 4, heads=True)
    frozen.save(tmp_path / "model.keras")
    frozen.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == len(free.trainable_variables)
    np.testing.assert_array_equal(loaded(IMAGES)["logits"], frozen(IMAGES)["logits"])
    for weight in free.weights:
        weight.assign(weight + 1)
    free.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(free(IMAGES)["logits"], frozen(IMAGES)["logits"])
    free.save_weights(tmp_path / "free.weights.h5")
    frozen.load_weights(tmp_path / "free.weights.h5")
    np.testing.assert_array_equal(free(IMAGES)["logits"], frozen(IMAGES)["logits"])


class MeanColor(keras.layers.Layer):
    """An encoder without block groups."""

    def call(self, images, training=False):
        return {"final_avg_pool": spatial_mean(images)}

    def compute_output_shape(self, input_shape):
        return {"final_avg_pool": (input_shape[0], input_shape[-1])}


@pytest.mark.slow
def test_places_that_are_none_are_refused():
    for after_block in [-2, 5, 1.5, None]:
        with pytest.raises(InputError, match=f"-1 .*, 0 .* or 4 .*freeze_through={after_block}"):
            freeze(create(), after_block)


def test_an_encoder_without_block_groups_is_frozen_as_a_whole_or_not():
    for after_block in [0, 2]:
        model = SimCLRModel(MeanColor(name="encoder"), num_classes=3, proj_mode="none")
        model.build((None, 16, 16, 3))
        with pytest.raises(
            InputError, match=f"-1 .* or 4 .*without block groups.*freeze_through={after_block}"
        ):
            freeze(model, after_block)
        freeze(model, 4)
        assert not model.encoder.trainable


def test_freezing_everything_is_refused_and_changes_nothing():
    for arguments, after_block, heads in [
        ({"num_classes": None, "head_layer": 0}, 4, True),
        ({"num_classes": None, "head_layer": 0, "kept_head_layers": 0}, 4, False),
    ]:
        model = create(**arguments)
        with pytest.raises(InputError, match="Nothing would be left to train"):
            freeze(model, after_block, heads)
        assert model.encoder.trainable


@pytest.mark.slow
def test_a_head_is_not_frozen_behind_a_training_encoder():
    with pytest.raises(InputError, match=r"along with the whole encoder.*freeze_through=2"):
        freeze(create(), 2, heads=True)
