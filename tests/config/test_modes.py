"""Every setting is a flag with help; values are checked; a run directory keeps what shapes its figures."""

import dataclasses
import importlib.util

import pytest

import train
from simclr_keras.config import recipes
from simclr_keras.config.modes import MODES, config_class, make_config
from simclr_keras.config.option import check, differences, field_type, nearest, option
from simclr_keras.errors import InputError

GIVEN = {"dataset": "digits", "warmup_epochs": 0.0}
# What a mode cannot do without, and what a setting needs beside it.
NEEDED = {
    "pretrain": {"dataset": "digits"},
    "finetune": {"init": "runs/earlier"},
    "distill": {"teacher": "runs/earlier"},
    "supervised": {"dataset": "digits"},
    "linear_eval": {"init": "runs/earlier"},
    "knn": {"init": "runs/earlier"},
    "eval": {"init": "runs/earlier"},
}
GROUPS = ("Choose", "Run", "Chain", "Data", "Model", "Training", "Views", "Evaluation")
BESIDE = {name: {"model": "keras:VGG16"} for name in ("backbone_weights", "freeze_backbone", "dense_layers")}
EXAMPLES = {"model": "r18_1x_sk0", "head_layer": "2", "augment": "crop,color", "dense_layers": "64,32"}


def distinct_options():
    """[(mode, field)], every field of every mode, those that several share with all their rules once."""
    seen, found = [], []
    for mode, cls in MODES.items():
        for field in dataclasses.fields(cls):
            what = field.name, field.type, field.default, dict(field.metadata)
            if what not in seen:
                seen.append(what)
                found.append((mode, field))
    return found


OPTIONS = [pytest.param(mode, field, id=f"{mode}-{field.name}") for mode, field in distinct_options()]
FIELDS = [pytest.param(field, id=f"{mode}-{field.name}") for mode, field in distinct_options()]


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_has_a_group_a_sentence_of_help_and_a_rule_for_resuming(field):
    rules = field.metadata
    assert rules["group"] in GROUPS
    assert rules["help"][0].isupper() or rules["choices"] or rules["help"].startswith("digits")
    assert rules["help"].endswith(".")
    assert rules["resume"] in ("fixed", "free", "up")
    assert field_type(field)[0] in (int, float, bool, str)


@pytest.mark.parametrize("field", FIELDS)
def test_a_default_keeps_its_own_rules(field):
    check(field, field.default)
    kind, optional = field_type(field)
    assert type(field.default) is kind or (optional and field.default is None)


def another_value(field):
    """A valid value that is not the default."""
    kind, _ = field_type(field)
    if kind is str:
        candidates = field.metadata["choices"] or [EXAMPLES.get(field.name, "x")]
    elif kind is bool:
        candidates = [not field.default]
    else:
        near = field.default or kind(field.metadata["at_least"] or 1)
        candidates = [near, near + 1] if kind is int else [near / 2, near * 2]
    return next(value for value in candidates if value != field.default and is_valid(field, value))


def is_valid(field, value):
    try:
        check(field, value)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(("mode", "field"), OPTIONS)
def test_a_field_is_a_flag(mode, field):
    value = another_value(field)
    assert value != field.default
    given = {**NEEDED[mode], **BESIDE.get(field.name, {}), field.name: value}
    config = train.read_flags(
        ["train.py", *(f"--{name}={text}" for name, text in {"mode": mode, **given}.items())]
    )
    assert type(config) is MODES[mode]
    assert dataclasses.asdict(config) == {**dataclasses.asdict(MODES[mode]()), **given}


def test_every_mode_names_itself_and_a_module_that_is_there():
    for mode, cls in MODES.items():
        assert mode == cls.NAME
        assert importlib.util.find_spec(cls.MODULE) is not None


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_with_what_it_needs_is_accepted_and_without_it_refused(mode):
    assert train.read_flags(
        ["train.py", f"--mode={mode}", *(f"--{name}={text}" for name, text in NEEDED[mode].items())]
    ) == MODES[mode](**NEEDED[mode])
    with pytest.raises(InputError, match=f"--{next(iter(NEEDED[mode]))} is missing"):
        make_config(mode, {}, {} if mode in ("pretrain", "supervised") else {"dataset": "digits"})


def test_a_flag_has_the_type_that_its_own_mode_gives_it():
    def head_layer(mode):
        return train.read_flags(
            ["train.py", f"--mode={mode}", "--init=runs/earlier", "--head_layer=1"]
        ).head_layer

    assert head_layer("finetune") == "1"
    assert head_layer("linear_eval") == head_layer("knn") == 1


