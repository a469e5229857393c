"""The named variants: every published record is held against the network it describes."""

import pytest

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import PUBLISHED, create_model, list_models, model_record, parse_name


def test_the_published_models_come_first():
    names = list_models()
    assert names[:13] == list(PUBLISHED)
    assert names[:2] == ["r50_1x_sk0", "r50_1x_sk1"]
    assert names[12] == "r152_3x_sk1"
    assert len(set(names)) == len(names) == 36
    assert all(parse_name(name) for name in names)


def test_a_record_says_what_is_known():
    record = model_record("r152_3x_sk1")
    figures = (74.9, 80.1, 83.1, 79.8, 80.5)
    assert (record.finetune_1pct, record.finetune_10pct, record.finetune_100pct) == figures[:3]
    assert (record.linear, record.supervised) == figures[3:]
    assert (record.image_size, record.pixel_range) == (224, (0.0, 1.0))
    assert record.license == "Apache-2.0"
    assert model_record("r18_0.25x_sk0").linear is None


def test_wider_and_deeper_published_models_are_better():
    """Guards the table against a slip of a row: each figure grows with SK, and with depth at equal width."""
    for name, record in PUBLISHED.items():
        for other in (name.replace("sk0", "sk1"), name.replace("r50", "r101"), name.replace("r101", "r152")):
            if other != name and other in PUBLISHED:
                better = PUBLISHED[other]
                assert better.linear > record.linear
                assert better.finetune_1pct > record.finetune_1pct
                assert better.params > record.params


def test_names_are_read():
    for name, parts in [
        ("r50_1x_sk0", (50, 1.0, False)),
        ("r18_0.25x_sk1", (18, 0.25, True)),
        ("r200_1.5x_sk0", (200, 1.5, False)),
    ]:
        assert parse_name(name) == parts


def test_an_unknown_name_gets_the_nearest_one():
    for name, suggestion in [
        ("r50_1x_sk2", "r50_1x_sk"),
        ("resnet50_1x_sk1", "r50_1x_sk1"),
        ("r51_1x_sk0", "r50_1x_sk0|r101_1x_sk0|r152_1x_sk0"),
        ("r50_0x_sk0", "r50_"),
        ("r50_-1x_sk0", "r50_1x_sk0"),
        ("r50", "r50_"),
        ("", "r"),
        (None, "r"),
    ]:
        with pytest.raises(InputError, match=f"Did you mean ({suggestion}).*name={name!r}") as caught:
            create_model(name)
        assert "\n" not in str(caught.value)


def test_bad_arguments_are_named():
    for arguments, message in [
        ({"image_size": 7}, "at least 8 pixels.* image_size=7"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"num_classes": -3}, "num_classes=-3"),
        ({"se_ratio": -0.1}, "se_ratio=-0.1"),
        ({"proj_layers": -1}, "proj_layers=-1"),
        ({"dtype": "float17"}, "dtype='float17'"),
    ]:
        with pytest.raises(InputError, match=message):
            create_model("r18_0.25x_sk0", **arguments)
