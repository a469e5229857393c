"""The command: one table, one chart, one CSV; one line and exit code 2 for what is wrong; no TensorFlow."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest

from simclr_keras.config import command_line
from simclr_keras.errors import InputError
from simclr_keras.evaluation.drawing import png_bytes
from simclr_keras.tools import report
from simclr_keras.tools.reporting.figure import figure
from simclr_keras.tools.reporting.rows import Row
from simclr_keras.tools.reporting.text import table
from tests.tools.made_runs import begin, finish, rows, whole_method


def run(*words):
    return command_line.run(report.COMMAND.main, ["report", *map(str, words)], "report")


@pytest.fixture
def three_seeds(tmp_path):
    for seed, gain in enumerate((-0.01, 0.0, 0.02)):
        whole_method(tmp_path / "runs" / f"{seed}", seed, gain)
    return tmp_path / "runs"


class TestTable:
    def test_columns_are_aligned(self, three_seeds):
        begin(three_seeds / "begun", "distill", model="keras:VGG16")
        heading, rule, *lines = table(rows([three_seeds])).splitlines()
        starts = [0] + [k + 2 for k in range(len(rule)) if rule[k : k + 2] == "  "]
        assert len(starts) == 8
        for line in (heading, *lines):
            for start in starts[1:]:
                assert line[start - 2 : start].strip() == ""
        assert [heading[a:b].strip() for a, b in zip(starts, [*starts[1:], None])] == [
            "stage",
            "model",
            "parameters",
            "labels used",
            "top-1",
            "top-5",
            "95 % interval",
            "run",
        ]

    def test_a_run_and_a_mean_read_so(self, three_seeds):
        lines = table(rows([three_seeds])).splitlines()
        (run_line,) = [line for line in lines if line.endswith("/1/a")]
        assert (
            run_line.split()
            == (f"self-distill r18_0.25x_sk0 700,000 100 69.0 % 90.0 % 66.1-71.8 {three_seeds}/1/a").split()
        )
        mean = " ".join(lines[lines.index(run_line) + 2].split())
        assert mean == (
            "mean of 3 runs r18_0.25x_sk0 700,000 100 69.3 % 90.0 % "
            "range 68.0-71.0 (top-5 90.0-90.0), seeds 0, 1, 2"
        )

    def test_what_is_not_known_is_a_dash(self):
        known = dict.fromkeys(("dataset", "model", "parameters", "labels_used"))
        line = table([Row(stage="pretrain", kind="pretrain", run="r", **known)])
        assert line.splitlines()[-1].split() == ["pretrain", "-", "-", "-", "-", "-", "-", "r"]

    def test_several_datasets_get_a_column(self, tmp_path):
        finish(tmp_path / "a", "supervised", top1=0.5)
        assert "digits" not in table(rows([tmp_path]))
        config = {"dataset": "cifar10", "seed": 1}
        finish(tmp_path / "b", "supervised", config=config, dataset="cifar10", top1=0.5)
        lines = table(rows([tmp_path])).splitlines()
        assert [line.split()[0] for line in lines] == ["dataset", "-------", "digits", "cifar10"]


def texts(figure):
    """The lines of text on a chart: heading, labels of the runs, figures at the right."""
    (axes,) = figure.axes
    artists = [*figure.texts, *axes.get_yticklabels(), *axes.texts]
    return [line for text in artists for line in text.get_text().splitlines()]


class TestFigure:
    def test_a_line_per_run_or_mean(self, three_seeds):
        shown = texts(figure(rows([three_seeds])))
        assert {"digits", "self-distill", "69.3 %", "68.0-71.0"} <= set(shown)
        assert shown.count("r18_0.25x_sk0 · 100 labels") == 4

    def test_points_and_lines_are_at_their_shares(self, three_seeds):
        (axes,) = figure(rows([three_seeds])).axes
        interval, dots, mean = [line.get_xydata() for line in axes.lines if line.get_ydata()[0] == 9]
        np.testing.assert_allclose(interval, [[0.68, 9], [0.71, 9]])
        np.testing.assert_allclose(dots, [[0.68, 9], [0.69, 9], [0.71, 9]])
        np.testing.assert_allclose(mean, [[0.69 + 0.01 / 3, 9]])

    def test_every_kind_of_stage_has_its_color(self, tmp_path):
        whole_method(tmp_path)
        (axes,) = figure(rows([tmp_path])).axes
        points = {line.get_ydata()[0]: line.get_color() for line in axes.lines if line.get_marker() == "o"}
        colors = [points[place] for place in range(11)]
        assert len(set(colors)) == 5
        for same in (colors[:3], colors[4:7], colors[7:9], colors[9:]):
            assert len(set(same)) == 1

    def test_every_point_is_within_the_limits(self, tmp_path):
        for name, shares in enumerate(([0.5], [0.0, 1.0], [0.931, 0.934], [1.0], [0.0], [0.02, 0.4])):
            for number, share in enumerate(shares):
                config = {"learning_rate": number}
                finish(tmp_path / f"{name}" / f"{number}", "supervised", config=config, top1=share)
            (axes,) = figure(rows([tmp_path / f"{name}"])).axes
            low, high = axes.get_xlim()
            assert low < min(shares) <= max(shares) < high
            assert high - low > 0.09 or shares in ([0.0], [1.0])
            assert -0.011 < low < high < 1.011

    def test_runs_that_look_alike_have_their_path(self, tmp_path):
        for number in range(2):
            finish(tmp_path / f"rate{number}", "supervised", config={"learning_rate": number}, top1=0.5)
        shown = texts(figure(rows([tmp_path])))
        assert sum("rate0" in text for text in shown) == sum("rate1" in text for text in shown) == 1

    def test_long_names_stay_inside(self, tmp_path):
        for number in range(4):
            config = {"model": "keras:" + "N" * 80, "learning_rate": number}
            path, dataset = tmp_path / f"{'r' * 50}{number}", "npz:" + "d" * 200
            finish(path, "supervised", config=config, top1=0.5, dataset=dataset)
        chart = figure(rows([tmp_path]))
        chart.canvas.draw()
        box = chart.axes[0].get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= chart.bbox.width
        assert chart.axes[0].get_window_extent().width > 300

    def test_more_than_100_lines_are_counted(self, tmp_path):
        for number in range(103):
            finish(tmp_path / f"{number}", "supervised", config={"learning_rate": number}, top1=0.5)
        report_rows = rows([tmp_path])
        assert "the first 100 of 103; digits" in texts(figure(report_rows))
        assert len(table(report_rows).splitlines()) == 105

    def test_nothing_to_draw_is_said(self, tmp_path):
        with pytest.raises(InputError, match="nothing to draw"):
            figure(rows([begin(tmp_path / "a", "pretrain")]))


class TestCommand:
    def test_it_prints_the_table_and_writes_chart_and_csv(self, three_seeds, tmp_path, capsys):
        assert run(three_seeds, f"--out={tmp_path}/x.png", f"--csv={tmp_path}/x.csv") == 0
        out, error = capsys.readouterr()
        report_rows = rows([three_seeds])
        assert out == f"{table(report_rows)}\ntable    {tmp_path}/x.csv\nchart    {tmp_path}/x.png\n"
        assert error == ""
        assert (tmp_path / "x.png").read_bytes() == png_bytes(figure(report_rows))
        with open(tmp_path / "x.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == len(report_rows)
        for line, row in zip(lines, report_rows):
            assert float(line["top1"]) == row.top1
            assert line["run"] == (row.run or "")
            bounds = ("top1_min", "top1_max") if row.is_mean else ("interval_low", "interval_high")
            assert tuple(float(line[name]) for name in bounds) == row.interval
            assert line["finished"] == "True"
        assert lines[-1]["seeds"] == "0 1 2"

    def test_the_chart_is_report_png_among_the_runs_unless_it_is_not_wanted(
        self, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        finish(tmp_path / "runs" / "a", "supervised", top1=0.5)
        finish(tmp_path / "runs" / "deep" / "b", "supervised", top1=0.6, config={"seed": 1})
        chart = tmp_path / "runs" / "report.png"
        assert run("runs", "--out=") == 0
        assert not chart.exists()
        for words in (["runs"], ["runs/a", "runs/deep"], ["runs/deep", "runs/a"], [f"{tmp_path}/runs/a/"]):
            assert run(*words) == 0
            chart.unlink()
            assert os.listdir(tmp_path) == ["runs"], words
        monkeypatch.chdir(tmp_path / "runs" / "a")
        assert run(".") == 0
        chart.unlink()
        capsys.readouterr()
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        assert run(".") == 0
        assert capsys.readouterr().out.splitlines()[-1].endswith("give --out=report.png")

    def test_folders_without_runs_are_skipped_beside_runs(self, tmp_path, capsys):
        finish(tmp_path / "runs" / "photos", "supervised", top1=0.5)
        (tmp_path / "runs" / "photos-notes").mkdir()
        assert run(*sorted((tmp_path / "runs").glob("photos*")), "--out=") == 0
        out, error = capsys.readouterr()
        assert out.splitlines()[-1].endswith("runs/photos")
        assert error == f"report: {tmp_path}/runs/photos-notes contains no run; skipped\n"

    def test_problems_and_warnings_of_runs_are_printed(self, tmp_path, capsys):
        figures = {"knn_top1": 0.1, "probe_top1": 0.1, "raw_pixels_knn_top1": 0.4}
        sentence = "the contrastive loss is 9.689 after epoch 20, that of guessing is 9.689"
        finish(tmp_path / "a", "pretrain", **figures, problem="loss at chance", warnings=[sentence])
        assert run(tmp_path, "--out=", f"--csv={tmp_path}/x.csv") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.endswith(f"{tmp_path}/a (loss at chance)") for line in lines[2:5]] == [True] * 3
        assert lines[5:] == [f"warning  {tmp_path}/a: {sentence}", f"table    {tmp_path}/x.csv"]
        with open(tmp_path / "x.csv", newline="") as file:
            assert {(row["finished"], row["warnings"]) for row in csv.DictReader(file)} == {
                ("True", sentence)
            }

    def test_only_unfinished_runs_give_a_table_alone(self, tmp_path, capsys):
        begin(tmp_path / "runs" / "a", "pretrain")
        assert run(tmp_path / "runs", f"--out={tmp_path}/x.png") == 0
        assert "unfinished, 3 of 20 epochs" in capsys.readouterr().out
        assert os.listdir(tmp_path) == ["runs"]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "no directory: give run directories"),
            (["{}/nowhere"], "nowhere does not exist"),
            (["{}"], "contains no run"),
            (["{}", "--out=x.jpg"], "--out=x.jpg must end in .png"),
            (["{}", "--out={}/none/x.png"], "/none does not exist; create it"),
            (["{}", "--csv={}/runs.csv"], "is a folder; give a file"),
            (["{}", "--csv={}/a.txt"], "must end in .csv"),
            (["{}", "--out", "x.png"], "--out has no value: write --out=value"),
            (["{}", "--uot=x.png"], "unknown flag --uot: did you mean --out?"),
        ],
    )
    def test_what_is_wrong_is_one_line_and_code_2(self, tmp_path, capsys, words, said):
        (tmp_path / "runs.csv").mkdir()
        assert run(*(word.format(tmp_path) for word in words)) == 2
        out, error = capsys.readouterr()
        assert out == ""
        assert error.count("\n") == 1
        assert said in error

    def test_another_csv_is_not_replaced(self, three_seeds, tmp_path, capsys):
        (tmp_path / "labels.csv").write_text("filename,label")
        assert run(three_seeds, f"--csv={tmp_path}/labels.csv") == 2
        assert "is not a table of simclr report; give another name" in capsys.readouterr().err
        assert (tmp_path / "labels.csv").read_text() == "filename,label"
        for _ in range(2):  # but its own one is
            assert run(three_seeds, f"--csv={tmp_path}/table.csv") == 0

    def test_a_damaged_result_is_one_line_and_code_2(self, three_seeds, capsys):
        (three_seeds / "1" / "b1" / "result.json").write_text('{"top1": 0.')
        assert run(three_seeds) == 2
        out, error = capsys.readouterr()
        assert out == ""
        assert error.startswith(f"report: error: {three_seeds}/1/b1/result.json is damaged")
        assert error.count("\n") == 1

    def test_help_needs_no_directory(self, capsys):
        assert run("--help") == 0
        out = capsys.readouterr().out
        assert "--out" in out
        assert max(map(len, out.splitlines())) <= 100

    def test_it_starts_without_tensorflow(self, tmp_path):
        finish(tmp_path / "a", "supervised", top1=0.5)
        code = (
            "import sys\nfrom simclr_keras.tools import report\n"
            f"report.COMMAND.main(['report', {str(tmp_path)!r}, '--out={tmp_path}/x.png'])\n"
            "print([name for name in ('tensorflow', 'keras', 'sklearn', 'matplotlib.pyplot') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"

    @pytest.mark.slow
    def test_it_runs_as_a_module(self, tmp_path):
        finish(tmp_path / "a", "supervised", top1=0.5)
        command = [
            sys.executable,
            "-m",
            "simclr_keras.tools.report",
            str(tmp_path),
            f"--out={tmp_path}/x.png",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"chart    {tmp_path}/x.png\n")
