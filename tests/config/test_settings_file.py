"""Files of settings: what they may contain, what overrides what, and the one line if one is wrong."""

import json

import pytest

import train
from simclr_keras.config import command_line, settings_file
from simclr_keras.errors import InputError
from tests.config.test_command_line import Example, read

NAMES = ("count", "share", "kind", "layer", "loud", "path")


@pytest.fixture
def file(tmp_path):
    def write(text, name="my.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_lines(file):
    text = """\ufeff---
# a comment
count: 4   # how many
share: 1e-4
kind: "a # no comment"

layer:
loud: true
path: folder:my photos/#1
"""
    assert settings_file.read(file(text), NAMES) == {
        "count": "4",
        "share": "1e-4",
        "kind": "a # no comment",
        "loud": "true",
        "path": "folder:my photos/#1",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cuont: 4", "my.yaml: cuont is unknown: did you mean count?"),
        ("zzz: 4", "my.yaml: zzz is unknown: --help lists all settings."),
        ("count: 4\ncount: 5", "line 2: count appears twice; delete one"),
        ("count=4", "line 1: 'count=4' is not NAME: VALUE; write a setting on each line"),
        ("model:\n  count: 4", "model is unknown"),
        ("- count", "is not NAME: VALUE"),
        (
            "layer:\n  count: 4",
            "line 2: 'count: 4' is not NAME: VALUE; write a setting on each line without indentation",
        ),
        ('path: "a', "is not NAME: VALUE"),
        ("path: 'a' b", "is not NAME: VALUE"),
        ("count: four", "--count=four: give a whole number"),
        ("share: -1", "--share=-1.0 is out of range"),
    ],
)
def test_refused_lines(file, text, words):
    with pytest.raises(InputError) as refusal:
        read(f"--config={file(text)}")
    assert words in str(refusal.value)


def test_refused_files(file, tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name, words in (("missing.yaml", "No such file"), ("binary.yaml", "not text")):
        with pytest.raises(InputError, match=rf"--config=.*{name} is unreadable \({words}"):
            read(f"--config={tmp_path / name}")


def test_flag_overrides_file(file):
    path = file("count: 4\nloud: true\n")
    assert read(f"--config={path}") == Example(count=4, loud=True)
    assert read(f"--config={path}", "--count=5", "--noloud") == Example(count=5)


def test_saved_settings_are_read_again(tmp_path, capsys):
    path = str(tmp_path / "my.yaml")
    flags = ["--count=4", "--kind=b", "--share=0.25"]
    main = lambda argv: command_line.read(Example, argv)  # noqa: E731
    assert command_line.run(main, ["program", *flags, f"--save_config={path}"], "program") == 0
    assert capsys.readouterr().out == f"settings {path}, read by --config={path}\n"
    assert read(f"--config={path}") == read(*flags)
    assert "# layer: 1\n# loud: false\n" in (tmp_path / "my.yaml").read_text()
    with pytest.raises(InputError, match=r"my\.yaml exists; give another name"):
        read(*flags, f"--save_config={path}")
    for name, words in (
        ("x.json", "must end in .yaml"),
        ("", "must end in"),
        ("no/x.yaml", "no does not exist"),
    ):
        with pytest.raises(InputError, match=words):
            read(f"--save_config={name and tmp_path / name}")


@pytest.mark.parametrize(
    "text",
    ["plain", "a b", "#1", "a #1", " a", "null", "~", "", "'a'", 'say "a"', "a: b", """it's "a" #1""", "'"],
)
def test_any_text_is_read_as_written(tmp_path, text):
    path = str(tmp_path / "my.yaml")
    settings_file.write(path, "program", {"path": text}, Example())
    assert settings_file.read(path, NAMES) == {"path": text}


def stage(*words):
    return train.read_flags(["train.py", *words])


def test_file_of_a_stage_overrides_its_recipe(file):
    path = file("mode: pretrain\nrecipe: digits_demo\nepochs: 7\nseed: 3\n")
    config = stage(f"--config={path}", "--seed=4")
    assert config == stage("--mode=pretrain", "--recipe=digits_demo", "--epochs=7", "--seed=4")
    assert stage(f"--config={path}", "--recipe=cifar10_small").model_dir is None


def test_file_of_another_stage_is_refused(file):
    path = file("mode: pretrain\ndataset: digits\n")
    with pytest.raises(
        InputError, match=r"my\.yaml is for pretrain, not for supervised; give another file or stage"
    ):
        stage("--mode=supervised", f"--config={path}")


def test_config_of_a_run_starts_another_with_its_settings(file):
    old = stage(
        "--mode=pretrain", "--recipe=digits_demo", "--model_dir=runs/a", "--learning_rate=0.123456789"
    )
    values = {"mode": "pretrain", **vars(old), "ancestors": [], "class_names": ["a"]}
    path = file(json.dumps(values), "config.json")
    assert stage(f"--config={path}", "--model_dir=runs/a") == old
    assert stage(f"--config={path}").model_dir is None
    for content in ("[]", "{", '{"mode": 3}'):
        with pytest.raises(InputError, match=r"is not the config\.json of a run"):
            stage(f"--config={file(content, 'config.json')}")
