"""Flags from a config, help that fits the screen and answers at once, exit codes."""

import dataclasses
import pathlib
import signal
import subprocess
import sys

import pytest
from absl import flags

import train
from simclr_keras.config import command_line
from simclr_keras.config.modes import MODES
from simclr_keras.config.option import field_type, option
from simclr_keras.config.recipes import RECIPES
from simclr_keras.errors import InputError, Stopped, TrainingError

ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass
class Settings:
    count: int = option(3, "How many.", group="First", unit="pieces")
    share: float | None = option(None, "How much.", group="First", above=0)
    kind: str = option("a", "Which.", group="Second", choices=("a", "b"))
    loud: bool = option(False, "Whether.", group="Second")


def read(*argv):
    values = flags.FlagValues()
    command_line.define_field_flags(values, dataclasses.fields(Settings), field_type)
    command_line.parse(values, ["program", *argv])
    return {name: values[name].value for name in ("count", "share", "kind", "loud")}


def test_flags_that_are_not_given_are_none():
    assert read() == {"count": None, "share": None, "kind": None, "loud": None}


def test_flags_have_the_types_of_their_fields():
    given = read("--count=4", "--share", "0.5", "-kind=b", "--loud")
    assert given == {"count": 4, "share": 0.5, "kind": "b", "loud": True}
    assert [type(value) for value in given.values()] == [int, float, str, bool]


@pytest.mark.parametrize(
    ("word", "value"),
    [("--noloud", False), ("--loud=false", False), ("--loud=true", True), ("--loud=0", False)],
)
def test_a_switch_has_an_off_form(word, value):
    assert read(word)["loud"] is value


def test_the_last_of_equal_flags_counts():
    assert read("--count=4", "--count=-5")["count"] == -5


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--count=4.5"], "flag --count=4.5: give a whole number, such as 10"),
        (["--share=1,5"], "flag --share=1,5: give a number, such as 0.5 or 1e-4"),
        (["--loud=maybe"], "flag --loud=maybe: give true or false"),
        (["--cuont=4"], "unknown flag --cuont: did you mean --count?"),
        (["--verbosity=4"], "unknown flag --verbosity: --help lists all flags."),
        (["--count"], "Missing value for flag --count: write --name=value."),
        (["--loud", "false"], "unexpected word 'false': every setting is a flag, --name=value."),
        (["--flagfile=missing"], "missing"),
    ],
)
def test_unreadable_flags_are_refused(argv, message):
    with pytest.raises(InputError) as refusal:
        read(*argv)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "flag", "text"),
    [
        ("count", "--count", "How many. [3 pieces]"),
        ("share", "--share", "How much."),
        ("kind", "--kind", "Which. Choices: a, b. [a]"),
        ("loud", "--[no]loud", "Whether. [false]"),
    ],
)
def test_a_description_holds_choices_unit_and_default(name, flag, text):
    field = Settings.__dataclass_fields__[name]
    assert command_line.describe_fields([("only", field)], field_type, 1) == (flag, text)


@pytest.mark.parametrize(
    ("defaults", "text"),
    [
        ({"one": 3, "two": 3, "three": 3}, "How many. [3 pieces]"),
        ({"one": 3, "two": 3}, "How many. [3 pieces] (one, two)"),
        ({"one": 3, "two": 4, "three": 3}, "How many. [one, three: 3 pieces; two: 4 pieces]"),
        ({"one": 3, "two": None}, "How many. [one: 3 pieces; two: see there]"),
    ],
)
def test_a_description_tells_the_modes_that_have_a_field_and_their_defaults_where_they_differ(defaults, text):
    def field(default):
        declared = option(default, "How many.", group="First", unit="pieces")
        return dataclasses.make_dataclass("Other", [("count", int | None, declared)]).__dataclass_fields__[
            "count"
        ]

    of_modes = [(mode, field(default)) for mode, default in defaults.items()]
    assert command_line.describe_fields(of_modes, field_type, 3) == ("--count", text)


