"""The released code's pretraining step in float64, written from the papers' description: plain functions, no Keras.

Weights are a dict of name to float64 array. Names are paths such as encoder/block_group1/block2/conv1/kernel; they are
all that this file shares with the package. TensorFlow serves for convolutions and derivatives alone.
"""

import math

import numpy as np
import tensorflow as tf

MOMENTUM = 0.9
KERAS_SGD_MOMENTUM = float(np.float32(0.9))  # keras' SGD rounds it to float32 on its way into float64
TRUST_COEFFICIENT = 1e-3


def is_trained(name):
    return "/moving_" not in name


def is_normalization(name):
    return name.endswith(("/gamma", "/beta"))


def is_supervised_head(name):
    return name.startswith("classifier/")


# The network


def convolve(weights, name, x, stride=1):
    kernel = weights[f"{name}/kernel"]
    before = (kernel.shape[0] - 1) // 2
    after = kernel.shape[0] - 1 - before
    x = tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])
    return tf.nn.conv2d(x, kernel, stride, "VALID")


def normalize(weights, moved, name, x):
    """Batch normalization in training mode; the new moving averages go into `moved`."""
    axes = list(range(len(x.shape) - 1))
    mean = tf.reduce_mean(x, axes)
    variance = tf.reduce_mean((x - mean) ** 2, axes)  # biased
    for key, value in ((f"{name}/moving_mean", mean), (f"{name}/moving_variance", variance)):
        moved[key] = 0.9 * weights[key] + 0.1 * value.numpy()
    return weights[f"{name}/gamma"] * (x - mean) / tf.sqrt(variance + 1e-5) + weights.get(f"{name}/beta", 0)


def block(weights, moved, name, x, stride):
    def conv_norm(x, conv, norm, stride=1):
        return normalize(weights, moved, f"{name}/{norm}", convolve(weights, f"{name}/{conv}", x, stride))

    shortcut = x
    if f"{name}/shortcut_conv/kernel" in weights:
        shortcut = conv_norm(x, "shortcut_conv", "shortcut_bn", stride)
    if f"{name}/conv3/kernel" in weights:  # bottleneck: 1x1, 3x3 with the stride, 1x1
        x = tf.nn.relu(conv_norm(x, "conv1", "bn1"))
        x = tf.nn.relu(conv_norm(x, "conv2", "bn2", stride))
        x = conv_norm(x, "conv3", "bn3")
    else:
        x = tf.nn.relu(conv_norm(x, "conv1", "bn1", stride))
        x = conv_norm(x, "conv2", "bn2")
    return tf.nn.relu(x + shortcut)


def forward(weights, images):
    """Returns the representation h, the embedding z, the probe's logits and the new moving averages."""
    moved = {}
    x = convolve(weights, "encoder/stem/conv1", tf.constant(images))
    x = tf.nn.relu(normalize(weights, moved, "encoder/stem/bn1", x))
    for group in (1, 2, 3, 4):
        number = 1
        while f"encoder/block_group{group}/block{number}/conv1/kernel" in weights:
            stride = 2 if group > 1 and number == 1 else 1
            x = block(weights, moved, f"encoder/block_group{group}/block{number}", x, stride)
            number += 1
    h = z = tf.reduce_mean(x, [1, 2])
    for layer in (1, 2, 3):
        z = z @ weights[f"projection_head/dense{layer}/kernel"]
        z = normalize(weights, moved, f"projection_head/bn{layer}", z)
        z = tf.nn.relu(z) if layer < 3 else z
    logits = tf.stop_gradient(h) @ weights["classifier/kernel"] + weights["classifier/bias"]
    return h, z, logits, moved


# The losses


def contrastive_loss(z, temperature):
    """Both directions summed, averaged over the n images; z holds first views, then second views."""
    z = z / tf.sqrt(tf.maximum(tf.reduce_sum(z**2, axis=1, keepdims=True), 1e-12))
    n = len(z) // 2
    similarity = z @ tf.transpose(z) / temperature
    others = tf.linalg.set_diag(similarity, tf.fill([2 * n], tf.constant(-1e9, z.dtype)))
    positive = tf.reduce_sum(z * tf.roll(z, n, axis=0), axis=1) / temperature
    losses = tf.reduce_logsumexp(others, axis=1) - positive
    first = similarity.numpy()[:n, n:]
    accuracy = np.mean(first.argmax(axis=1) == np.arange(n))
    shares = np.exp(first) / np.exp(first).sum(axis=1, keepdims=True)
    entropy = -np.mean(np.sum(shares * np.log(shares + 1e-8), axis=1))
    return tf.reduce_sum(losses) / n, accuracy, entropy


