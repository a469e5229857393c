"""simclr report DIR...: one table and one chart over run directories."""

import dataclasses
import os
import sys
from collections.abc import Sequence

from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, option
from simclr_keras.config.output_paths import check_file
from simclr_keras.errors import InputError
from simclr_keras.files import is_remote, write_file

HEADER = b"stage,dataset,model,"  # of the table, in all versions
INTRODUCTION = """\
Prints one table and draws one chart over run directories, in the order of the method.

  simclr report runs
  simclr report runs/pretrain runs/finetune --out=chart.png --csv=table.csv

A directory is a run, or contains runs at any depth. Runs that differ only in their seeds are
followed by their mean and range. Unfinished runs are listed without figures.

Exit codes: 0 done; 1 a file cannot be written; 2 the command or a run directory is wrong."""


@dataclasses.dataclass(frozen=True)
class ReportConfig(Settings):
    """The flags of report."""

    out: str | None = option(
        None,
        "PNG file of the chart; empty for no chart.",
        default_words="report.png in the folder of the runs",
    )
    csv: str | None = option(None, "CSV file of the table with all digits and a row for each mean.")

    def validate(self) -> None:
        super().validate()
        for flag, ending in (("out", ".png"), ("csv", ".csv")):
            if path := getattr(self, flag):
                check_file(path, ending, overwrite=True, flag=flag)


def _execute(config: ReportConfig, paths: list[str]) -> None:
    from simclr_keras.tools.reporting.find_runs import find_runs  # help is quicker without NumPy
    from simclr_keras.tools.reporting.rows import rows_of_runs
    from simclr_keras.tools.reporting.text import as_csv, table

    if config.csv:
        _check_earlier(config.csv)
    empty: list[str] = []
    runs = find_runs(paths, empty)
    for path in empty:
        print(f"report: {path} contains no run; skipped", file=sys.stderr)
    report_rows = rows_of_runs(runs)
    print(table(report_rows))
    for row in {row.run: row for row in report_rows if row.warnings}.values():
        for warning in row.warnings:
            print(f"warning  {row.run}: {warning}")
    if config.csv:
        write_file(config.csv, as_csv(report_rows))
        print(f"table    {config.csv}")
    if config.out == "" or not any(row.top1 is not None for row in report_rows):
        return
    out = config.out or default_out(paths, [run.path for run in runs])
    if out is None:
        print("chart    not drawn, as no file can be written beside the runs; give --out=report.png")
        return
    from simclr_keras.evaluation.drawing import png_bytes
    from simclr_keras.tools.reporting.figure import figure

    write_file(out, png_bytes(figure(report_rows)))
    print(f"chart    {out}")


def default_out(paths: Sequence[str], runs: Sequence[str]) -> str | None:
    """Return report.png in the folder of some runs; None if it cannot be written there."""
    from simclr_keras.tools.reporting.find_runs import place_of

    folder = paths[0]
    if is_remote(folder):
        return None
    if len(paths) > 1 or place_of(folder) in map(place_of, runs):
        folder = os.path.dirname(os.path.abspath(folder))
    return os.path.join(folder, "report.png") if os.access(folder, os.W_OK) else None


def _check_earlier(path):
    """Raise InputError if a file exists that is no table of this command, now or before."""
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        if file.read(len(HEADER)) != HEADER:
            raise InputError(f"--csv={path} is not a table of simclr report; give another name.")


COMMAND = Command(
    "report",
    INTRODUCTION,
    ReportConfig,
    _execute,
    "no directory: give run directories, or a folder of them, such as runs.",
    tensorflow=False,
)

if __name__ == "__main__":
    COMMAND.leave()