def read_help(mode=None):
    """([heading], [(flag, heading)]) of a help text."""
    lines = train.help_text(mode).splitlines()
    headings = [line.rstrip(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    heading, found = None, []
    for line in lines:
        if line.rstrip(":") in headings:
            heading = line.rstrip(":")
        elif line.startswith("  --"):
            found.append((line.split()[0].replace("[no]", "").removeprefix("--"), heading))
    return headings, found


@pytest.mark.parametrize("mode", [None, *MODES])
def test_help_holds_every_flag_once_below_its_group(mode):
    headings, found = read_help(mode)
    classes = [MODES[mode]] if mode else MODES.values()
    fields = {f.name: f.metadata["group"] for cls in classes for f in dataclasses.fields(cls)}
    ours = ["mode", "recipe"] if mode not in ("knn", "eval") else ["mode"]  # which have no recipes
    assert sorted(found) == sorted([*((name, "Choose") for name in ours), *fields.items()])
    assert len(set(headings)) == len(headings)
    assert {*headings} == {"Choose", *fields.values()}


def test_an_option_stands_below_the_same_heading_in_every_mode():
    groups = {}
    for cls in MODES.values():
        for field in dataclasses.fields(cls):
            groups.setdefault(field.name, set()).add(field.metadata["group"])
    assert [name for name, found in groups.items() if len(found) > 1] == []


@pytest.mark.parametrize("mode", [None, *MODES])
def test_help_fits_100_columns(mode):
    assert max(map(len, train.help_text(mode).splitlines())) <= 100


@pytest.mark.parametrize("words", [["--help", "--mode=knn"], ["--mode", "knn", "--help"]])
def test_help_beside_a_mode_is_that_of_the_mode(words, capsys):
    assert command_line.run(train.main, ["train.py", *words], "train.py") == 0
    out = capsys.readouterr().out
    assert out == train.help_text("knn") + "\n"
    assert "--knn_k" in out
    assert "--learning_rate " not in out


@pytest.mark.parametrize("mode", MODES)
def test_help_of_a_mode_names_its_own_recipes(mode):
    text = " ".join(train.help_text(mode).partition("Choose:")[2].split())
    named = text.partition("Named settings. Choices: ")[2].partition(".")[0].split(", ")
    assert [name for name in named if name] == [name for name, (stage, _) in RECIPES.items() if stage == mode]


def test_help_beside_an_unknown_mode_is_that_of_all(capsys):
    assert command_line.run(train.main, ["train.py", "--help", "--mode=knm"], "train.py") == 0
    assert capsys.readouterr().out == train.help_text() + "\n"


def test_a_long_flag_stands_on_a_line_of_its_own():
    entries = [("--" + "x" * 40, "Words."), ("--short", "More words.")]
    lines = command_line.format_help("Intro", {"Group": entries}).splitlines()
    margin = " " * 30
    assert lines[2:] == ["Group:", "  --" + "x" * 40, margin + "Words.", f"{'  --short':<30}More words."]


@pytest.mark.parametrize("word", ["--help", "-h", "--helpfull"])
def test_help_wins_over_everything_else(word, capsys):
    assert command_line.run(train.main, ["train.py", "--nonsense", word], "train.py") == 0
    out, error = capsys.readouterr()
    assert out == train.help_text() + "\n"
    assert error == ""


def without_tensorflow(*argv):
    """Runs train.py in a process that tells whether TensorFlow or Keras was imported; returns what it printed."""
    code = (
        "import sys, train\n"
        "from simclr_keras import command_line\n"
        f"command_line.run(train.main, {['train.py', *argv]!r}, 'train.py')\n"
        "print([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.splitlines()[-1]


def test_help_answers_without_importing_tensorflow():
    assert without_tensorflow("--help") == "[]"


def test_refusals_of_flags_and_settings_come_without_importing_tensorflow():
    assert without_tensorflow("--mode=pretrain", "--dataset=digits", "--model=r19_1x_sk0") == "[]"


class TestRun:
    def code_and_error(self, capsys, outcome):
        def main(argv):
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        code = command_line.run(main, ["program"], "program")
        return code, capsys.readouterr().err

    def test_success_says_nothing(self, capsys):
        assert self.code_and_error(capsys, None) == (0, "")

    def test_bad_input_is_one_line_and_code_2(self, capsys):
        code, error = self.code_and_error(capsys, InputError("first\n  second"))
        assert (code, error) == (2, "program: error: first second\n")

    def test_stopped_training_is_one_line_and_code_1(self, capsys):
        assert self.code_and_error(capsys, TrainingError("loss")) == (1, "program: error: loss\n")

    def test_an_interruption_is_one_line_and_code_130(self, capsys):
        code, error = self.code_and_error(capsys, KeyboardInterrupt())
        assert code == 130
        assert error.count("\n") == 1
        assert "interrupted" in error

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_stop_that_saved_its_step_is_no_error(self, capsys, number, code):
        stop = Stopped("step 7 is saved", number)
        assert self.code_and_error(capsys, stop) == (code, "program: step 7 is saved\n")

    def test_a_fault_of_ours_keeps_its_traceback(self, capsys):
        with pytest.raises(ValueError, match="a bug"):
            self.code_and_error(capsys, ValueError("a bug"))


def test_a_run_that_is_not_there_is_told_at_once(tmp_path):
    command_line.check_there("init", None, "an earlier stage")
    command_line.check_there("init", str(tmp_path), "an earlier stage")
    command_line.check_there("init", "gs://bucket/run", "an earlier stage")
    with pytest.raises(InputError, match=r"^--init=.*/x is not a run directory \(no such directory\); give"):
        command_line.check_there("init", str(tmp_path / "x"), "an earlier stage")
