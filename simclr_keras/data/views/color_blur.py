"""On the device: color jitter, grayscale and blur of whole batches of views, stateless and branch-free.

Every image has its own strengths, order of operations and blur. n = images of this replica, s = side.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from simclr_keras.data import draws
from simclr_keras.data.parallel import compiles_alone
from simclr_keras.data.views import color
from simclr_keras.errors import InputError
from simclr_keras.preprocess import to_float
from simclr_keras.replicas import number_of_rows, rows_of_replica

BLOCK = 32  # pixels that one matrix product blurs


@dataclasses.dataclass(frozen=True, eq=False)
class ColorBlur:
    """Turn uint8 views into the float views that the network sees.

    With probability `jitter_probability`: brightness, contrast, saturation and hue in random order, each
    clipped to [0, 1]. Then grayscale, then Gaussian blur. Randomness is drawn for the global batch from
    (seed, step); each replica takes its own rows.

    Args:
        image_size: int, side of the views in pixels.
        seed: int.
        color_strength: s >= 0 scales the four ranges; 0 leaves out jitter and grayscale. Above 1.25 the lower
            ends stay at 0 and hue at half a turn.
        jitter_probability: of jitter, in [0, 1].
        brightness, contrast, saturation: at strength s the factors are uniform in 1 -+ value * s.
        hue: at strength s the hue turns by uniform(-+ value * s) of the color circle.
        brightness_mode: "multiply" (SimCLR v2) or "add" (v1: uniform(-+ brightness * s) is added).
        grayscale_probability: of grayscale, in [0, 1].
        blur: bool. Kernels have 2 * (image_size // 20) + 1 taps and zero padding (borders darken).
        blur_probability: of blur, in [0, 1].
        blur_sigma_min, blur_sigma_max: range of the standard deviation of the blur in pixels, uniform per image.
        compile: True compiles with XLA on its own, whatever the rest of the step does; False does not;
            "auto" does except on TPUs, where the step is compiled as a whole.

    Raises:
        InputError: a strength, probability, mode or sigma is out of range.

    Reference:
        Chen et al. 2020, arXiv 2002.05709, Appendix A; 2006.10029 for multiplied brightness.
    """

    image_size: int
    seed: int = 0
    _: dataclasses.KW_ONLY
    color_strength: float = 1.0
    jitter_probability: float = 0.8
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    brightness_mode: str = "multiply"
    grayscale_probability: float = 0.2
    blur: bool = True
    blur_probability: float = 0.5
    blur_sigma_min: float = 0.1
    blur_sigma_max: float = 2.0
    compile: bool | str = "auto"

    def __post_init__(self):
        for name in ("color_strength", "brightness", "contrast", "saturation", "hue"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must not be negative. Received: {name}={getattr(self, name)}")
        for name in ("jitter_probability", "grayscale_probability", "blur_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be in [0, 1]. Received: {name}={getattr(self, name)}")
        if self.brightness_mode not in ("multiply", "add"):
            raise InputError(
                "brightness_mode must be 'multiply' or 'add'. "
                f"Received: brightness_mode={self.brightness_mode!r}"
            )
        if not 0 < self.blur_sigma_min <= self.blur_sigma_max:
            raise InputError(
                "Blur sigmas must satisfy 0 < blur_sigma_min <= blur_sigma_max. "
                f"Received: blur_sigma_min={self.blur_sigma_min}, blur_sigma_max={self.blur_sigma_max}"
            )

    def __call__(self, views, step, position=None):
        """Augment this replica's rows of the global batch, or a part of them.

        Args:
            views: uint8 [n, w, s, s, 3] (or float in [0, 1]), w views of each image. The shape is static, but n may
                be unknown, as of a dataset whose last batch is smaller.
            step: int or integer scalar tensor, the global step.
            position: of a part: the row of its first image in the global batch, and the images of that batch.

        Returns:
            float32 [w * n, s, s, 3] in [0, 1]: view 1 of all images, then view 2 of all images, ...
        """
        count, windows = number_of_rows(views), views.shape[1]
        parameters = self.parameters_of_replica(step, count, windows, position)
        # Not a transpose: that of uint8 makes oneDNN print an error on CPUs.
        images = tf.concat(tf.unstack(views, axis=1), axis=0)
        return (self._compiled if self._use_xla() else self.apply)(images, parameters)

    def parameters_of_replica(self, step, count, windows=2, position=None):
        """Return the parameters of `count` images of this replica, which are rows of the global batch.

        Args:
            step, position: as for calls; without a position, these are all images of the replica.
            count: int or integer scalar tensor.
            windows: views of each image.

        Returns:
            dict of tensors [windows * count, ...], all images of view 1 first; see `parameters`.
        """
        first, batch_size = rows_of_replica(count) if position is None else position
        global_batch = self.parameters(step, batch_size, windows)

        def rows_of(values):
            rest = values.shape[2:]
            start = tf.stack([0, first, *[0] * len(rest)])
            own = tf.slice(values, start, [windows, count, *rest])
            return tf.reshape(own, [windows * count, *rest])

        return {name: rows_of(values) for name, values in global_batch.items()}

    def parameters(self, step, batch_size, windows=2):
        """Return the parameters of each view of the global batch.

        Returns:
            dict of tensors [windows, batch_size, ...]: jittered, gray (bool), order (int32, 4), brightness,
            contrast, saturation, hue, blurred (bool) and sigma (float32).
        """
        u = draws.uniform(self.seed, step, "color and blur", [batch_size, windows, 9])
        u = tf.unstack(tf.transpose(u, [2, 1, 0]))
        order = tf.gather(color.ORDERS, draws.integers(u[1], len(color.ORDERS)))
        additive = self.brightness_mode == "add"
        spread = self.color_strength * self.brightness
        return {
            "jittered": u[0] < self.jitter_probability,
            "order": order,
            "brightness": (2.0 * u[2] - 1.0) * spread if additive else _factor(u[2], spread),
            "contrast": _factor(u[3], self.color_strength * self.contrast),
            "saturation": _factor(u[4], self.color_strength * self.saturation),
            "hue": (2.0 * u[5] - 1.0) * min(self.color_strength * self.hue, 0.5),
            "gray": u[6] < self.grayscale_probability,
            "blurred": u[7] < self.blur_probability,
            "sigma": self.blur_sigma_min + u[8] * (self.blur_sigma_max - self.blur_sigma_min),
        }

    def apply(self, images, parameters):
        """Augment images with these parameters.

        Args:
            images: uint8 [n, s, s, 3], or float in [0, 1].
            parameters: dict as `parameters` returns, each with leading axis [n].

        Returns:
            float32 [n, s, s, 3] in [0, 1].
        """
        planes = color.to_planes(to_float(images))
        if self.color_strength > 0:
            names = ("order", "brightness", "contrast", "saturation", "hue")
            jittered = color.jitter(
                planes,
                *(parameters[name] for name in names),
                additive_brightness=self.brightness_mode == "add",
            )
            planes = _where(parameters["jittered"], jittered, planes)
            planes = _where(parameters["gray"], color.to_grayscale(planes), planes)
        radius = self.image_size // 20
        if self.blur and radius > 0:
            planes = gaussian_blur(planes, parameters["sigma"], radius, parameters["blurred"])
        return tf.clip_by_value(color.to_images(planes), 0.0, 1.0)

    @functools.cached_property
    def _compiled(self):
        return tf.function(self.apply, jit_compile=True, autograph=False)

    def _use_xla(self):
        if self.compile != "auto":
            return self.compile
        return compiles_alone()


def gaussian_blur(planes, sigma, radius, blurred):
    """Blur by a separable Gaussian with zero padding: matrix products along each axis.

    Args:
        planes: three float32 [n, h, w].
        sigma: float32 [n], standard deviation in pixels.
        radius: int, the kernel has 2 * radius + 1 taps.
        blurred: bool [n], the images to blur; the others are multiplied by the identity, so that shapes stay static.
    """
    height, width = planes[0].shape[1:]
    # A block depends on what is near it alone: one product for the whole axis would multiply zeros for the most part.
    band, span = blur_band(sigma, radius, blurred, BLOCK), BLOCK + 2 * radius
    band = tf.tile(band, [len(planes), 1, 1])
    padded = tf.pad(
        tf.concat(planes, axis=0),
        [[0, 0], *([radius, radius + -size % BLOCK] for size in (height, width))],
    )
    rows = [tf.matmul(band, padded[:, top : top + span]) for top in range(0, height, BLOCK)]
    down = tf.concat(rows, axis=1)[:, :height]
    columns = [
        tf.matmul(down[:, :, left : left + span], band, transpose_b=True) for left in range(0, width, BLOCK)
    ]
    return tuple(tf.split(tf.concat(columns, axis=2)[:, :, :width], len(planes)))


def blur_band(sigma, radius, blurred, size):
    """Return the matrices that blur `size` pixels, given `radius` more on either side: [n, size, size + 2 * radius]."""
    taps = np.arange(-radius, radius + 1, dtype=np.float32)
    distance = np.abs(np.arange(size)[:, None] - np.arange(-radius, size + radius)).astype(np.float32)
    precision = 0.5 / tf.square(sigma)
    band = tf.exp(-(distance**2) * precision[:, None, None]) * (distance <= radius)
    # Normalized over all taps, those outside the image too: the outside is black.
    total = tf.reduce_sum(tf.exp(-(taps**2) * precision[:, None]), axis=-1)
    identity = (distance == 0).astype(np.float32)
    return tf.where(blurred[:, None, None], band / total[:, None, None], identity)


def _factor(u, spread):
    low = max(0.0, 1.0 - spread)
    return low + u * (1.0 + spread - low)


def _where(condition, planes, others):
    condition = condition[:, None, None]
    return tuple(tf.where(condition, plane, other) for plane, other in zip(planes, others))
