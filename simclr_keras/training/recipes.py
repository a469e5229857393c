"""Named recipes as plain data, arithmetic visible. A flag on the command line overrides any value.

Published figures beside a recipe are the papers'; "measured" ones come from the command named with them.
"""

from simclr_keras.errors import InputError
from simclr_keras.training.options import nearest

# SimCLRv2 (arXiv 2006.10029), section 3 and appendix: 800 epochs, peak 0.1 * sqrt(4096) = 6.4, warm-up 5 % of epochs.
# Linear evaluation of r50_1x_sk0 with memory: 71.7 % (Table 1).
IMAGENET_PRETRAIN = {
    "dataset": "imagenet2012",
    "model": "r50_1x_sk0",
    "image_size": 224,
    "batch_size": 4096,
    "epochs": 800,
    "optimizer": "lars",
    "learning_rate": 0.1,
    "learning_rate_scaling": "sqrt",
    "warmup_epochs": 0.05 * 800,
    "weight_decay": 1e-4,
    "temperature": 0.1,
    "proj_layers": 3,
    "proj_dim": 128,
    "color_strength": 1.0,
    "blur_probability": 0.5,
}

# README of the released code: 100 epochs, peak 0.075 * sqrt(4096) = 4.8, 64.5 % linear.
IMAGENET_PRETRAIN_100 = {
    **IMAGENET_PRETRAIN,
    "epochs": 100,
    "learning_rate": 0.075,
    "warmup_epochs": 10.0,
}

# SimCLR v1 (arXiv 2002.05709): 1000 epochs, peak 0.3 * 4096/256 = 4.8, 2-layer head, additive brightness,
# weight decay 1e-6; linear 69.1 / 74.2 / 76.6 % for r50 1x / 2x / 4x.
IMAGENET_PRETRAIN_V1 = {
    **IMAGENET_PRETRAIN,
    "epochs": 1000,
    "learning_rate": 0.3,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 10.0,
    "weight_decay": 1e-6,
    "proj_layers": 2,
    "brightness_mode": "add",
}

# README of the released code: r18, 1000 epochs, peak 1.0 * 512/256 = 2; linear probe about 91 %.
CIFAR10_PRETRAIN = {
    "dataset": "cifar10",
    "model": "r18_1x_sk0",
    "image_size": 32,
    "batch_size": 512,
    "epochs": 1000,
    "optimizer": "lars",
    "learning_rate": 1.0,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 10.0,
    "weight_decay": 1e-4,
    "temperature": 0.5,
    "color_strength": 0.5,
    "blur_probability": 0.0,
}

# Half an hour on two CPU cores.
CIFAR10_SMALL = {
    **CIFAR10_PRETRAIN,
    "model": "r18_0.25x_sk0",
    "epochs": 30,
    "optimizer": "momentum",
    "learning_rate": 0.3,  # peak 0.3 * 512/256 = 0.6
    "warmup_epochs": 1.0,
    "weight_decay": 5e-4,
    "temperature": 0.2,
    "crop_min_area": 0.2,
    "proj_hidden_dim": 512,
    "probe_learning_rate": 0.25,
}

# About a minute on two CPU cores, no download.
DIGITS_DEMO = {
    "dataset": "digits",
    "model": "r18_0.25x_sk0",
    "image_size": 16,
    "batch_size": 256,
    "epochs": 100,
    "optimizer": "momentum",
    "learning_rate": 0.12,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 2.0,
    "weight_decay": 5e-4,
    "temperature": 0.2,
    "probe_learning_rate": 0.5,
    "proj_hidden_dim": 256,
    "crop_min_area": 0.3,
    "flip_probability": 0.0,  # a mirrored 2 is no digit
    "color_strength": 0.5,
    "blur_probability": 0.0,
    "eval_fraction": 0.2,
    "baselines": True,
}

RECIPES = {
    "imagenet_pretrain": ("pretrain", IMAGENET_PRETRAIN),
    "imagenet_pretrain_100": ("pretrain", IMAGENET_PRETRAIN_100),
    "imagenet_pretrain_v1": ("pretrain", IMAGENET_PRETRAIN_V1),
    "cifar10_pretrain": ("pretrain", CIFAR10_PRETRAIN),
    "cifar10_small": ("pretrain", CIFAR10_SMALL),
    "digits_demo": ("pretrain", DIGITS_DEMO),
}


def recipe(name, mode):
    """Returns the values of a recipe as a dict; an empty one for None.

    Raises:
        InputError: unknown name, or a recipe of another mode.
    """
    if name is None:
        return {}
    if name not in RECIPES:
        raise InputError(f"unknown --recipe={name}: {nearest(name, RECIPES)}")
    of_mode, values = RECIPES[name]
    if of_mode != mode:
        raise InputError(f"--recipe={name} belongs to --mode={of_mode}, not to --mode={mode}.")
    return dict(values)
