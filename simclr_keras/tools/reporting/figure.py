"""The chart of a report: top-1 of every run or group of repetitions, with its interval."""

import collections
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simclr_keras.errors import InputError, some
from simclr_keras.evaluation.colors import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PURPLE, TEAL
from simclr_keras.evaluation.drawing import new_figure, own_style, set_heading, short
from simclr_keras.tools.reporting.rows import Row
from simclr_keras.tools.reporting.text import percent, span

_COLORS = {
    "pixels": MUTED,
    "untrained": MUTED,
    "initial": MUTED,
    "supervised": ORANGE,
    "pretrain": BLUE,
    "knn": TEAL,
    "linear_eval": TEAL,
    "eval": TEAL,
    "finetune": GREEN,
    "distill": PURPLE,
}
_MOST, _LINE = 100, 44  # groups drawn; pixels of each


@own_style()
def figure(rows: Sequence[Row]) -> Figure:
    """Return a point for each run or mean of repetitions, from top to bottom in the order of the rows.

    The line through a point is the 95 % interval of a run, or the range of repetitions, which are small dots on it.
    Rows without top-1 are left out; only the first 100 groups are drawn.

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
    chart = new_figure(1040, _LINE * len(drawn) + 150)
    cut = f"the first {len(drawn)} of {len(groups)}; " if len(groups) > len(drawn) else ""
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.dataset))
    set_heading(chart, "Top-1 accuracy", short(cut + some(datasets, 3), 120))
    axes = chart.add_subplot(ylim=(len(drawn) - 0.5, -0.5))
    for place, group in enumerate(drawn):
        last, color = group[-1], _COLORS.get(group[-1].kind, INK)
        if last.interval:
            axes.plot(last.interval, [place] * 2, color=color, linewidth=5, alpha=0.3, solid_capstyle="round")
        if last.is_mean:
            axes.plot(
                [row.top1 for row in group[:-1]], [place] * (len(group) - 1), "o", color=color, markersize=6
            )
            axes.plot([last.top1], [place], "|", color=color, markersize=18, markeredgewidth=2.5)
        else:
            axes.plot([last.top1], [place], "o", color=color, markersize=9, markeredgecolor="white")
        text = f"{percent(last.top1)}\n{span(last.interval)}"
        axes.text(
            1.02, place, text, transform=axes.get_yaxis_transform(), va="center", color=color, fontsize=9
        )
    axes.set_yticks(range(len(drawn)), _labels(drawn), fontsize=9)
    _style(axes)
    return chart


def _style(axes):
    # At least ten points are shown, so that noise does not look like a difference.
    low, high = axes.get_xlim()
    middle, half = (low + high) / 2, max(high - low, 0.1) / 2
    axes.set_xlim(max(middle - half, -0.01), min(middle + half, 1.01))
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    axes.set_xlabel(
        "line: 95 % interval over the evaluation images, or the range of several seeds", color=MUTED
    )
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _labels(groups):
    """Return the label of each group: stage, model and labels, and the run if these do not differ."""
    several = len({group[-1].dataset for group in groups}) > 1
    labels = []
    for group in groups:
        row = group[-1]
        labels_used = None if row.labels_used is None else f"{row.labels_used:,} labels"
        details = (short(row.dataset) if several else None, row.model and short(row.model, 30), labels_used)
        labels.append(f"{short(row.stage, 50)}\n" + " · ".join(filter(None, details)))
    counts = collections.Counter(labels)
    return [
        label if counts[label] == 1 else f"{label} · {short(group[0].run, 24, keep_end=True)}"
        for label, group in zip(labels, groups)
    ]
