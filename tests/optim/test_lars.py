"""LARS, against a plain-NumPy twin and the released optimizer's trajectories."""

import contextlib
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from simclr_keras.optim.lars import LARS
from simclr_keras.optim.schedules import WarmupCosine
from tests import tpu_tracing

# What the released pretraining leaves out, by the names of its variables.
RELEASE_EXCLUSIONS = ("batch_norm", "bias", "head_supervised")
GOLDEN = {
    "lars_const": {},
    "lars_nowd": {"weight_decay": 0.0},
    "lars_nesterov": {"nesterov": True},
    "lars_popular": {"classic_momentum": False},
    "lars_popular_nesterov": {"classic_momentum": False, "nesterov": True},
    "lars_noexclude": {"exclude_from_weight_decay": (), "exclude_from_layer_adaptation": ()},
}


def lars(**changes):
    arguments = {"learning_rate": 0.3, "weight_decay": 1e-4}
    return LARS(**{**arguments, **changes})


def variable(value, path, dtype=None):
    """A Keras variable at a path such as "encoder/conv/kernel"."""
    *scopes, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        created = keras.Variable(value, dtype=dtype or np.asarray(value).dtype.name, name=name)
    assert created.path == path
    return created


def twin(weights, gradients, *, rate, decay, adapt, momentum=0.9, eta=1e-3, nesterov=False, classic=True):
    """The trajectory of one variable in float64, straight from the docstring."""
    w, v = np.array(weights, np.float64), np.zeros(np.shape(weights))

    def trust(w, g):
        lengths = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
        return eta * lengths[0] / lengths[1] if adapt and all(lengths) else 1.0

    for g in np.array(gradients, np.float64):
        g = g + decay * w
        if classic:
            step = rate * trust(w, g) * g
            v = momentum * v + step
            w = w - (momentum * v + step if nesterov else v)
        else:
            v = momentum * v + g
            direction = momentum * v + g if nesterov else v
            w = w - rate * trust(w, direction) * direction
    return w


@pytest.mark.parametrize("tag", [*GOLDEN, "lars_sched"])
def test_trajectories_are_the_released_ones(golden, tag):
    data = golden("lars.npz")
    paths = [name for name, _ in json.loads(str(data["meta"]))["vars"]]
    variables = [variable(data[f"init/{i}"], path) for i, path in enumerate(paths)]
    arguments = {
        "exclude_from_weight_decay": RELEASE_EXCLUSIONS,
        "exclude_from_layer_adaptation": RELEASE_EXCLUSIONS,
        **GOLDEN.get(tag, {}),
    }
    if tag == "lars_sched":
        arguments["learning_rate"] = WarmupCosine(0.3, 3, 9)
        rates = [float(arguments["learning_rate"](step)) for step in range(12)]
        np.testing.assert_allclose(rates, data["lars_sched/lr"], rtol=1e-6, atol=1e-7)
    optimizer = lars(**arguments)
    for step in range(10):
        optimizer.apply([tf.constant(data[f"grads/{i}"][step]) for i in range(len(paths))], variables)
        for i, path in enumerate(paths):
            expected = data[f"{tag}/var{i}"][step + 1]
            np.testing.assert_allclose(variables[i], expected, rtol=2e-6, atol=2e-6, err_msg=f"{path} {step}")
    for i, path in enumerate(paths):
        velocity, expected = optimizer._velocities[i], data[f"{tag}/momentum{i}"]
        np.testing.assert_allclose(velocity, expected, rtol=1e-5, atol=1e-7, err_msg=path)


@pytest.mark.parametrize("classic", [True, False])
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("path", ["conv/kernel", "bn/gamma"])
def test_float64_variables_are_updated_in_float64(classic, nesterov, path):
    random = np.random.default_rng(3)
    weights, gradients = random.normal(size=(4, 5)), random.normal(size=(6, 4, 5))
    trained = variable(weights, path)
    schedule = WarmupCosine(0.3, 0, 10**9, dtype="float64")  # constant to 1e-16 over six steps
    optimizer = lars(learning_rate=schedule, nesterov=nesterov, classic_momentum=classic, weight_decay=0.01)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [trained])
    kernel = path.endswith("kernel")
    options = {"rate": 0.3, "decay": 0.01 * kernel, "adapt": kernel, "nesterov": nesterov, "classic": classic}
    assert optimizer._velocities[0].dtype == "float64"
    np.testing.assert_allclose(trained, twin(weights, gradients, **options), rtol=1e-12)


