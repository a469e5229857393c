"""Our side of the comparisons of training steps."""

import math


def start_tensorflow(replicas=1):
    """Import TensorFlow without its messages, with so many logical CPU devices."""
    from simclr_keras.backend import start_tensorflow_quietly

    start_tensorflow_quietly(devices=False)
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    if replicas > 1 and not tf.config.get_logical_device_configuration(cpu):  # the tests have their own
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)


def pretrain_step(precision="float32", replicas=1, fused=True, steps=1, **settings):
    """Return a Run of a pretraining step: augmentation, forward, backward, LARS and metrics, on prepared batches.

    Args:
        precision: as --precision.
        replicas: logical CPU devices; above 1 under a MirroredStrategy.
        fused: whether batch normalization may take its fused kernels.
        steps: of a round.
        **settings: of a PretrainConfig.
    """
    start_tensorflow(replicas)
    import numpy as np
    import tensorflow as tf

    from simclr_keras.config.modes import PretrainConfig
    from simclr_keras.models.batch_norm import BatchNormalization
    from simclr_keras.training.engine.strategy import resolve_precision

    config = PretrainConfig(**settings)
    config.check_memory()
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])
    learner = make_learner(config, strategy, resolve_precision(precision, strategy))
    for layer in learner.model._flatten_layers():
        if isinstance(layer, BatchNormalization) and not fused:
            layer.fused = False
    rng, rows, side = np.random.default_rng(0), config.batch_size // replicas, config.image_size
    batch = strategy.experimental_distribute_values_from_function(
        lambda context: {
            "views": tf.constant(rng.integers(0, 256, (rows, 2, side, side, 3), np.uint8)),
            "label": tf.constant(rng.integers(0, 10, rows), tf.int32),
            "id": tf.range(rows) + context.replica_id_in_sync_group * rows,
        }
    )
    step = tf.function(lambda batch: strategy.run(learner.train_step, args=(batch,)), autograph=False)
    # A gradient is two forward passes more. Micro-batches and recomputed blocks take another pass, as does the momentum
    # network.
    passes = 3 + sum([0 < config.microbatch_size < config.batch_size, config.remat, config.memory == "queue"])
    gigaflop = 1e-9 * steps * passes * forward_operations(learner.model, 2 * config.batch_size, side)

    def run():
        for _ in range(steps):
            loss = step(batch)["contrastive_loss"]  # the same on every replica
        return {"loss": float(strategy.experimental_local_results(loss)[0]), "gigaflop": gigaflop}

    return run


def make_learner(config, strategy, policy):
    """Return the learner of a pretraining run on labeled images.

    Args:
        config: PretrainConfig. strategy: the tf.distribute strategy. policy: name of a Keras dtype policy.
    """
    from simclr_keras.runs.architecture import Architecture
    from simclr_keras.training.stages import pretrain

    architecture = Architecture.of_pretraining(config, num_classes=10)
    return pretrain.make_learner(config, architecture, 50_000, strategy, policy)[0]


def forward_operations(model, images, side):
    """Return the multiplications and additions of the convolutions and matrix products of a forward pass.

    The backward pass takes twice as many: one product for the gradient of the input, one for that of the weights.
    """
    import tensorflow as tf

    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    graph = forward.get_concrete_function(tf.TensorSpec((images, side, side, 3))).graph
    operations = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "MatMul"):
            weights, outputs = operation.inputs[1].shape, operation.outputs[0].shape
            operations += 2 * math.prod(weights[:-1]) * math.prod(outputs)
    return operations


def matrix_product(precision, size=2048):
    """Return a Run of one product of square matrices: the greatest speed that a step could have."""
    start_tensorflow()
    import tensorflow as tf

    matrix = tf.cast(tf.random.stateless_uniform((size, size), (0, 0)), precision)
    product = tf.function(lambda matrix: tf.reduce_sum(matrix @ matrix))

    def run():
        product(matrix).numpy()
        return {"gigaflop": 2e-9 * size**3}

    return run
