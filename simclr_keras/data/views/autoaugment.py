"""AutoAugment's ImageNet policy for uint8 views, random by example (Cubuk et al. 2019, arXiv 1805.09501).

Other implementations draw from generators with a state, which no resumed run or second replica repeats.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from simclr_keras.data import draws
from simclr_keras.data.views import pil_operations as pil

# Table 9 of the paper: two operations, each with its probability and magnitude 0 .. 9 (None: it has none).
IMAGENET_POLICY = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, None)),
    (("equalize", 0.8, None), ("equalize", 0.6, None)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, None), ("solarize", 0.2, 4)),
    (("equalize", 0.4, None), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, None)),
    (("posterize", 0.8, 5), ("equalize", 1.0, None)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, None), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, None)),
    (("equalize", 0.0, None), ("equalize", 0.8, None)),
    (("invert", 0.6, None), ("equalize", 1.0, None)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, None)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, None)),
    (("color", 0.4, 0), ("equalize", 0.6, None)),
    (("equalize", 0.4, None), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, None)),
    (("invert", 0.6, None), ("equalize", 1.0, None)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, None), ("equalize", 0.6, None)),
)

# Strength of magnitude 0 and of magnitude 9, nine equal steps apart, over the ranges of Table 6. The paper leaves open
# which end of a range is which; here, as in torchvision, magnitude 0 does nothing.
STRENGTHS = {
    "shear_x": (0.0, 0.3),
    "rotate": (0.0, 30.0),  # degrees
    "solarize": (256.0, 0.0),
    "posterize": (8.0, 4.0),  # bits, rounded
    "contrast": (1.0, 1.9),
    "color": (1.0, 1.9),
    "sharpness": (1.0, 1.9),
}
_LARGEST_MAGNITUDE = 9
# With a random sign of the distance from the strength at magnitude 0.
_SIGNED = frozenset(STRENGTHS) - {"solarize", "posterize"}


def strength(operation: str, magnitude: int | None, sign: int) -> float:
    """Return the strength that an operation of pil_operations takes.

    Args:
        operation: its name. magnitude: 0 .. 9, or None for operations without strength.
        sign: 1 or -1; has no meaning for solarize and posterize.
    """
    if operation not in STRENGTHS:
        return 0.0
    none, most = STRENGTHS[operation]
    change = (most - none) * magnitude / _LARGEST_MAGNITUDE
    value = none + change * (sign if operation in _SIGNED else 1)
    return float(round(value)) if operation == "posterize" else value


class PolicyDraws(NamedTuple):
    """Uniform numbers behind the choices for n images: sub_policy [n, w]; apply and sign [n, w, 2]."""

    sub_policy: tf.Tensor
    apply: tf.Tensor
    sign: tf.Tensor


def draw_policies(seed, step, batch_size, windows):
    """Draw the random numbers of one global batch; slice the first axis to take rows.

    Args:
        seed: int. step: integer scalar tensor. batch_size: int, of the global batch. windows: int, per image.
    """
    u = draws.uniform(seed, step, "autoaugment", [batch_size, windows, 5])
    return PolicyDraws(u[..., 0], u[..., 1:3], u[..., 3:5])


def auto_augment(views: tf.Tensor, policies: PolicyDraws) -> tf.Tensor:
    """Augment each view by one of the 25 sub-policies: two operations in turn.

    Args:
        views: uint8 [n, w, s, s, 3], static but for n. policies: PolicyDraws [n, w].

    Returns:
        uint8 tensor [n, w, s, s, 3].
    """
    images = tf.reshape(views, [-1, *views.shape[2:]])
    operations, probabilities, strengths = (tf.constant(table) for table in _tables())
    sub_policy = draws.integers(tf.reshape(policies.sub_policy, [-1]), len(IMAGENET_POLICY))
    apply, sign = (tf.reshape(u, [-1, 2]) for u in (policies.apply, policies.sign))
    for turn in range(2):
        applied = apply[:, turn] < tf.gather(probabilities[:, turn], sub_policy)
        operation = tf.where(applied, tf.gather(operations[:, turn], sub_policy), len(_USED))
        both_signs = tf.gather(strengths[:, turn], sub_policy)
        value = tf.where(sign[:, turn] < 0.5, both_signs[:, 0], both_signs[:, 1])
        images = _each_by_its_own(images, operation, value)
    return tf.ensure_shape(tf.reshape(images, tf.shape(views)), views.shape)


_USED = tuple(sorted({name for pair in IMAGENET_POLICY for name, _, _ in pair}))


def _tables():
    """Return the policy as arrays [25, 2]: number among _USED, probability; [25, 2, 2]: strength for each sign."""
    operations = np.array([[_USED.index(name) for name, _, _ in pair] for pair in IMAGENET_POLICY], np.int32)
    probabilities = np.array([[p for _, p, _ in pair] for pair in IMAGENET_POLICY], np.float32)
    strengths = [
        [[strength(name, magnitude, sign) for sign in (-1, 1)] for name, _, magnitude in pair]
        for pair in IMAGENET_POLICY
    ]
    return operations, probabilities, np.array(strengths, np.float32)


def _each_by_its_own(images, operation, value):
    """Apply to each image its own operation, int32 [n]; a number beyond the last changes nothing.

    Images are sorted by operation, and each operation is called once with all its images.
    """
    count, shape = len(_USED) + 1, images.shape[1:]
    rows = tf.dynamic_partition(tf.range(tf.shape(images)[0]), operation, count)
    parts = tf.dynamic_partition(images, operation, count)
    values = tf.dynamic_partition(value, operation, count)
    done = [
        getattr(pil, name)(tf.ensure_shape(part, [None, *shape]), values)
        for name, part, values in zip(_USED, parts, values)
    ]
    return tf.ensure_shape(tf.dynamic_stitch(rows, [*done, parts[-1]]), [None, *shape])
