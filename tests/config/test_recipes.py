"""Recipes are complete and hold the published figures."""

import dataclasses
import math

import pytest

from simclr_keras.config import recipes
from simclr_keras.config.modes import MODES, config_class, make_config
from simclr_keras.errors import InputError
from simclr_keras.optim import step_arithmetic

IMAGENET, ONE_PERCENT, TEN_PERCENT, CIFAR10 = 1_281_167, 12_811, 128_116, 50_000  # training images
# The runs that a recipe goes on from, and a folder of photos, are the user's to name.
GIVEN = {
    "pretrain": {"dataset": "folder:photos"},
    "finetune": {"init": "runs/a"},
    "linear_eval": {"init": "runs/a"},
    "distill": {"teacher": "runs/b"},
}


def config_of(name):
    mode, values = recipes.RECIPES[name]
    return make_config(mode, {**GIVEN.get(mode, {}), **values}, {})


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_is_a_valid_config(name):
    mode, values = recipes.RECIPES[name]
    assert mode in MODES
    config = config_of(name)
    assert {key: getattr(config, key) for key in values} == values
    types = {field.name: field.type for field in dataclasses.fields(config)}
    assert all(isinstance(values[key], float) for key in values if types[key] is float)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_says_all_that_shapes_training(name):
    # Not left to defaults, which may move.
    mode, values = recipes.RECIPES[name]
    said = {"batch_size", "epochs", "optimizer", "learning_rate", "learning_rate_scaling"}
    if mode in ("pretrain", "supervised", "distill"):  # fine-tuning has neither warm-up nor decay
        said |= {"warmup_epochs", "weight_decay"}
    said |= {"model", "image_size"} if mode in ("pretrain", "supervised") else set()
    said |= {"temperature"} if mode in ("pretrain", "distill") else set()
    said |= {"augment"} if mode != "pretrain" else set()
    if mode == "pretrain" and "dataset" in values:  # photos are left the paper's colors
        said |= {"color_strength", "blur_probability"}
    assert said <= set(values)


@pytest.mark.parametrize("name", [name for name, (mode, _) in recipes.RECIPES.items() if mode != "pretrain"])
def test_a_recipe_of_a_later_stage_names_no_run(name):
    assert not {"init", "teacher", "model_dir"} & set(recipes.RECIPES[name][1])


@pytest.mark.parametrize(
    ("name", "images", "peak", "steps", "warmup"),
    [
        # 250,228 steps: the step in the names of the published checkpoints.
        ("imagenet_pretrain", IMAGENET, 6.4, 250_228, 12_511),
        ("imagenet_pretrain_100", IMAGENET, 4.8, 31_279, 3_127),
        ("imagenet_pretrain_v1", IMAGENET, 4.8, 312_785, 3_127),
        ("cifar10_pretrain", CIFAR10, 2.0, 97_657, 976),
        # As in the names of the published fine-tuned and supervised checkpoints.
        ("finetune_1pct", ONE_PERCENT, 0.16, 751, 0),
        ("finetune_10pct", TEN_PERCENT, 0.16, 3754, 0),
        ("finetune_100pct", IMAGENET, 0.16, 37_535, 0),
        ("supervised", IMAGENET, 6.4, 28_151, 1563),
        ("linear_eval", IMAGENET, 1.6, 28_151, 0),
        ("distill_self", IMAGENET, 6.4, 125_114, 6255),
        ("distill_small", IMAGENET, 6.4, 125_114, 6255),
        ("cifar10_linear_eval", CIFAR10, 0.2, 9766, 0),
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


def test_the_papers_fine_tuning_starts_in_the_head_where_labels_are_few():
    layers = [config_of(f"finetune_{share}").head_layer for share in ("1pct", "10pct", "100pct")]
    assert layers == ["1", "1", "0"]
    assert {config_of(f"finetune_{share}").weight_decay for share in ("1pct", "10pct", "100pct")} == {0.0}


def test_the_papers_temperatures_of_distillation():
    assert (config_of("distill_self").temperature, config_of("distill_small").temperature) == (0.1, 1.0)
    assert config_of("distill_self").model is None  # the teacher's


def test_the_papers_baselines_of_few_labels_train_as_long_as_that_of_all():
    steps = {
        step_arithmetic.total_steps(images, config.batch_size, config.epochs)
        for images, config in (
            (ONE_PERCENT, config_of("supervised_1pct")),
            (TEN_PERCENT, config_of("supervised_10pct")),
        )
    }
    assert all(abs(count - 28_151) < 20 for count in steps)
    for name in ("supervised_1pct", "supervised_10pct"):
        assert config_of(name).label_smoothing > 0
        assert "autoaugment" in config_of(name).augmentations
    assert "autoaugment" not in config_of("supervised").augmentations


def test_the_second_studys_students_train_on_a_frozen_base():
    config = config_of("distill_backbone")
    assert (config.freeze_backbone, config.learning_rate_scaling, config.temperature) == (True, "none", 1.0)
    assert (config.epochs, config.learning_rate, config.momentum, config.weight_decay) == (
        100,
        0.01,
        0.9,
        1e-4,
    )


def test_the_first_papers_imagenet_recipe():
    config = config_of("imagenet_pretrain_v1")
    assert (config.weight_decay, config.proj_layers, config.brightness_mode) == (1e-6, 2, "add")


def test_the_releases_cifar10_recipe():
    config = config_of("cifar10_pretrain")
    said = (config.temperature, config.color_strength, config.blur_probability, config.image_size)
    assert said == (0.5, 0.5, 0.0, 32)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("imagenet_pretrain", set()),
        ("finetune_1pct", {"head_layer"}),  # 1, where the head has that many
        ("linear_eval", set()),
        ("distill_self", {"temperature"}),  # by whether the student is the teacher's network
        ("supervised", set()),
    ],
)
def test_defaults_are_the_papers_imagenet_recipe(name, chosen):
    mode, values = recipes.RECIPES[name]
    values = {key: value for key, value in values.items() if key not in {"dataset", *chosen}}
    default = config_class(mode)()
    assert {key: getattr(default, key) for key in values} == values
    assert all(getattr(default, key) is None for key in chosen)


def test_no_recipe_is_an_empty_one():
    assert recipes.recipe(None, "pretrain") == {}


def test_a_recipe_handed_out_may_be_changed():
    recipes.recipe("digits_demo", "pretrain")["epochs"] = 1
    assert recipes.recipe("digits_demo", "pretrain")["epochs"] != 1


def test_an_unknown_recipe_is_refused():
    with pytest.raises(InputError, match="unknown --recipe=digits_dem: did you mean digits_demo"):
        recipes.recipe("digits_dem", "pretrain")


def test_a_recipe_of_another_mode_is_refused(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "flowers", ("finetune", {}))
    with pytest.raises(
        InputError, match="--recipe=flowers belongs to --mode=finetune, not to --mode=pretrain"
    ):
        recipes.recipe("flowers", "pretrain")
