"""Every setting of every stage is a flag with help; a flag overrides the recipe, the recipe the default."""

import dataclasses
import importlib.util

import pytest

import train
from simclr_keras.config import recipes
from simclr_keras.config.modes import MODES, config_class, make_config
from simclr_keras.config.option import check, field_kind
from simclr_keras.errors import InputError

# What a stage needs, and what a setting needs beside it.
NEEDED = {
    "pretrain": {"dataset": "digits"},
    "finetune": {"init": "runs/earlier"},
    "distill": {"teacher": "runs/earlier"},
    "supervised": {"dataset": "digits"},
    "linear_eval": {"init": "runs/earlier"},
    "knn": {"init": "runs/earlier"},
    "eval": {"init": "runs/earlier"},
}
HEADINGS = ("Choose", "Run", "Chain", "Data", "Model", "Training", "Views", "Evaluation")
BESIDE = {name: {"model": "keras:VGG16"} for name in ("backbone_weights", "freeze_backbone", "dense_layers")}
BESIDE |= {name: {"memory": "queue"} for name in ("ema_decay", "memory_size")}
BESIDE |= {name: {"init": "runs/earlier"} for name in ("use_ema", "init_checkpoint", "init_head")}
BESIDE["freeze_batch_norm"] = {"model": "keras:VGG16", "backbone_weights": "imagenet"}
EXAMPLES = {"memory_size": 8192, "model": "r18_1x_sk0", "augment": "crop,color", "dense_layers": "64,32"}
FIELDS = [(mode, field) for mode, cls in MODES.items() for field in dataclasses.fields(cls)]


def read(mode, values):
    return train.read_flags(["train.py", f"--mode={mode}", *(f"--{k}={v}" for k, v in values.items())])


def test_a_flag_drops_what_excludes_it_from_recipe_and_file(tmp_path):
    """So `any flag beside a recipe wins`, also where the recipe has the other one of two."""
    config = read("finetune", {"init": "a", "recipe": "cifar10_finetune_1pct", "labels_per_class": 20})
    assert (config.label_fraction, config.labels_per_class) == (None, 20)
    (tmp_path / "few.yaml").write_text("label_fraction: 0.1\n")
    config = read("finetune", {"init": "a", "config": tmp_path / "few.yaml", "labels_per_class": 20})
    assert (config.label_fraction, config.labels_per_class) == (None, 20)
    (tmp_path / "few.yaml").write_text("labels: a.csv\ndataset: folder:b\n")
    config = read("pretrain", {"config": tmp_path / "few.yaml", "unlabeled": "false"})
    assert config.labels == "a.csv"
    config = read("distill", {"teacher": "a", "recipe": "distill_backbone", "model": "r18_1x_sk0"})
    assert (config.model, config.backbone_weights, config.dense_layers) == ("r18_1x_sk0", None, None)
    with pytest.raises(InputError, match="exclude each other"):
        read("finetune", {"init": "a", "label_fraction": 0.1, "labels_per_class": 20})


def test_every_field_is_documented():
    for mode, field in FIELDS:
        rules, where = field.metadata, (mode, field.name)
        assert rules["group"] in HEADINGS, where
        assert rules["help"].endswith("."), where
        assert rules["resume"] in ("fixed", "free", "up"), where
        if not rules["required"]:
            check(field, field.default)
        assert field.default is None or type(field.default) is field_kind(field).type, where


def test_fields_of_one_name_have_one_type_heading_and_rule():
    shared = {}
    for _, field in FIELDS:
        rules = (field_kind(field).type, field.metadata["group"], field.metadata["resume"])
        shared.setdefault(field.name, set()).add(rules)
    assert {name: rules for name, rules in shared.items() if len(rules) > 1} == {}


def another_value(field):
    """A valid value that is not the default."""
    kind = field_kind(field).type
    if field.name in EXAMPLES:
        candidates = [EXAMPLES[field.name]]
    elif kind is str:
        candidates = field.metadata["choices"] or ["x"]
    elif kind is bool:
        candidates = [not field.default]
    else:
        near = field.default or kind(field.metadata["at_least"] or 1)
        candidates = [near, near + 1] if kind is int else [near / 2, near * 2]
    for value in candidates:
        try:
            check(field, value)
        except InputError:
            continue
        if value != field.default:
            return value
    raise AssertionError(field.name)


