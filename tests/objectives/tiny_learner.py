"""A ContrastiveLearner small enough to trace on four replicas in seconds, and what its tests share."""

import keras
import numpy as np
import tensorflow as tf

from simclr_keras.models.batch_norm import BatchNormalization, use_local_statistics
from simclr_keras.models.blocks import Conv2D, spatial_mean
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import create_model
from simclr_keras.objectives.contrastive import ContrastiveLearner
from simclr_keras.optim.lars import LARS
from simclr_keras.optim.schedules import WarmupCosine

SIZE, BATCH, CLASSES = 8, 8, 3
DECAY = 0.7  # of the momentum network
ALL_LABELED = (0, 1, 2, 0, 1, 2, 0, 1)
# On two replicas 1 and 2 labels, on four 1, 0, 0 and 2.
SOME_LABELED = (2, -1, -1, -1, -1, -1, 0, 1)
NONE_LABELED = (-1,) * BATCH


class TinyEncoder(keras.layers.Layer):
    """One convolution and its normalization."""

    def __init__(self, **options):
        super().__init__(name="encoder", **options)
        self.conv = Conv2D(8, 3, 2, name="conv", dtype=self.dtype_policy)
        self.norm = BatchNormalization(name="bn", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build((None, None, None, 8))

    def call(self, images, training=False):
        return {"final_avg_pool": spatial_mean(tf.nn.relu(self.norm(self.conv(images), training=training)))}

    def compute_output_shape(self, input_shape):
        return {"final_avg_pool": (input_shape[0], 8)}


def make_learner(
    name=None,
    *,
    num_classes=CLASSES,
    augment=None,
    dtype="float32",
    image_size=SIZE,
    rate=0.1,
    on_nan="stop",
    learner_class=ContrastiveLearner,
    microbatch_size=None,
    global_bn=True,
    encoder=TinyEncoder,
    optimizer=None,
    probe_optimizer=None,
    memory_size=None,
    proj_layers=3,
    **compile_options,
):
    """A compiled learner of the named network, or of the tiny one; the same weights each time.

    With a memory_size it has a momentum network, which moves fast.
    """
    keras.utils.set_random_seed(0)
    options = {"num_classes": num_classes, "proj_layers": proj_layers, "proj_dim": 8}
    options |= {"stop_gradient": True, "dtype": dtype}
    if name is None:
        model = SimCLRModel(encoder(dtype=dtype), **options)
        model.build((None, image_size, image_size, 3))
    else:
        model = create_model(name, image_size=image_size, **options)
    momentum = (
        {} if memory_size is None else {"memory": "queue", "memory_size": memory_size, "ema_decay": DECAY}
    )
    if not global_bn:
        use_local_statistics(model)
    learner = learner_class(
        model,
        **momentum,
        microbatch_size=microbatch_size,
        augment=augment,
        temperature=0.5,
        weight_decay=1e-2,
        decayed_in_loss=lambda path: path.endswith("classifier/kernel"),
        on_nan=on_nan,
    )
    schedule = WarmupCosine(rate, 0, 20, dtype="float64" if dtype == "float64" else "float32")
    probe_optimizer = probe_optimizer or keras.optimizers.SGD(0.5, momentum=0.9)
    learner.compile(optimizer or LARS(schedule, weight_decay=1e-2), probe_optimizer, **compile_options)
    return learner


def make_batches(count, labels=ALL_LABELED):
    """A list of `count` batches of random views."""
    random = np.random.default_rng(1)
    views = random.integers(256, size=(count, BATCH, 2, SIZE, SIZE, 3), dtype=np.uint8)
    label, rows = np.array(labels, np.int32), np.arange(BATCH, dtype=np.int32)
    return [{"views": v, "label": label, "id": rows + BATCH * i} for i, v in enumerate(views)]


def as_dataset(batches, replicas=1):
    """The batches one after another, each in as many parts as there are replicas."""
    arrays = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH // replicas, drop_remainder=True)


def make_step(learner, strategy=None, **options):
    """A function that takes a step with a batch, traced once and with these options of tf.function."""
    strategy = strategy or tf.distribute.get_strategy()
    traced = tf.function(
        lambda batch: strategy.run(learner.train_step, args=(batch,)), autograph=False, **options
    )

    def step(batch):
        parts = {name: np.split(array, strategy.num_replicas_in_sync) for name, array in batch.items()}
        traced(
            strategy.experimental_distribute_values_from_function(
                lambda context: {
                    name: tf.constant(part[context.replica_id_in_sync_group]) for name, part in parts.items()
                }
            )
        )

    return step


def train(learner, batches, strategy=None):
    """Takes a step with every batch; returns the running figures after each."""
    step = make_step(learner, strategy)
    figures = []
    for batch in batches:
        step(batch)
        figures.append({name: float(value) for name, value in learner.get_metrics_result().items()})
    return figures


def values(learner):
    return {name: variable.numpy() for name, variable in learner.state().items()}


def assert_close(actual, expected, rtol):
    """Compares dicts of arrays, each within `rtol` of its largest value."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol, rtol * np.abs(value).max(), err_msg=name)


def assert_equal(actual, expected):
    """Compares dicts of arrays, to the last bit."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
