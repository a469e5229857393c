"""The rows of a report as a text table and as CSV."""

import csv
import io
from collections.abc import Sequence

from simclr_keras.tools.csv_lines import CsvLines
from simclr_keras.tools.reporting.rows import Row

_HEADINGS = ("stage", "model", "parameters", "labels used", "top-1", "top-5", "95 % interval")
# Columns that are there if any row has a figure.
_OPTIONAL = {"balanced": "balanced_accuracy", "cross-validated": "cross_validated"}
_TO_THE_RIGHT = {"parameters", "labels used", "top-1", "top-5", "95 % interval", *_OPTIONAL}
_COLUMNS = ("stage", "dataset", "model", "parameters", "labels_used", "top1", "top5")
_COLUMNS += ("interval_low", "interval_high", "top1_min", "top1_max", "top5_min", "top5_max")
_COLUMNS += ("balanced_accuracy", "cross_validated", "seeds", "finished", "remark", "warnings", "run")


def table(rows: Sequence[Row]) -> str:
    """Return the rows of a report as lines of text, columns aligned; "-" for missing values."""
    several = len({row.dataset for row in rows}) > 1
    optional = {
        heading: name
        for heading, name in _OPTIONAL.items()
        if any(getattr(row, name) is not None for row in rows)
    }
    lines = [(*(("dataset",) if several else ()), *_HEADINGS, *optional, "run")]
    headings = lines[0]
    for row in rows:
        *figures, run = _cells(row)
        shares = [percent(getattr(row, name)) for name in optional.values()]
        lines.append((*((row.dataset or "-",) if several else ()), *figures, *shares, run))
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = [
        "  ".join(
            cell.rjust(width) if heading in _TO_THE_RIGHT else cell.ljust(width)
            for heading, cell, width in zip(headings, line, widths)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV with a header and all digits; missing values are empty."""
    text = io.BytesIO()
    writer = csv.DictWriter(CsvLines(text), _COLUMNS)
    writer.writeheader()
    for row in rows:
        low, high = row.interval or (None, None)
        smallest, largest = row.top5_range or (None, None)
        bounds = (
            {"top1_min": low, "top1_max": high, "top5_min": smallest, "top5_max": largest}
            if row.is_mean
            else {"interval_low": low, "interval_high": high}
        )
        values = {name: getattr(row, name) for name in _COLUMNS if hasattr(row, name)}
        seeds = " ".join("" if seed is None else str(seed) for seed in row.seeds)
        writer.writerow(
            values | bounds | {"seeds": seeds, "finished": not row.note, "warnings": " ".join(row.warnings)}
        )
    return text.getvalue().decode()


def percent(share: float | None) -> str:
    """Return a share as text, in percent, or "-"."""
    return "-" if share is None else f"{100 * share:.1f} %"


def span(bounds: tuple[float, float] | None) -> str:
    """Return (low, high) as text, in percent, or "-"."""
    return "-" if bounds is None else f"{100 * bounds[0]:.1f}-{100 * bounds[1]:.1f}"


def _cells(row):
    figures = (
        row.model or "-",
        _count(row.parameters),
        _count(row.labels_used),
        percent(row.top1),
        percent(row.top5),
    )
    if not row.is_mean:
        note = row.note or "; ".join(filter(None, (row.problem, row.remark)))
        return row.stage, *figures, span(row.interval), f"{row.run}{f' ({note})' if note else ''}"
    ranges = f"range {span(row.interval)}" + (f" (top-5 {span(row.top5_range)})" if row.top5_range else "")
    ranges += f" ({row.remark})" if row.remark else ""
    seeds = "" if None in row.seeds else f", seeds {', '.join(map(str, row.seeds))}"
    return f"  mean of {len(row.seeds)} runs", *figures, "", ranges + seeds


def _count(number):
    return "-" if number is None else f"{number:,}"