def test_first_step_in_literal_numbers():
    trained = variable(np.array([3.0, 4.0], "float32"), "dense/kernel")
    lars(learning_rate=1.0, weight_decay=0.0, eta=0.1).apply([tf.constant([0.0, 2.0])], [trained])
    np.testing.assert_allclose(trained, [3.0, 3.5], rtol=1e-6)  # 0.1 * 5 / 2 * 2 = 0.5


def test_norms_biases_and_the_classifier_are_left_alone_by_default():
    for path, trusted in [
        ("resnet/group1/conv/kernel", True),
        ("projection_head/dense_0/kernel", True),
        ("resnet/bn/gamma", False),
        ("projection_head/bn_2/beta", False),
        ("resnet/se/reduce/bias", False),
        ("classifier/kernel", False),
        ("simclr/classifier/dense/kernel", False),
        ("head_supervised/linear_layer/dense_3/kernel", False),
        ("debiased/kernel", True),
        ("classifier/resnet/group1/conv/kernel", True),  # a whole model of that name stays adapted
    ]:
        weights, gradient = np.ones((3, 3)), np.full((3, 3), 0.5)
        trained = variable(weights, path)
        lars(learning_rate=WarmupCosine(0.3, 0, 10**9, "float64")).apply([tf.constant(gradient)], [trained])
        expected = twin(weights, [gradient], rate=0.3, decay=1e-4 * trusted, adapt=trusted)
        np.testing.assert_allclose(trained, expected, rtol=1e-12)


def test_the_two_lists_act_apart():
    weights, gradient = np.ones(4), np.full(4, 0.5)
    rate = WarmupCosine(0.3, 0, 10**9, "float64")
    undecayed, unadapted = variable(weights, "a/kernel"), variable(weights, "b/kernel")
    optimizer = lars(
        learning_rate=rate, exclude_from_weight_decay="^a/", exclude_from_layer_adaptation=["^b/"]
    )
    optimizer.apply([tf.constant(gradient)] * 2, [undecayed, unadapted])
    np.testing.assert_allclose(
        undecayed, twin(weights, [gradient], rate=0.3, decay=0, adapt=True), rtol=1e-12
    )
    np.testing.assert_allclose(
        unadapted, twin(weights, [gradient], rate=0.3, decay=1e-4, adapt=False), rtol=1e-12
    )