def cross_entropy(logits, labels):
    chosen = tf.gather(logits, labels, batch_dims=1)
    return tf.reduce_mean(tf.reduce_logsumexp(logits, axis=1) - chosen)


# The schedule and the optimizers


def learning_rates(base, batch, examples, epochs, warmup_epochs):
    """The learning rate of every step of a run, base scaled linearly with the batch."""
    peak = base * batch / 256
    total = examples * epochs // batch + 1
    warmup = round(warmup_epochs * examples // batch)
    rates = [peak * step / warmup for step in range(warmup)]
    for step in range(warmup, total):
        rates.append(peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))))
    return rates


def lars(name, weight, gradient, velocity, rate, decay):
    """New weight and velocity. Normalization, biases and the supervised head: no decay, no adaptation."""
    trust = 1.0
    if not (is_normalization(name) or is_supervised_head(name)):
        gradient = gradient + decay * weight
        norms = np.linalg.norm(weight), np.linalg.norm(gradient)
        trust = TRUST_COEFFICIENT * norms[0] / norms[1] if min(norms) > 0 else 1.0
    velocity = MOMENTUM * velocity + rate * trust * gradient
    return weight - velocity, velocity


def nesterov(name, weight, gradient, velocity, rate, decay):
    """New weight and velocity of momentum SGD, whose decay is in the loss."""
    velocity = KERAS_SGD_MOMENTUM * velocity - rate * gradient
    return weight + KERAS_SGD_MOMENTUM * velocity - rate * gradient, velocity


def plain_momentum(name, weight, gradient, velocity, rate, decay):
    velocity = KERAS_SGD_MOMENTUM * velocity - rate * gradient
    return weight + velocity, velocity


# The step


class Twin:
    """Trains; `weights` and `velocities` are its state.

    Args:
        weights: dict of name to array.
        rule: `lars` or `nesterov`, for all weights but the probe's.
        probe_rule: for the probe's, which under the release is `lars` too: for its names that is plain momentum.
        decay: weight decay.
        decayed_in_loss: function of a name to bool, the weights whose L2 term is part of the loss.
        temperature: of the contrastive loss.
    """

    def __init__(self, weights, rule, probe_rule, decay, decayed_in_loss, temperature):
        self.weights = {name: np.array(weight, np.float64) for name, weight in weights.items()}
        self.velocities = {name: np.zeros_like(w) for name, w in self.weights.items() if is_trained(name)}
        self.rule, self.probe_rule = rule, probe_rule
        self.decay, self.decayed_in_loss, self.temperature = decay, decayed_in_loss, temperature

    def step(self, views, labels, rate, probe_rate):
        """Takes one step and returns its figures.

        Args:
            views: [n, 2, h, w, 3] in [0, 1].
            labels: [n] int.
            rate, probe_rate: learning rates of this step.
        """
        images = np.concatenate([views[:, 0], views[:, 1]]).astype(np.float64)
        labels = np.concatenate([labels, labels])
        trained = {name: tf.constant(self.weights[name]) for name in self.velocities}
        with tf.GradientTape() as tape:
            tape.watch(trained)
            _, z, logits, moved = forward({**self.weights, **trained}, images)
            contrastive, accuracy, entropy = contrastive_loss(z, self.temperature)
            probe = cross_entropy(logits, labels)
            squares = [tf.reduce_sum(w**2) for name, w in trained.items() if self.decayed_in_loss(name)]
            loss = contrastive + probe + self.decay * 0.5 * sum(squares)
        for name, gradient in tape.gradient(loss, trained).items():
            is_probe = is_supervised_head(name)
            self.weights[name], self.velocities[name] = (self.probe_rule if is_probe else self.rule)(
                name,
                self.weights[name],
                gradient.numpy(),
                self.velocities[name],
                probe_rate if is_probe else rate,
                self.decay,
            )
        self.weights.update(moved)
        return {
            "contrastive_loss": float(contrastive),
            "contrastive_accuracy": accuracy,
            "contrastive_entropy": entropy,
            "probe_loss": float(probe),
            "probe_accuracy": np.mean(logits.numpy().argmax(axis=1) == labels),
        }
