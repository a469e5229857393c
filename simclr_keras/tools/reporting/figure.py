"""The chart of a report: top-1 of every run or group of repetitions, with its interval."""

import collections
import math

from simclr_keras.errors import InputError, some
from simclr_keras.evaluation.drawing import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    PixelBoxes,
    fitted,
    new_figure,
)
from simclr_keras.tools.reporting.text import percent, span

_TEAL = "#3a8fa8"
_COLORS = {
    "pixels": MUTED,
    "untrained": MUTED,
    "supervised": ORANGE,
    "pretrain": BLUE,
    "knn": _TEAL,
    "linear_eval": _TEAL,
    "eval": _TEAL,
    "finetune": GREEN,
    "distill": PURPLE,
}
_MOST = 100  # groups drawn
_LINE, _TOP, _BELOW = 42, 76, 66  # pixels
_LEFT, _LABEL, _PLOT, _VALUE = 28, 300, 560, 150
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)


def figure(rows):
    """Draws a point per run or per mean of repetitions from above to below, in the order of the rows.

    The line through a point is the 95 % interval of a run, or the range of repetitions, which are small dots on it.
    Rows without top-1 are left out; above 100 points the rest is counted in a line.

    Args:
        rows: list of `report_rows.Row`.

    Returns:
        A matplotlib Figure.

    Raises:
        InputError: no row has a top-1.
    """
    groups = collections.defaultdict(list)
    for row in rows:
        if row.top1 is not None:
            groups[row.group].append(row)
    if not groups:
        raise InputError("there is nothing to draw: no run has a top-1 yet")
    drawn = list(groups.values())[:_MOST]
    width, bottom = _LEFT + _LABEL + _PLOT + _VALUE, _TOP + _LINE * len(drawn)
    height = bottom + _BELOW
    picture = new_figure(width, height)
    box = PixelBoxes(picture, width, height)
    box.text(_LEFT, 30, "Top-1 accuracy", size=14, weight="bold")
    (subtitle,), _ = fitted([_subtitle(rows, drawn, len(groups))], 10, width - 2 * _LEFT)
    box.text(_LEFT, 52, subtitle, color=MUTED, parse_math=False)

    axes = picture.add_axes(box.bounds(_LEFT + _LABEL, _TOP, _PLOT, bottom - _TOP))
    low, high, ticks = _limits([row for group in drawn for row in group])
    axes.set(xlim=(low, high), ylim=(len(drawn) - 0.5, -0.5), yticks=[])
    axes.set_xticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelsize=9.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)

    for place, (group, detail) in enumerate(zip(drawn, _details(drawn))):
        shown, color = group[-1], _color(group)
        if place and color != _color(drawn[place - 1]):
            axes.axhline(place - 0.5, color=GRID, linewidth=0.8, zorder=0)
        if shown.interval:
            axes.plot(
                shown.interval, [place] * 2, color=color, linewidth=5, alpha=0.3, solid_capstyle="round"
            )
        if shown.is_mean:
            runs = [row.top1 for row in group[:-1]]
            axes.plot(
                runs, [place] * len(runs), "o", color=color, markersize=6, markeredgewidth=0, alpha=0.75
            )
            axes.plot(
                [shown.top1], [place], "|", color=color, markersize=18, markeredgewidth=2.5, clip_on=False
            )
        else:
            axes.plot(
                [shown.top1], [place], "o", color=color, markersize=9, markeredgecolor="white", clip_on=False
            )
        y = _TOP + _LINE * (place + 0.5)
        for text, size, at, ink in ((shown.stage, 10, y - 2, INK), (detail, 8.5, y + 13, MUTED)):
            (text,), _ = fitted([text], size, _LABEL - 24)
            box.text(_LEFT, at, text, size=size, color=ink, parse_math=False)
        x = _LEFT + _LABEL + _PLOT + 22
        box.text(x, y - 2, percent(shown.top1), weight="bold", color=color)
        box.text(x, y + 13, span(shown.interval), size=8.5, color=MUTED)
    means = {group[-1].is_mean for group in drawn}
    notes = {
        False: "line: 95 % interval over the evaluation images",
        True: "of several seeds: a dot each, their mean and range",
    }
    note = "; ".join(text for kind, text in notes.items() if kind in means)
    box.text(_LEFT + _LABEL, bottom + 48, note, size=8.5, color=MUTED)
    return picture


def _color(group):
    return _COLORS.get(group[-1].kind, INK)


def _subtitle(rows, drawn, found):
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.dataset))
    cut = f"the first {len(drawn)} of {found}; " if found > len(drawn) else ""
    return cut + some(datasets, 3)


def _limits(rows):
    """Limits of the shares and ticks at round percents, a little beyond the values, within 0 and 100 %.

    At least ten points are shown, so that noise does not look like a difference.
    """
    values = [value for row in rows for value in (row.top1, *(row.interval or ()))]
    low, high = min(values), max(values)
    short = max(0.1 - (high - low), 0) / 2
    low, high = max(low - short, 0), min(high + short, 1)
    step = next((step for step in _STEPS if (high - low) / step <= 8), _STEPS[-1])
    low, high = math.floor(low / step - 0.25) * step, math.ceil(high / step + 0.25) * step
    low, high = max(low, 0.0), min(high, 1.0)
    count = round((high - low) / step)
    return low, high, [min(low + k * step, 1.0) for k in range(count + 1)]


def _details(groups):
    """What stands below each stage: model, labels, and where that is not enough to tell two apart the run."""
    several = len({group[-1].dataset for group in groups}) > 1
    found = []
    for group in groups:
        row = group[-1]
        labels = None if row.labels_used is None else f"{row.labels_used:,} labels"
        found.append(" · ".join(filter(None, (row.dataset if several else None, row.model, labels))))
    counts = collections.Counter((group[-1].stage, text) for group, text in zip(groups, found))
    common = _common([group[0].run for group in groups])
    return [
        text
        if counts[group[-1].stage, text] == 1
        else " · ".join(filter(None, (text, group[0].run[common:])))
        for group, text in zip(groups, found)
    ]


def _common(paths):
    """How much of the beginning of all paths is the same, up to a slash."""
    first, last = min(paths), max(paths)  # whatever these two share all share
    same = next((k for k, (a, b) in enumerate(zip(first, last)) if a != b), len(first))
    return first.rfind("/", 0, same) + 1
