"""From a config to the networks' input: crops on the host, color and blur on the device, batches for the loop."""

from simclr_keras.data import pipeline
from simclr_keras.data.views.color_blur import ColorBlur
from simclr_keras.data.views.crop import CropConfig

MOST_EVALUATED = 256  # images per evaluation step, if --eval_batch_size is 0


def eval_batch_size(config) -> int:
    """Return the images per evaluation step: a large training batch would waste memory on a few photos."""
    return config.eval_batch_size or min(config.batch_size, MOST_EVALUATED)


def crop_config(config, *, random_crop, flip, auto_augment=False) -> CropConfig:
    """Return the CropConfig of a config with the settings of `groups.Views`."""
    return CropConfig(
        random_crop=random_crop,
        min_area=config.crop_min_area,
        max_area=config.crop_max_area,
        aspect=(1 / config.crop_aspect, config.crop_aspect),
        flip_probability=config.flip_probability if flip else 0.0,
        auto_augment=auto_augment,
    )


def color_and_blur(config) -> ColorBlur:
    """Return the color jitter and blur of pretraining."""
    if config.blur_probability == 0:
        return _color(config, blur=False)
    sigma = (config.blur_sigma_min, config.blur_sigma_max)
    return _color(config, blur=True, blur_probability=config.blur_probability, sigma=sigma)


def _color(config, **blur):
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
    """Return the function of (first step, steps, input context) to batches for `loop.train`.

    Args:
        config: has image_size, batch_size and seed.
        train: Source or StreamSource.
        crop: CropConfig.
        windows: views per image.
        batch_size, seed: replace those of the config.
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
    """Return (CropConfig, ColorBlur or None) of a config with the settings of `groups.LabeledViews`."""
    names = config.augmentations
    crop = crop_config(
        config, random_crop="crop" in names, flip="flip" in names, auto_augment="autoaugment" in names
    )
    return crop, _color(config, blur=False) if "color" in names else None
