"""Named recipes as plain data, arithmetic visible. A flag on the command line overrides any value.

Published figures beside a recipe are the papers'; "measured" ones come from the command named with them.
"""

from typing import Any

from simclr_keras.config.option import nearest
from simclr_keras.config.recipes import cifar10, digits, imagenet, photos, transfer
from simclr_keras.errors import InputError

RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "imagenet_pretrain": ("pretrain", imagenet.IMAGENET_PRETRAIN),
    "imagenet_pretrain_100": ("pretrain", imagenet.IMAGENET_PRETRAIN_100),
    "imagenet_pretrain_v1": ("pretrain", imagenet.IMAGENET_PRETRAIN_V1),
    "finetune_1pct": ("finetune", imagenet.FINETUNE_1PCT),
    "finetune_10pct": ("finetune", imagenet.FINETUNE_10PCT),
    "finetune_100pct": ("finetune", imagenet.FINETUNE_100PCT),
    "linear_eval": ("linear_eval", imagenet.LINEAR_EVAL),
    "distill_self": ("distill", imagenet.DISTILL_SELF),
    "distill_small": ("distill", imagenet.DISTILL_SMALL),
    "supervised": ("supervised", imagenet.SUPERVISED),
    "supervised_1pct": ("supervised", imagenet.SUPERVISED_1PCT),
    "supervised_10pct": ("supervised", imagenet.SUPERVISED_10PCT),
    "transfer_augment": ("finetune", transfer.TRANSFER_AUGMENT),
    "transfer_linear": ("linear_eval", transfer.TRANSFER_LINEAR),
    "distill_backbone": ("distill", transfer.DISTILL_BACKBONE),
    "cifar10_pretrain": ("pretrain", cifar10.CIFAR10_PRETRAIN),
    "cifar10_linear_eval": ("linear_eval", cifar10.CIFAR10_LINEAR_EVAL),
    "cifar10_small": ("pretrain", cifar10.CIFAR10_SMALL),
    "cifar10_finetune_1pct": ("finetune", cifar10.CIFAR10_FINETUNE_1PCT),
    "cifar10_finetune_10pct": ("finetune", cifar10.CIFAR10_FINETUNE_10PCT),
    "cifar10_supervised_1pct": ("supervised", cifar10.CIFAR10_SUPERVISED_1PCT),
    "cifar10_supervised_10pct": ("supervised", cifar10.CIFAR10_SUPERVISED_10PCT),
    "cifar10_distill": ("distill", cifar10.CIFAR10_DISTILL),
    "photos_pretrain": ("pretrain", photos.PHOTOS_PRETRAIN),
    "photos_finetune": ("finetune", photos.PHOTOS_FINETUNE),
    "photos_linear_eval": ("linear_eval", photos.PHOTOS_LINEAR_EVAL),
    "photos_distill": ("distill", photos.PHOTOS_DISTILL),
    "digits_demo": ("pretrain", digits.DIGITS_DEMO),
    "digits_supervised": ("supervised", digits.DIGITS_SUPERVISED),
    "digits_finetune": ("finetune", digits.DIGITS_FINETUNE),
    "digits_distill": ("distill", digits.DIGITS_DISTILL),
}


def recipe(name: str | None, mode: str | None) -> dict[str, Any]:
    """Return the values of a recipe as a dict; an empty one for None.

    Raises:
        InputError: the name is unknown, or the recipe is for another mode.
    """
    if name is None:
        return {}
    if name not in RECIPES:
        raise InputError(f"--recipe={name} is unknown: {nearest(name, RECIPES)}")
    stage, values = RECIPES[name]
    if stage != mode:
        raise InputError(f"--recipe={name} is for --mode={stage}, not for --mode={mode}.")
    return dict(values)
