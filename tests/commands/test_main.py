"""simclr COMMAND: the table of commands, their help, and the one line for a wrong one."""

import os
import pathlib
import subprocess
import sys

import pytest

from simclr_keras.commands import main as commands
from simclr_keras.config import command_line
from simclr_keras.config.modes import MODES
from simclr_keras.version import __version__

ROOT = pathlib.Path(__file__).parents[2]


def run(capsys, *words):
    code = command_line.run(commands.main, ["simclr", *words], "simclr")
    return code, *capsys.readouterr()


def test_every_stage_is_a_command():
    assert [name for name, entry in commands.COMMANDS.items() if entry.module == commands.STAGES] == [*MODES]


def test_list_of_commands(capsys):
    listed = run(capsys, "--help")
    assert listed == run(capsys) == (0, commands.help_text() + "\n", "")
    assert run(capsys, "--version") == (0, f"simclr_keras {__version__}\n", "")


def test_completion(capsys):
    assert run(capsys, "--words")[1].split() == [*commands.COMMANDS]
    assert "--recipe=\n" in run(capsys, "--words", "knn", "--init=a")[1]
    assert run(capsys, "--words", "report")[1].split() == ["--out=", "--csv=", "--config=", "--save_config="]
    assert run(capsys, "--words", "x")[1].strip() == ""
    assert run(capsys, "--completion")[1] == commands.COMPLETION + "\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["pretrian"], "pretrian is no command: did you mean pretrain?"),
        (["knn", "--mode=eval"], "--mode is the command itself: leave it out of simclr knn, or give another"),
        (["pretrain", "--dataset=digits", "--model=r19_1x_sk0"], "r19_1x_sk0"),
        (["embed", "--model=x"], "--images is missing"),
        (["report"], "no directory: give run directories"),
    ],
)
def test_refusals(words, line, capsys):
    code, out, error = run(capsys, *words)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert line in error


def test_help_of_every_command_imports_nothing_slow():
    code = (
        "import sys\nfrom simclr_keras.commands.main import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    print('==', name)\n"
        "    main(['simclr', name, '--help'])\n"
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'absl', 'filelock') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *text, imported = done.stdout.splitlines()
    assert imported == "[]"
    assert max(map(len, text)) <= 100
    sections = done.stdout.split("== ")[1:]
    assert [section.split("\n")[0] for section in sections] == [*commands.COMMANDS]
    assert all("Exit codes: " in section and "--save_config" in section for section in sections)


def test_output_that_nobody_reads_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    for words in (["--version"], ["knn", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "simclr_keras", *words],
            cwd=ROOT,
            env=environment,
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writer)


def test_module_is_the_command():
    words = [sys.executable, "-m", "simclr_keras", "pretrain", "--epoch=3"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "simclr pretrain: error: unknown flag --epoch: did you mean --epochs?\n"
