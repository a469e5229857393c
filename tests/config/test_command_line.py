"""Flags from a config class, help that fits the screen and needs no TensorFlow, exit codes."""

import dataclasses
import io
import os
import pathlib
import signal
import subprocess
import sys
from typing import Literal

import pytest

import train
from simclr_keras.config import command_line
from simclr_keras.config.modes import MODES
from simclr_keras.config.option import Settings, option
from simclr_keras.config.recipes import RECIPES
from simclr_keras.errors import InputError, Stopped, TrainingError

ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Example(Settings):
    count: int = option(3, "How many.", group="First", unit="pieces")
    share: float | None = option(None, "How much.", group="First", above=0)
    kind: str = option("a", "Which.", group="Second", choices=("a", "b"))
    layer: int | Literal["auto"] = option(1, "Layer.", group="Second", default_words="the first")
    loud: bool = option(False, "Whether.", group="Second")


def read(*argv):
    return command_line.read(Example, ["program", *argv])


def test_values_of_flags():
    assert read() == Example()
    config = read("--count=4", "--share", "0.5", "-kind=b", "--loud", "--layer=2")
    assert config == Example(4, 0.5, "b", 2, True)
    assert [type(value) for value in dataclasses.astuple(config)] == [int, float, str, int, bool]
    assert read("--layer=auto").layer == "auto"
    assert read("--count=4", "--count=-5").count == -5  # the last one wins
    for word, value in (
        ("--noloud", False),
        ("--loud=false", False),
        ("--loud=true", True),
        ("--loud=0", False),
    ):
        assert read(word).loud is value


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--count=4.5"], "--count=4.5: give a whole number, such as 10."),
        (["--share=1,5"], "--share=1,5: give a number, such as 0.5 or 1e-4."),
        (["--share=-1"], "--share=-1.0 is out of range: it must be above 0."),
        (["--loud=maybe"], "--loud=maybe: give true or false."),
        (["--layer=top"], "--layer=top: give a whole number, such as 10 or auto."),
        (["--cuont=4"], "unknown flag --cuont: did you mean --count?"),
        (["--verbosity=4"], "unknown flag --verbosity: --help lists all flags."),
        (["--count"], "--count has no value: write --count=value."),
        (["--count", "--layer=1"], "--count has no value: write --count=value."),
        (["--loud", "false"], "unexpected word 'false': every setting is a flag, --name=value."),
        (["--flagfile=missing"], "missing"),
    ],
)
def test_refused_flags(argv, message):
    with pytest.raises(InputError) as refusal:
        read(*argv)
    assert message in str(refusal.value)


def test_words_that_are_no_flags():
    argv = ["program", "a.jpg", "--loud", "b", "--count=2"]
    assert command_line.read_with_words(Example, argv, "no file") == (
        Example(count=2, loud=True),
        ["a.jpg", "b"],
    )
    with pytest.raises(InputError, match="no file"):
        command_line.read_with_words(Example, ["program", "--loud"], "no file")


def test_help_of_one_config():
    text = command_line.help_text("Does it.", Example)
    assert text.splitlines() == [
        "Does it.",
        "",
        "First:",
        "  --count                     How many. Default: 3 pieces.",
        "  --share                     How much.",
        "",
        "Second:",
        "  --kind                      Which. Choices: a, b. Default: a.",
        "  --layer                     Layer. Default: the first.",
        "  --[no]loud                  Whether. Default: false.",
        "",
        "Settings file:",
        "  --config                    File of settings, a line NAME: VALUE each, as --save_config writes it.",
        "                              A flag overrides it.",
        "  --save_config               Write the settings to a new file for --config, and do nothing else.",
    ]


def test_help_of_a_long_flag():
    cls = dataclasses.make_dataclass(
        "Long", [("x" * 40, str, option("", "Words."))], bases=(Settings,), frozen=True
    )
    lines = command_line.help_text("", cls).splitlines()
    assert lines[3:5] == ["  --" + "x" * 40, " " * 30 + "Words."]


