"""From a config to the networks' input: crops on the host, color and blur on the device, batches for the loop."""

from simclr_keras.data import pipeline
from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.data.views.crop import CropConfig

# Settings that have the same name in ColorBlur.
COLOR = (
    "image_size",
    "seed",
    "jitter_probability",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "brightness_mode",
    "grayscale_probability",
)
BLUR = ("blur_probability", "blur_sigma_min", "blur_sigma_max")
MOST_EVALUATED = 256  # images per evaluation step, if --eval_batch_size is 0


def eval_batch_size(config) -> int:
    """Return the images per evaluation step: a large training batch would waste memory on a few photos."""
    return config.eval_batch_size or min(config.batch_size, MOST_EVALUATED)


def crop_config(config) -> CropConfig:
    """Return the CropConfig of a config with the settings of `groups.views`."""
    return CropConfig(
        random_crop="crop" in config.augmentations,
        crop_min_area=config.crop_min_area,
        crop_max_area=config.crop_max_area,
        crop_aspect=config.crop_aspect,
        flip_probability=config.flip_probability if "flip" in config.augmentations else 0.0,
        auto_augment="autoaugment" in config.augmentations,
        # Without a crop, each view is the evaluation window.
        antialias=bool(config.eval_antialias) and "crop" not in config.augmentations,
    )


def color_and_blur(config) -> ColorBlur:
    """Return the ColorBlur of a config with the settings of `groups.views`."""
    blur = "blur" in config.augmentations and config.blur_probability > 0
    return ColorBlur(
        color_strength=config.color_strength if "color" in config.augmentations else 0.0,
        blur=blur,
        **{name: getattr(config, name) for name in COLOR + BLUR * blur},
    )


def make_batches(config, train, *, windows, batch_size=None, seed=None):
    """Return the function of (first step, steps, input context) to batches for `loop.train`.

    Args:
        config: with the settings of `groups.views`, image_size, batch_size and seed.
        train: Source or StreamSource.
        windows: views per image.
        batch_size, seed: replace those of the config.
    """

    def batches(first_step, num_steps, context=None):
        return pipeline.train_batches(
            train,
            image_size=config.image_size,
            batch_size=batch_size or config.batch_size,
            seed=config.seed if seed is None else seed,
            first_step=first_step,
            num_steps=num_steps,
            crop=crop_config(config),
            input_context=context,
            windows=windows,
        )

    return batches
