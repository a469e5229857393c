"""python -m simclr_keras.tools.report DIR...: one table and one chart over run directories."""

import dataclasses
import sys

from simclr_keras.config import command_line
from simclr_keras.config.option import Settings, option
from simclr_keras.config.output_paths import check_file
from simclr_keras.errors import InputError, one_line
from simclr_keras.tools.reporting.rows import rows
from simclr_keras.tools.reporting.text import as_csv, table

__all__ = ["figure", "main", "rows", "table"]

PROGRAM = "report"
INTRODUCTION = """\
Prints one table and draws one chart over run directories, in the order of the method.

  python -m simclr_keras.tools.report runs
  python -m simclr_keras.tools.report runs/pretrain runs/finetune --out=chart.png --csv=table.csv

A directory is a run, or contains runs at any depth. Runs that differ only in their seeds are
followed by their mean and range. Unfinished runs are listed without figures.

Exit codes: 0 done; 2 the command or a run directory is wrong."""


@dataclasses.dataclass(frozen=True)
class ReportConfig(Settings):
    """The flags of report."""

    out: str = option("report.png", "PNG file of the chart; empty for no chart.")
    csv: str | None = option(None, "CSV file of the table with all digits and a row for each mean.")

    def validate(self) -> None:
        super().validate()
        for flag, ending in (("out", ".png"), ("csv", "")):
            if path := getattr(self, flag):
                check_file(path, ending, overwrite=True, flag=flag)


def figure(rows):
    """Return the chart of the rows, see `tools.reporting.figure`."""
    from simclr_keras.tools.reporting import (
        figure as report_figure,  # matplotlib: --help need not wait for it
    )

    return report_figure.figure(rows)


def main(argv: list[str]) -> None:
    """Report as the command line says.

    Args:
        argv: the program, then directories, --out and --csv.

    Raises:
        InputError: one line.
    """
    if command_line.wants_help(argv):
        print(command_line.help_text(INTRODUCTION, ReportConfig))
        return
    config, paths = command_line.read_with_words(
        ReportConfig, argv, missing="no directory: give run directories, or a folder of them, such as runs."
    )
    report_rows = rows(paths)
    print(table(report_rows))
    if config.csv:
        _write(config.csv, as_csv(report_rows).encode())
        print(f"table    {config.csv}")
    if config.out and any(row.top1 is not None for row in report_rows):
        from simclr_keras.evaluation.drawing import png_bytes

        _write(config.out, png_bytes(figure(report_rows)))
        print(f"chart    {config.out}")


def _write(path, data):
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({one_line(error)}); give another path.") from error


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, PROGRAM))