def test_the_fields_of_one_name_differ_only_where_a_mode_needs_it():
    """So that a flag of one name means one thing, and may be read before its mode is known."""
    types = {}
    for _, field in distinct_options():
        types.setdefault(field.name, set()).add(field_type(field)[0])
    assert {name for name, found in types.items() if len(found) > 1} == {"head_layer"}


def test_a_flag_wins_over_the_recipe_and_the_recipe_over_the_default():
    default = config_class("pretrain")()
    recipe = recipes.recipe("cifar10_small", "pretrain")
    assert recipe["batch_size"] != default.batch_size
    assert recipe["temperature"] != default.temperature
    config = train.read_flags(
        ["train.py", "--mode=pretrain", "--recipe=cifar10_small", "--temperature=0.25", "--hue=0.3"]
    )
    assert config.temperature == 0.25
    assert config.hue == 0.3
    assert config.batch_size == recipe["batch_size"]
    assert config.proj_layers == default.proj_layers
    said = {**dataclasses.asdict(default), **recipe, "temperature": 0.25, "hue": 0.3}
    assert dataclasses.asdict(config) == said


def test_a_flag_may_give_back_the_default_a_recipe_changed():
    config = train.read_flags(
        ["train.py", "--mode=pretrain", "--recipe=digits_demo", "--nobaselines", "--flip_probability=0.5"]
    )
    assert config.baselines is False
    assert config.flip_probability == 0.5


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", "3", "whole number"),
        ("epochs", 2.5, "whole number"),
        ("epochs", True, "whole number"),
        ("learning_rate", "0.1", "a number"),
        ("baselines", 1, "true or false"),
        ("model", 18, "text"),
        ("epochs", None, "must have a value"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, words):
    with pytest.raises(InputError, match=rf"--{name}.*{words}"):
        make_config("pretrain", {}, {**GIVEN, name: value})


def test_a_name_that_is_no_setting_is_refused():
    with pytest.raises(
        InputError, match="--temprature does not belong to --mode=pretrain: did you mean temperature"
    ):
        make_config("pretrain", {"temprature": 1.0}, GIVEN)


def test_whole_numbers_stand_for_floats():
    assert make_config("pretrain", {}, {**GIVEN, "warmup_epochs": 2}).warmup_epochs == 2


def test_bounds_may_be_inclusive_or_exclusive():
    @dataclasses.dataclass
    class Settings:
        closed: float = option(0.5, "Help.", group="Run", at_least=0, at_most=1)
        open: float = option(0.5, "Help.", group="Run", above=0, below=1)

    closed, open_ = dataclasses.fields(Settings)
    for value in (0, 1):
        check(closed, value)
        with pytest.raises(InputError, match="above 0 and below 1"):
            check(open_, value)
    for value in (-0.001, 1.001):
        with pytest.raises(InputError, match="at least 0 and at most 1"):
            check(closed, value)


@pytest.mark.parametrize(
    ("word", "hint"), [("momentun", "did you mean momentum?"), ("zzz", "choose one of a, momentum.")]
)
def test_the_nearest_choice_is_suggested_else_all(word, hint):
    assert nearest(word, ["momentum", "a"]) == hint


class TestResuming:
    def old(self, **settings):
        return dataclasses.asdict(make_config("pretrain", GIVEN, settings))

    def new(self, **settings):
        return make_config("pretrain", GIVEN, settings)

    def test_the_same_settings_continue(self):
        assert differences(self.old(), self.new()) == []

    def test_fixed_settings_do_not_change(self):
        found = differences(self.old(), self.new(seed=4, temperature=0.5))
        assert found == [("seed", 0, 4, "fixed"), ("temperature", 0.1, 0.5, "fixed")]

    def test_free_settings_may_change(self):
        free = {
            "model_dir": "elsewhere",
            "keep_checkpoints": 7,
            "checkpoint_every_steps": 5,
            "steps_per_execution": 3,
        }
        assert differences(self.old(), self.new(**free)) == []

    def test_epochs_may_only_grow(self):
        assert differences(self.old(epochs=3), self.new(epochs=4)) == []
        assert differences(self.old(epochs=3), self.new(epochs=2)) == [("epochs", 3, 2, "up")]

    def test_a_run_older_than_a_setting_continues(self):
        old = self.old()
        del old["knn_bank_size"]
        assert differences(old, self.new()) == []

    @pytest.mark.parametrize("name", ["knn_k", "knn_temperature", "knn_bank_size", "baselines", "precision"])
    def test_what_shapes_the_figures_is_fixed(self, name):
        # Else the rows of one metrics.csv, or a random encoder and a trained one, could not be compared.
        assert config_class("pretrain").__dataclass_fields__[name].metadata["resume"] == "fixed"
