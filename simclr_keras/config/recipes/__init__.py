"""Named recipes as plain data, arithmetic visible. A flag on the command line overrides any value.

Published figures beside a recipe are the papers'; "measured" ones come from the command named with them.
"""

import difflib
from typing import Any, NamedTuple

from simclr_keras.config.recipes import cifar10, digits, imagenet, photos, transfer
from simclr_keras.errors import InputError


class Recipe(NamedTuple):
    """A stage with values for its settings, and what they are for, in one sentence."""

    mode: str
    values: dict[str, Any]
    about: str


RECIPES = {
    "imagenet_pretrain": Recipe(
        "pretrain",
        imagenet.IMAGENET_PRETRAIN,
        "SimCLRv2 paper: 800 epochs, batch 4096, LARS with peak 6.4, 3-layer head.",
    ),
    "imagenet_pretrain_100": Recipe(
        "pretrain",
        imagenet.IMAGENET_PRETRAIN_100,
        "README of the released code: 100 epochs; published linear evaluation 64.5 %.",
    ),
    "imagenet_pretrain_v1": Recipe(
        "pretrain",
        imagenet.IMAGENET_PRETRAIN_V1,
        "SimCLR v1 paper: 1000 epochs, 2-layer head, additive brightness.",
    ),
    "finetune_1pct": Recipe(
        "finetune",
        imagenet.FINETUNE_1PCT,
        "SimCLRv2 paper: 60 epochs on 1 % of the labels, from head layer 1.",
    ),
    "finetune_10pct": Recipe(
        "finetune",
        imagenet.FINETUNE_10PCT,
        "SimCLRv2 paper: 30 epochs on 10 % of the labels, from head layer 1.",
    ),
    "finetune_100pct": Recipe(
        "finetune",
        imagenet.FINETUNE_100PCT,
        "SimCLRv2 paper: 30 epochs on all labels, from the encoder's output.",
    ),
    "linear_eval": Recipe(
        "linear_eval",
        imagenet.LINEAR_EVAL,
        "SimCLRv2 paper: linear classifier on the frozen encoder, 90 epochs.",
    ),
    "distill_self": Recipe(
        "distill",
        imagenet.DISTILL_SELF,
        "SimCLRv2 paper: distillation into the same network, temperature 0.1.",
    ),
    "distill_small": Recipe(
        "distill",
        imagenet.DISTILL_SMALL,
        "SimCLRv2 paper: distillation into a smaller network, temperature 1.",
    ),
    "supervised": Recipe(
        "supervised", imagenet.SUPERVISED, "SimCLRv2 paper: the supervised baseline on all labels, 90 epochs."
    ),
    "supervised_1pct": Recipe(
        "supervised",
        imagenet.SUPERVISED_1PCT,
        "Baseline on 1 % of the labels, with AutoAugment and label smoothing, for as many steps.",
    ),
    "supervised_10pct": Recipe(
        "supervised",
        imagenet.SUPERVISED_10PCT,
        "Baseline on 10 % of the labels, with AutoAugment and label smoothing, for as many steps.",
    ),
    "transfer_augment": Recipe(
        "finetune",
        transfer.TRANSFER_AUGMENT,
        "A second study: fine-tuning on tf_flowers with subsets of the augmentations.",
    ),
    "transfer_linear": Recipe(
        "linear_eval", transfer.TRANSFER_LINEAR, "A second study: linear transfer in 30 steps."
    ),
    "distill_backbone": Recipe(
        "distill",
        transfer.DISTILL_BACKBONE,
        "A second study: distillation into a frozen VGG16 or ResNet50 with dense layers.",
    ),
    "cifar10_pretrain": Recipe(
        "pretrain", cifar10.CIFAR10_PRETRAIN, "README of the released code: r18, 1000 epochs."
    ),
    "cifar10_linear_eval": Recipe(
        "linear_eval",
        cifar10.CIFAR10_LINEAR_EVAL,
        "README of the released code: linear evaluation after cifar10_pretrain.",
    ),
    "cifar10_small": Recipe(
        "pretrain", cifar10.CIFAR10_SMALL, "r18_0.25x in about half an hour on two CPU cores."
    ),
    "cifar10_finetune_1pct": Recipe(
        "finetune", cifar10.CIFAR10_FINETUNE_1PCT, "After cifar10_small: fine-tuning on 1 % of the labels."
    ),
    "cifar10_finetune_10pct": Recipe(
        "finetune", cifar10.CIFAR10_FINETUNE_10PCT, "After cifar10_small: fine-tuning on 10 % of the labels."
    ),
    "cifar10_supervised_1pct": Recipe(
        "supervised", cifar10.CIFAR10_SUPERVISED_1PCT, "The same network from scratch on 1 % of the labels."
    ),
    "cifar10_supervised_10pct": Recipe(
        "supervised", cifar10.CIFAR10_SUPERVISED_10PCT, "The same network from scratch on 10 % of the labels."
    ),
    "cifar10_distill": Recipe(
        "distill", cifar10.CIFAR10_DISTILL, "After cifar10_finetune_1pct: self-distillation on all images."
    ),
    "photos_pretrain": Recipe(
        "pretrain", photos.PHOTOS_PRETRAIN, "Some thousand photos on one machine; not from a paper."
    ),
    "photos_continue": Recipe(
        "pretrain",
        photos.PHOTOS_CONTINUE,
        "Photos, starting from published or earlier weights with --init; not from a paper.",
    ),
    "photos_finetune": Recipe(
        "finetune", photos.PHOTOS_FINETUNE, "After photos_pretrain: a few hundred labels."
    ),
    "photos_supervised": Recipe(
        "supervised",
        photos.PHOTOS_SUPERVISED,
        "The baseline of photos_finetune: the same network from scratch, on the labels alone.",
    ),
    "photos_linear_eval": Recipe(
        "linear_eval", photos.PHOTOS_LINEAR_EVAL, "After photos_pretrain: linear evaluation."
    ),
    "photos_distill": Recipe(
        "distill",
        photos.PHOTOS_DISTILL,
        "After photos_finetune: distillation into a smaller network, on all photos.",
    ),
    "digits_demo": Recipe(
        "pretrain", digits.DIGITS_DEMO, "Pretraining of `make demo`, on scikit-learn's digits."
    ),
    "digits_supervised": Recipe(
        "supervised", digits.DIGITS_SUPERVISED, "Supervised baseline of `make demo`."
    ),
    "digits_finetune": Recipe("finetune", digits.DIGITS_FINETUNE, "Fine-tuning of `make demo`."),
    "digits_distill": Recipe("distill", digits.DIGITS_DISTILL, "Distillation of `make demo`."),
}


def recipe(name: str | None, mode: str | None) -> dict[str, Any]:
    """Return the values of a recipe as a dict; an empty one for None.

    Raises:
        InputError: the name is unknown, or the recipe is for another mode.
    """
    if name is None:
        return {}
    if name in RECIPES and RECIPES[name].mode == mode:
        return dict(RECIPES[name].values)
    same_mode = sorted(other for other, recipe in RECIPES.items() if recipe.mode == mode)
    if name in RECIPES:
        problem = f"is for {RECIPES[name].mode}, not for {mode}"
    else:
        problem = "is unknown"
        for close in difflib.get_close_matches(name, RECIPES, n=1):
            if close in same_mode:
                raise InputError(f"--recipe={name} is unknown: did you mean {close}?")
            problem += f" ({close} is for {RECIPES[close].mode})"
    remedy = (
        f"choose one of {', '.join(same_mode)}" if same_mode else f"{mode} has no recipes; leave --recipe out"
    )
    raise InputError(f"--recipe={name} {problem}: {remedy}.")