def test_help_of_several_stages():
    def field(default):
        count = option(default, "How many.", unit="pieces", default_words=None if default else "all")
        return dataclasses.fields(dataclasses.make_dataclass("Other", [("count", int | None, count)]))[0]

    for defaults, text in (
        ({"one": 3, "two": 3, "three": 3}, "How many. Default: 3 pieces."),
        ({"one": 3, "two": 3}, "How many. Stages: one, two. Default: 3 pieces."),
        ({"one": 3, "two": 4, "three": 3}, "How many. Default in pieces: one 3; two 4; three 3."),
        ({"one": 3, "two": None, "three": 3}, "How many. Default in pieces: one 3; two all; three 3."),
    ):
        assert command_line.describe({stage: field(value) for stage, value in defaults.items()}, 3) == text


def entries(mode=None):
    """[(flag, heading)] of a help text of train.py."""
    heading, flags = None, []
    for line in train.help_text(mode).splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line.rstrip(":")
        elif line.startswith("  --"):
            flags.append((line.split()[0].replace("[no]", "").removeprefix("--"), heading))
    return flags


def test_help_of_train():
    for mode in (None, *MODES):
        classes = [MODES[mode]] if mode else MODES.values()
        fields = {field.name: field.metadata["group"] for cls in classes for field in dataclasses.fields(cls)}
        recipes = [name for name, recipe in RECIPES.items() if mode in (None, recipe.mode)]
        first = ["recipe"] if recipes else []
        first += [] if mode else ["mode"]
        fields |= dict.fromkeys(command_line.FILE_FLAGS, "Settings file")
        assert sorted(entries(mode)) == sorted([*((name, "Choose") for name in first), *fields.items()])
        text = train.help_text(mode)
        assert max(map(len, text.splitlines())) <= 100
        named = " ".join(text.split()).partition("Named settings. Choices: ")[2].partition(".")[0]
        assert [name for name in named.split(", ") if name] == recipes


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (["--help", "--mode=knn"], "knn"),
        (["--mode", "knn", "--help"], "knn"),
        (["--help", "--mode=knm"], None),
        (["--nonsense", "-h"], None),
        (["--nonsense", "--helpfull"], None),
    ],
)
def test_help_wins(words, mode, capsys):
    assert command_line.run(train.main, ["train.py", *words], "train.py") == 0
    assert capsys.readouterr() == (train.help_text(mode) + "\n", "")


@pytest.mark.parametrize(
    ("argv", "imported"),
    [(["--help"], []), (["--mode=pretrain", "--dataset=digits", "--model=r19_1x_sk0"], ["absl"])],
    ids=["help", "refusal"],
)
def test_imports_before_training(argv, imported):
    code = (
        "import sys, train\n"
        "from simclr_keras.config import command_line\n"
        f"command_line.run(train.main, {['train.py', *argv]!r}, 'train.py')\n"
        "print([name for name in ('tensorflow', 'keras', 'numpy', 'absl') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == str(imported)


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (None, 0, ""),
        (InputError("first\n  second"), 2, "program: error: first second\n"),
        (TrainingError("loss"), 1, "program: error: loss\n"),
        (KeyboardInterrupt(), 130, "program: interrupted; rerun the same command to continue.\n"),
        (Stopped("step 7 is saved", signal.SIGINT), 130, "program: step 7 is saved\n"),
        (Stopped("step 7 is saved", signal.SIGTERM), 143, "program: step 7 is saved\n"),
    ],
)
def test_exit_codes(outcome, code, message, capsys):
    def main(argv):
        if outcome is not None:
            raise outcome

    assert command_line.run(main, ["program"], "program") == code
    assert capsys.readouterr().err == message


def test_exit_of_a_bug_keeps_its_traceback():
    def main(argv):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        command_line.run(main, ["program"], "program")


def test_terminal_without_utf8(monkeypatch):
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, "ascii"))
    assert command_line.run(lambda argv: print("caf\u00e9 \u732b"), ["program"], "program") == 0
    sys.stdout.flush()
    assert screen.getvalue() == b"caf\\xe9 \\u732b\n"


def test_plot_backend_of_the_user_is_ignored(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://of_a_notebook")
    backends = []
    command_line.run(lambda argv: backends.append(os.environ["MPLBACKEND"]), ["program"], "program")
    assert backends == ["agg"]
