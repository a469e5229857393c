"""From a config to what the networks see: crops on the host, color and blur on the device, batches for the loop."""

from simclr_keras.data import pipeline
from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.data.views.crop import CropConfig


def crop_config(config, *, random_crop, flip, auto_augment=False):
    """The CropConfig that a config with the settings of `parts.Views` stands for."""
    return CropConfig(
        random_crop=random_crop,
        min_area=config.crop_min_area,
        max_area=config.crop_max_area,
        aspect=(1 / config.crop_aspect, config.crop_aspect),
        flip_probability=config.flip_probability if flip else 0.0,
        auto_augment=auto_augment,
    )


def color_and_blur(config):
    """Color on the device, and blur where the config has it (pretraining alone)."""
    blur = {"blur": False}
    if getattr(config, "blur_probability", 0) > 0:
        blur = {
            "blur": True,
            "blur_probability": config.blur_probability,
            "sigma": (config.blur_sigma_min, config.blur_sigma_max),
        }
    return ColorBlur(
        image_size=config.image_size,
        seed=config.seed,
        strength=config.color_strength,
        jitter_probability=config.jitter_probability,
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
        brightness_mode=config.brightness_mode,
        gray_probability=config.grayscale_probability,
        **blur,
    )


def make_batches(config, train, crop, *, windows, batch_size=None, seed=None, repeat=False):
    """Returns the function of (first step, steps, input context) to batches that `loop.train` wants.

    Args:
        config: has image_size, batch_size and seed.
        train: Source or StreamSource.
        crop: CropConfig.
        windows: views of an image.
        batch_size, seed: instead of the config's.
        repeat: whether a batch may be larger than the source.
    """

    def batches(first_step, num_steps, context=None):
        return pipeline.train_batches(
            train,
            image_size=config.image_size,
            batch_size=batch_size or config.batch_size,
            seed=config.seed if seed is None else seed,
            first_step=first_step,
            num_steps=num_steps,
            crop=crop,
            input_context=context,
            windows=windows,
            repeat=repeat,
        )

    return batches


def labeled_views(config):
    """CropConfig, and ColorBlur or None, of a config with the settings of `later_parts.LabeledViews`."""
    chosen = config.augmentations
    crop = crop_config(
        config, random_crop="crop" in chosen, flip="flip" in chosen, auto_augment="autoaugment" in chosen
    )
    return crop, color_and_blur(config) if "color" in chosen else None
