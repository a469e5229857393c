"""benchmarks.run: every comparison runs with --quick, and its statistics; no figure is tested."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks import run
from benchmarks.comparisons import NAMES
from benchmarks.side_by_side import report
from benchmarks.side_by_side.cases import BESIDE, OURS, Case, Side
from benchmarks.side_by_side.own_process import OwnProcess, Timed
from benchmarks.side_by_side.turns import Measured, take_turns
from simclr_keras.models import zoo
from tests.benchmarks.sides import prepare_count, prepare_end, prepare_without_package
from tests.training.tiny import create_tiny_model, make_tiny

# Some words that each comparison must print, in this order.
OUTPUT = {
    "start": r"simclr --help\n +ours .*python -c pass.*import simclr_keras",
    "losses": r"64 views x 128\n +ours .*ours, tiled .*ours, one matrix",
    "input": r"photos, two views.*ours, host part alone.*arrays, two views of 32 px",
    "pretrain_step": r"Keras 3 .*tf_keras.* a matrix product .*ours / (Keras 3|tf_keras): ",
    "step_settings": r"queue.*with .*without .*with / without: .*2 replicas.*2 steps of batch 4.*with / without",
    "finetune_step": r"ours .*fit .*fit, stock layers .*ours / fit: ",
    "whole_training": r"cifar10_small.*ours .*images/s.*ours, one batch",
    "evaluation": r"features and kNN.*top1.*kNN by rows of the bank grows from 64 to 128 time as size",
    "export": r"in process, eager.*HubLayer.*export / in process: ",
    "growth": r"first start by files grows .*later start by files grows .*step by batch grows",
}


class InProcess(Timed):
    """A side in the process of the tests: starts of TensorFlow would take longer than the work."""

    def __init__(self, side, python):
        super().__init__(side.prepare, json.loads(json.dumps(side.settings)))

    def close(self):
        pass


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in NAMES])
def test_quick(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "OwnProcess", InProcess)
    make_tiny(monkeypatch)
    monkeypatch.setattr(
        zoo,
        "create_model",
        lambda name, dtype="float32", **settings: create_tiny_model(name, dtype=dtype, **settings),
    )
    run.main([name, "--quick", f"--out={tmp_path}"])
    output = capsys.readouterr().out
    assert re.search(OUTPUT[name], output, re.DOTALL), output
    results = json.loads((tmp_path / "results.json").read_text())
    assert {case["comparison"] for case in results["cases"]} == {name}
    assert all("ours" in case["rounds"] or name in ("step_settings", "export") for case in results["cases"])
    assert (tmp_path / "table.md").read_text().count(f"| {name} |") == len(results["cases"])


def test_sides_take_turns_in_processes_of_their_own():
    sides = {
        "ours": Side(prepare_count, {"start": 1}, OURS),
        "theirs": Side(prepare_count, {"start": 10}),
        "beside": Side(prepare_count, {"start": 0}, BESIDE),
        "missing": Side(prepare_without_package),
        "ended": Side(prepare_end),
    }
    lines = []
    measured = take_turns(
        "name", Case("case", sides, warm_up=1), 2, lambda side: OwnProcess(side), lines.append
    )
    assert [*measured.rounds] == ["ours", "theirs", "beside"]
    assert measured.seconds("ours") == [2, 3]
    assert measured.best_peer == "theirs"
    assert measured.ratios() == [11 / 2, 12 / 3]
    assert lines == [
        "name: missing is left out: the package a_package_that_nobody_has is missing",
        "name: ended is left out: its process ended with exit code 3",
    ]


def test_goals_and_growth():
    def measured(seconds, size, **goal):
        sides = {"ours": Side(prepare_count, {}, OURS), "peer": Side(prepare_count)}
        rounds = {
            name: [{"seconds": value, "processor_seconds": 1, "memory": size - 1}]
            for name, value in (("ours", seconds), ("peer", 2 * seconds))
        }
        return Measured("name", Case("case", sides, size=size, series="work", **goal), rounds)

    small, large = measured(1, 10, least_ratio=2.5), measured(100, 100, most_seconds=100)
    assert report.goal(small) == "2.5: missed"
    assert report.goal(large) == "100 s: reached"
    (line,) = report.growth_lines([large, small])
    assert line == "work grows from 10 to 100 time as size^2.00, memory as size^1.00"


@pytest.mark.slow
def test_parent_starts_no_tensorflow():
    """Or its threads would disturb those of the sides."""
    code = (
        "import sys, benchmarks.run; sys.exit(any(name in sys.modules for name in ('tensorflow', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=run.__file__.rsplit("/", 2)[0]).returncode == 0