def test_the_method_of_keras_that_excludes_from_decay_works_too():
    weights = np.ones(4)
    trained = variable(weights, "a/kernel")
    optimizer = lars(learning_rate=WarmupCosine(0.3, 0, 10**9, "float64"), weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    optimizer.apply([tf.zeros(4, tf.float64)], [trained])
    np.testing.assert_array_equal(trained, weights)


def test_bfloat16_variables_are_updated_in_float32_and_rounded_once():
    random = np.random.default_rng(5)
    weights, gradient = (tf.cast(random.normal(size=1000), tf.bfloat16) for _ in range(2))
    trained = variable(weights, "a/kernel", dtype="bfloat16")
    optimizer = lars(learning_rate=1.0, weight_decay=0.01, eta=0.1)
    optimizer.apply([gradient], [trained])
    weights, gradient = (values.numpy().astype("float64") for values in (weights, gradient))
    options = {"rate": 1.0, "decay": 0.01, "adapt": True, "eta": 0.1}
    velocity = tf.cast(weights - twin(weights, [gradient], **options), tf.bfloat16)
    # A float32 value may fall on the other side of a rounding edge; bfloat16 arithmetic is off in many more.
    assert np.mean(optimizer._velocities[0].numpy() == velocity.numpy()) > 0.98


def test_config_round_trip_and_state_that_survives_saving(tmp_path):
    optimizer = lars(
        learning_rate=WarmupCosine(0.3, 2, 10),
        momentum=0.8,
        eta=0.01,
        nesterov=True,
        classic_momentum=False,
        exclude_from_weight_decay=("bias",),
        exclude_from_layer_adaptation=(),
        global_clipnorm=1.0,
    )
    copy = keras.optimizers.deserialize(json.loads(json.dumps(keras.optimizers.serialize(optimizer))))
    assert isinstance(copy, LARS)
    assert copy.get_config() == optimizer.get_config()
    assert copy.weight_decay_rate == 1e-4

    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.compile(optimizer, "mse")
    data = np.random.default_rng(0).normal(size=(8, 3)), np.zeros((8, 2))
    model.fit(*data, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    for trained in (model, restored):
        trained.fit(*data, epochs=2, verbose=0, shuffle=False)
    for one, other in zip(model.weights, restored.weights):
        np.testing.assert_array_equal(one, other)


def test_decay_is_not_applied_a_second_time_by_keras():
    assert lars(weight_decay=0.1).weight_decay is None


def _regression(optimizer, dtype="float64"):
    """A small net with every kind of variable, and a training step for it."""
    layers = [
        keras.layers.Dense(4, name="dense", dtype=dtype),
        keras.layers.LayerNormalization(name="norm", dtype=dtype),
        keras.layers.Dense(2, name="classifier", dtype=dtype),
    ]
    model = keras.Sequential([keras.Input([3]), *layers])
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    optimizer.build(model.trainable_variables)

    def step(inputs):
        with tf.GradientTape() as tape:
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = tf.reduce_mean(tf.square(model(inputs))) / replicas
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return model, step


@pytest.mark.slow
def test_replicas_take_the_steps_of_one_device(mirrored):
    inputs = np.random.default_rng(1).normal(size=(8, 3))

    def train(strategy):
        with strategy.scope():
            model, step = _regression(lars(learning_rate=WarmupCosine(0.3, 1, 9, dtype="float64")))
        rows = len(inputs) // strategy.num_replicas_in_sync
        values = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(inputs[context.replica_id_in_sync_group * rows :][:rows])
        )
        run = tf.function(lambda: strategy.run(step, args=(values,)), autograph=False)
        for _ in range(3):
            run()
        return [weight.numpy() for weight in model.weights]

    for one, many in zip(train(tf.distribute.OneDeviceStrategy("CPU:0")), train(mirrored)):
        np.testing.assert_allclose(many, one, rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"classic_momentum": False, "nesterov": True}])
def test_xla_compiles_the_step(options):
    inputs = tf.constant(np.random.default_rng(1).normal(size=(8, 3)))
    plain, plain_step = _regression(lars(**options))
    compiled, compiled_step = _regression(lars(**options))
    compiled_step = tf.function(compiled_step, autograph=False, jit_compile=True)
    for _ in range(3):
        plain_step(inputs)
        compiled_step(inputs)
    for one, other in zip(plain.weights, compiled.weights):
        np.testing.assert_allclose(other, one, rtol=1e-9)


def test_traces_for_tpus():
    strategy = tpu_tracing.fake_tpu_strategy()
    with strategy.scope():
        _, step = _regression(lars(learning_rate=WarmupCosine(0.3, 2, 10)), dtype="float32")
    found = tpu_tracing.findings(tpu_tracing.trace(strategy, step, tf.TensorSpec([4, 3], tf.float32)))
    assert found.collectives["CrossReplicaSum"] > 0
    assert not found.without_kernel
    assert not found.without_shape


def test_impossible_arguments_are_refused():
    for arguments, message in [
        ({"momentum": 1.0}, "Received: momentum=1.0"),
        ({"eta": 0.0}, "Received: eta=0.0"),
        ({"weight_decay": -1.0}, "Received: weight_decay=-1.0"),
        ({"exclude_from_weight_decay": ["("]}, "`exclude_from_weight_decay` must hold regular expressions"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            LARS(0.1, **arguments)