def test_every_field_is_a_flag():
    for mode, field in FIELDS:
        beside = {
            k: v for k, v in BESIDE.get(field.name, {}).items() if k in MODES[mode].__dataclass_fields__
        }
        values = {**NEEDED[mode], **beside, field.name: another_value(field)}
        assert read(mode, values) == MODES[mode](**values), (mode, field.name)


@pytest.mark.parametrize("mode", MODES)
def test_mode_with_what_it_needs(mode):
    assert mode == MODES[mode].NAME
    assert importlib.util.find_spec(MODES[mode].MODULE) is not None
    assert read(mode, NEEDED[mode]) == MODES[mode](**NEEDED[mode])
    with pytest.raises(InputError, match=f"--{next(iter(NEEDED[mode]))} is missing: give"):
        make_config(mode, {}, {} if mode in ("pretrain", "supervised") else {"dataset": "digits"})


def test_mode_with_a_name_that_is_no_setting():
    with pytest.raises(
        InputError, match="--temprature does not belong to pretrain: did you mean temperature"
    ):
        make_config("pretrain", {"temprature": 1.0}, NEEDED["pretrain"])


def test_flags_override_recipes_and_recipes_override_defaults():
    default, recipe = config_class("pretrain")(), recipes.recipe("digits_demo", "pretrain")
    assert recipe["baselines"] != default.baselines
    values = {
        "recipe": "digits_demo",
        "temperature": 0.25,
        "hue": 0.3,
        "baselines": False,
        "flip_probability": 0.5,
    }
    config = read("pretrain", values)
    del values["recipe"]
    assert dataclasses.asdict(config) == {**dataclasses.asdict(default), **recipe, **values}


def test_head_layer_is_a_number_or_auto():
    for mode in ("finetune", "linear_eval", "knn"):
        assert read(mode, {**NEEDED[mode], "head_layer": 1}).head_layer == 1
    assert read("finetune", {**NEEDED["finetune"], "head_layer": "auto"}).head_layer == "auto"


def test_augment_by_stage():
    for mode, words in (("pretrain", "crop,flip,color,blur"), ("supervised", "crop,flip,color,autoaugment")):
        assert read(mode, {**NEEDED[mode], "augment": words}).augmentations == {*words.split(",")}
        assert read(mode, {**NEEDED[mode], "augment": "none"}).augmentations == set()
    assert read("pretrain", NEEDED["pretrain"]).augmentations == {"crop", "flip", "color", "blur"}
    for mode, words, message in (
        (
            "pretrain",
            "crop,autoaugment",
            "'autoaugment' is unknown or not for this stage: choose one of blur",
        ),
        ("supervised", "crop,blur", "'blur' is unknown or not for this stage"),
        ("supervised", "crop,none", "combines none with others"),
        ("supervised", "corp", "'corp' is unknown or not for this stage: did you mean crop"),
    ):
        with pytest.raises(InputError, match=message):
            read(mode, {**NEEDED[mode], "augment": words})


def test_warm_up_is_5_percent_of_the_epochs():
    for mode, epochs, expected in (
        ("pretrain", 800, 40),
        ("pretrain", 1, 0.05),
        ("distill", 400, 20),
        ("supervised", 60, 3),
        ("finetune", 60, 0),
        ("linear_eval", 90, 0),
    ):
        config = read(mode, {**NEEDED[mode], "epochs": epochs})
        assert config.warmup_length == pytest.approx(expected), mode
    assert read("pretrain", {**NEEDED["pretrain"], "epochs": 10, "warmup_epochs": 2}).warmup_length == 2


def test_settings_that_influence_results_are_fixed():
    # Else the rows of one metrics.csv could not be compared.
    fields = config_class("pretrain").__dataclass_fields__
    for name in ("knn_k", "knn_temperature", "knn_bank_size", "baselines", "precision", "warmup_epochs"):
        assert fields[name].metadata["resume"] == "fixed", name


def test_every_stage_knows_the_home_folder():
    for cls in MODES.values():
        assert not cls(model_dir="~/run").model_dir.startswith("~"), cls.NAME
