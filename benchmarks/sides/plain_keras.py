"""The step as users of Keras write it: networks of stock layers, for Keras 3 and for tf_keras."""

import importlib

from benchmarks.sides.ours import start_tensorflow

DEPTHS = {9: (1,), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}  # depth -> blocks of each group; 9 for --quick
TEMPERATURE = 0.1


def pretrain_step(package, depth, image_size, batch_size, precision):
    """Return a Run of one step on finished views: forward, NT-Xent, backward, SGD with momentum.

    Args:
        package: "keras" or "tf_keras".
        depth: of the ResNet, a key of DEPTHS. precision: "float32" or "bfloat16".
    """
    start_tensorflow()
    import tensorflow as tf

    keras = importlib.import_module(package)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    features = resnet(keras, depth, image_size)
    outputs = projection_head(keras, features.output)
    network, optimizer = keras.Model(features.input, outputs), keras.optimizers.SGD(0.1, momentum=0.9)
    views = tf.random.stateless_uniform((2 * batch_size, image_size, image_size, 3), (0, 0))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = nt_xent(network(views, training=True))
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    def run():
        return {"loss": float(step())}

    return run


def resnet(keras, depth, image_size):
    """Return a ResNet as a functional model; images of up to 64 pixels get a stem without strides."""
    layers = keras.layers

    def conv_norm(x, filters, kernel, stride=1):
        x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    def block(x, filters, stride):
        shortcut, width = x, filters if depth < 50 else 4 * filters
        if stride > 1 or x.shape[-1] != width:
            shortcut = conv_norm(x, width, 1, stride)
        kernels = ((filters, 3, stride), (filters, 3, 1))
        if depth >= 50:
            kernels = ((filters, 1, 1), (filters, 3, stride), (width, 1, 1))
        for index, arguments in enumerate(kernels):
            x = conv_norm(x if index == 0 else layers.ReLU()(x), *arguments)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    small = image_size <= 64
    images = x = keras.Input((image_size, image_size, 3))
    x = layers.ReLU()(conv_norm(x, 64, 3 if small else 7, 1 if small else 2))
    if not small:
        x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for group, blocks in enumerate(DEPTHS[depth]):
        for index in range(blocks):
            x = block(x, 64 * 2**group, 2 if group and not index else 1)
    return keras.Model(images, layers.GlobalAveragePooling2D()(x))


def projection_head(keras, features):
    """Return the output of a head of three layers, as wide as the features, then 128."""
    layers, x = keras.layers, features
    for _ in range(2):
        x = layers.BatchNormalization()(layers.Dense(features.shape[-1], use_bias=False)(x))
        x = layers.ReLU()(x)
    x = layers.Dense(128, use_bias=False)(x)
    return layers.BatchNormalization(dtype="float32")(x)


def nt_xent(embeddings):
    """Return the loss of the embeddings of all first views, then of all second views, [2b, d]."""
    import tensorflow as tf

    unit = tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=-1)
    count = unit.shape[0]
    logits = unit @ tf.transpose(unit) / TEMPERATURE - 1e9 * tf.eye(count)
    positives = tf.roll(tf.range(count), count // 2, 0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(positives, logits))
