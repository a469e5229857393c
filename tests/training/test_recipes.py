"""Recipes are complete and hold the published figures."""

import dataclasses
import math

import pytest

from simclr_keras.errors import InputError
from simclr_keras.optim import step_arithmetic
from simclr_keras.training import recipes
from simclr_keras.training.config import MODES, config_class, make_config

IMAGENET, CIFAR10 = 1_281_167, 50_000  # training images
PRETRAIN = [name for name, (mode, _) in recipes.RECIPES.items() if mode == "pretrain"]


def config_of(name):
    mode, values = recipes.RECIPES[name]
    return make_config(mode, values, {})


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_is_a_valid_config(name):
    mode, values = recipes.RECIPES[name]
    assert mode in MODES
    config = config_of(name)
    assert {key: getattr(config, key) for key in values} == values
    types = {field.name: field.type for field in dataclasses.fields(config)}
    assert all(isinstance(values[key], float) for key in values if types[key] is float)


@pytest.mark.parametrize("name", PRETRAIN)
def test_a_recipe_says_all_that_shapes_training(name):
    # Not left to defaults, which may move.
    said = {
        "model",
        "image_size",
        "batch_size",
        "epochs",
        "optimizer",
        "learning_rate",
        "learning_rate_scaling",
    }
    said |= {"warmup_epochs", "weight_decay", "temperature", "color_strength", "blur_probability"}
    assert said <= set(recipes.RECIPES[name][1])


@pytest.mark.parametrize(
    ("name", "images", "peak", "steps", "warmup"),
    [
        # 250,228 steps: the step in the names of the published checkpoints.
        ("imagenet_pretrain", IMAGENET, 6.4, 250_228, 12_511),
        ("imagenet_pretrain_100", IMAGENET, 4.8, 31_279, 3_127),
        ("imagenet_pretrain_v1", IMAGENET, 4.8, 312_785, 3_127),
        ("cifar10_pretrain", CIFAR10, 2.0, 97_657, 976),
    ],
)
def test_published_schedules(name, images, peak, steps, warmup):
    config = config_of(name)
    rate = step_arithmetic.peak_learning_rate(
        config.learning_rate, config.batch_size, config.learning_rate_scaling
    )
    assert math.isclose(rate, peak)
    assert step_arithmetic.total_steps(images, config.batch_size, config.epochs) == steps
    assert step_arithmetic.warmup_steps(images, config.batch_size, config.warmup_epochs) == warmup


def test_the_papers_imagenet_recipe():
    config = config_of("imagenet_pretrain")
    said = (config.optimizer, config.weight_decay, config.temperature, config.proj_layers, config.proj_dim)
    assert said == ("lars", 1e-4, 0.1, 3, 128)
    assert (config.image_size, config.color_strength, config.blur_probability) == (224, 1.0, 0.5)
    assert config.warmup_epochs == config.epochs / 20


def test_the_first_papers_imagenet_recipe():
    config = config_of("imagenet_pretrain_v1")
    assert (config.weight_decay, config.proj_layers, config.brightness_mode) == (1e-6, 2, "add")


def test_the_releases_cifar10_recipe():
    config = config_of("cifar10_pretrain")
    said = (config.temperature, config.color_strength, config.blur_probability, config.image_size)
    assert said == (0.5, 0.5, 0.0, 32)


def test_defaults_are_the_papers_imagenet_recipe():
    values = dict(recipes.IMAGENET_PRETRAIN)
    del values["dataset"]
    default = config_class("pretrain")()
    assert {key: getattr(default, key) for key in values} == values


def test_no_recipe_is_an_empty_one():
    assert recipes.recipe(None, "pretrain") == {}


def test_a_recipe_handed_out_may_be_changed():
    recipes.recipe("digits_demo", "pretrain")["epochs"] = 1
    assert recipes.recipe("digits_demo", "pretrain")["epochs"] != 1


def test_an_unknown_recipe_is_refused():
    with pytest.raises(InputError, match="unknown --recipe=digits: did you mean digits_demo"):
        recipes.recipe("digits", "pretrain")


def test_a_recipe_of_another_mode_is_refused(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "flowers", ("finetune", {}))
    with pytest.raises(
        InputError, match="--recipe=flowers belongs to --mode=finetune, not to --mode=pretrain"
    ):
        recipes.recipe("flowers", "pretrain")
