"""python -m simclr_keras.tools.report DIR...: one table and one chart over run directories."""

import os
import sys

from absl import flags

from simclr_keras.config import command_line
from simclr_keras.errors import InputError, one_line
from simclr_keras.tools.reporting.rows import rows
from simclr_keras.tools.reporting.text import as_csv, table

__all__ = ["figure", "main", "rows", "table"]

PROGRAM = "report"
_INTRODUCTION = """\
Prints one table and draws one chart over run directories, in the order of the method.

  python -m simclr_keras.tools.report runs
  python -m simclr_keras.tools.report runs/pretrain runs/finetune --out=chart.png --csv=table.csv

A directory is a run, or holds runs at any depth. Runs that differ in nothing but seeds are followed
by their mean and range; runs that have not ended are listed as such.

Exit codes: 0 done; 2 something in the command or in a run directory is wrong."""
_HELP = {
    "out": "PNG file of the chart; empty for none. [report.png]",
    "csv": "CSV file of the table with all digits, the means among its rows.",
}


def figure(rows):
    """Draws the rows as a matplotlib Figure, see `report_figure.figure`."""
    from simclr_keras.tools.reporting import (
        figure as report_figure,  # matplotlib: --help need not wait for it
    )

    return report_figure.figure(rows)


def main(argv):
    """Reports as the command line says: prints the table, then where the chart and the CSV are.

    Args:
        argv: list of words, the first of which is the program: directories, --out, --csv.

    Raises:
        InputError: one line.
    """
    if command_line.wants_help(argv):
        print(command_line.format_help(_INTRODUCTION, {"Flags": [(f"--{k}", v) for k, v in _HELP.items()]}))
        return
    paths, values = _read_flags(argv)
    for path in filter(None, (values.out, values.csv)):
        _check_writable(path)
    found = rows(paths)
    print(table(found))
    if values.csv:
        _write(values.csv, as_csv(found).encode())
        print(f"table    {values.csv}")
    if values.out and any(row.top1 is not None for row in found):
        from simclr_keras.evaluation.drawing import png_bytes

        _write(values.out, png_bytes(figure(found)))
        print(f"chart    {values.out}")


def _read_flags(argv):
    """Returns (directories, parsed flags)."""
    values = flags.FlagValues()
    flags.DEFINE_string("out", "report.png", _HELP["out"], flag_values=values)
    flags.DEFINE_string("csv", None, _HELP["csv"], flag_values=values)
    # Every other word is a directory; a flag is written --name=value as everywhere.
    words = argv[1:]
    command_line.parse(values, [argv[0], *(word for word in words if word.startswith("-"))])
    paths = [word for word in words if not word.startswith("-")]
    if not paths:
        raise InputError("no directory is given: name run directories, or one above them, such as runs.")
    if values.out and not values.out.lower().endswith(".png"):
        raise InputError(f"--out={values.out} must end in .png, the one format that is written.")
    return paths, values


def _check_writable(path):
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written; give a file in a directory that is there.")


def _write(path, data):
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {one_line(error)}") from error


if __name__ == "__main__":
    command_line.leave(command_line.run(main, sys.argv, PROGRAM))
