"""Records of a run's JSON files: read as written, also those of earlier versions, and refused by name."""

import json

import pytest

from simclr_keras.config.modes import MODES
from simclr_keras.errors import InputError
from simclr_keras.runs.records import ConfigRecord, RecordError, ResultRecord, SplitRecord
from simclr_keras.runs.run_files import RunFiles

AS_RELEASED = {"eval_antialias": False}
CHOICES = {"class_weights": "none", "best_metric": "top1"}  # of classifiers, at their defaults
NOT_FROZEN = {"freeze_batch_norm": False}
ENTRY = {"run": "runs/p", "mode": "pretrain", "dataset": "digits", "step": 7, "checkpoint": "last"}


@pytest.mark.parametrize(
    "record",
    [
        ConfigRecord("knn", {"seed": 3, "init": None, "use_ema": True, **AS_RELEASED}),
        ConfigRecord(
            "distill",
            {"use_ema": False, "global_bn": False, **NOT_FROZEN, "init": None, **CHOICES, **AS_RELEASED},
            [ENTRY],
            "digits",
            ["a", "b"],
            [1],
        ),
        SplitRecord(),
        SplitRecord(["a"], 4, 1, "f", "e", 4, ["x.png"], ["y.png"]),
        ResultRecord(),
        ResultRecord(
            finished=True, imported=True, top1=0.5, ancestors=[ENTRY], figures={"per_class": {"a": 1}}
        ),
    ],
)
def test_record_is_read_as_written(record):
    assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


def test_settings_that_were_added_since_are_filled_in():
    added = {"memory": "none", "ema_decay": 0.999, "memory_size": 65536, "microbatch_size": 0}
    added |= {"global_bn": True, "init": None, "use_ema": False, **NOT_FROZEN}
    assert ConfigRecord.from_json({"mode": "pretrain"}).settings == added | AS_RELEASED
    assert ConfigRecord.from_json({"mode": "knn"}).settings == {"use_ema": False, "init": None, **AS_RELEASED}
    assert ConfigRecord.from_json({"mode": "a_later_one"}).settings == {}
    for mode, settings in (
        ("pretrain", added),
        ("finetune", {"use_ema": False, "global_bn": True, "init": None, **NOT_FROZEN, **CHOICES}),
    ):
        fields = MODES[mode].__dataclass_fields__
        assert settings == {name: fields[name].default for name in settings}


def test_earlier_names_are_read():
    old = {
        "mode": "linear_eval",
        "linear_eval": "fast",
        "steps_per_call": 4,
        "eval_every": 2,
        "checkpoint_steps": 5,
        "checkpoint_minutes": 6.0,
        "imported": True,
    }
    assert ConfigRecord.from_json(old).settings == {
        "protocol": "fast",
        "steps_per_execution": 4,
        "eval_every_epochs": 2,
        "checkpoint_every_steps": 5,
        "checkpoint_every_minutes": 6.0,
        "use_ema": False,
        "init": None,
        **CHOICES,
        **AS_RELEASED,
    }
    old = {"mode": "distill", "distill_on": "labelled", "labelled_batch_size": 8}
    assert ConfigRecord.from_json(old).settings == {
        "distill_on": "labeled",
        "labeled_batch_size": 8,
        "use_ema": False,
        "global_bn": True,
        **NOT_FROZEN,
        "init": None,
        "best_metric": "top1",
        **AS_RELEASED,
    }
    assert ConfigRecord.from_json({"mode": "pretrain", "knn_bank": 9}).settings["knn_bank_size"] == 9
    layers = [
        ConfigRecord.from_json({"mode": "finetune", "train_after_block": 1, "head_layer": layer}).settings
        for layer in ("1", 1)
    ]
    assert layers[0] == layers[1]
    assert layers[0]["freeze_through"] == 1
    assert SplitRecord.from_json({"labelled": ["a"]}).labeled == ["a"]
    assert ResultRecord.from_json({"licence": "Apache-2.0"}).license == "Apache-2.0"


@pytest.mark.parametrize(("crop", "augment"), [(True, "crop,flip,color,blur"), (False, "flip,color,blur")])
def test_earlier_random_crop_is_an_augmentation(crop, augment):
    settings = {"mode": "pretrain", "dataset": "digits", "random_crop": crop}
    assert ConfigRecord.from_json(settings).config("config.json").augment == augment


@pytest.mark.parametrize(
    ("record", "values", "words"),
    [
        *(
            (kind, {name: value}, f"{name} is ")
            for kind, name in (
                (SplitRecord, "class_names"),
                (SplitRecord, "held_out"),
                (SplitRecord, "labeled"),
                (ResultRecord, "ancestors"),
            )
            for value in ("a", {"a": 1}, [1], ["a", None], 7, False)
        ),
        (ConfigRecord, {}, "it names no mode"),
        (ConfigRecord, {"mode": "knn", "extended_from": ["2"]}, "extended_from is "),
        (ResultRecord, {"ancestors": [{**ENTRY, "run": 7}]}, "run of an ancestor is 7"),
        (ResultRecord, {"ancestors": [{**ENTRY, "labels_used": "all"}]}, "labels_used is 'all'"),
        (ResultRecord, {"published_top1": "high"}, "published_top1 is 'high'"),
    ],
)
def test_value_of_another_kind_is_named(record, values, words):
    with pytest.raises(RecordError, match=words):
        record.from_json(values)


def test_damage_is_one_line_with_the_flag_that_gave_the_path(tmp_path):
    (tmp_path / "split.json").write_text('{"class_names": 7}')
    words = rf"^{tmp_path}/split.json is damaged \(class_names is 7\); restore it, or give another --init\.$"
    with pytest.raises(InputError, match=words):
        RunFiles(tmp_path, "init").read_split()
