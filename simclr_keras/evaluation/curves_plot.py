"""The picture at the end of a run: its curves."""

import itertools
import math

from matplotlib.ticker import MaxNLocator, PercentFormatter

from simclr_keras.errors import InputError
from simclr_keras.evaluation.drawing import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PURPLE, new_figure

# One entry per panel: title, unit, and the columns it may hold as {column: (label, color)}.
# Columns in "%" are shares in [0, 1] in metrics.csv.
_RATE = "Learning rate"
_PANELS = (
    ("Contrastive loss", "nats, both directions summed", {"contrastive_loss": ("", BLUE)}),
    (
        "Loss",
        "nats",
        {
            "loss": ("total", BLUE),
            "distillation_loss": ("distillation", GREEN),
            "label_loss": ("labels", ORANGE),
        },
    ),
    ("Contrastive accuracy", "%", {"contrastive_accuracy": ("", BLUE)}),
    ("Training accuracy", "%", {"accuracy": ("", BLUE)}),
    ("Agreement with the teacher", "%", {"agreement": ("", BLUE)}),
    (
        "Top-1 on the evaluation split",
        "%",
        {"knn_top1": ("kNN", GREEN), "probe_top1": ("online linear probe", ORANGE)},
    ),
    ("Accuracy on the evaluation split", "%", {"top1": ("top-1", GREEN), "top5": ("top-5", PURPLE)}),
    (_RATE, "", {"learning_rate": ("", PURPLE)}),
)
_EVALUATIONS = {"knn_top1", "probe_top1", "top1", "top5"}
_ACROSS = {1: 1, 2: 2, 3: 3, 4: 2}


def curves_figure(rows, references=None):
    """The history of a run: a panel each for what its rows hold of losses, accuracies and learning rate.

    Args:
        rows: dicts as read from metrics.csv, numbers or their text, in order. `epoch` is the x axis
            (`step` where there is none). A value that is missing, empty or not finite is left out, so
            rows without evaluation draw no point. Known columns: contrastive_loss, loss, distillation_loss
            and label_loss (nats); contrastive_accuracy, accuracy, agreement, knn_top1, probe_top1, top1 and
            top5 (shares in [0, 1]); learning_rate.
        references: {label: share in [0, 1]} drawn as dashed lines beside the accuracies on the evaluation
            split, such as the kNN accuracy of raw pixels or the top-1 of a teacher; None for none.

    Returns:
        A matplotlib Figure with one axes per panel; panels without any value are left out.

    Raises:
        InputError: where no known column holds a value.
    """
    x_name = "epoch" if any(_number(row.get("epoch")) is not None for row in rows) else "step"
    panels = []
    for title, unit, columns in _PANELS:
        curves = {name: _curve(rows, x_name, name) for name in columns}
        # With five classes or fewer top-5 is 1 whatever the network says.
        curves = {
            name: (x, y) for name, (x, y) in curves.items() if x and not (name == "top5" and min(y) == 1)
        }
        if curves:
            panels.append((title, unit, columns, curves))
    if not panels:
        known = ", ".join(name for _, _, columns in _PANELS for name in columns)
        raise InputError(f"there is no curve to draw: rows need epoch or step and some of {known}")

    across = _ACROSS.get(len(panels), 3)
    down = math.ceil(len(panels) / across)
    figure = new_figure(560 * across if across < 3 else 1380, 400 * down, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.2, h_pad=0.16, wspace=0.03, hspace=0.03)
    span = _span([x for *_, curves in panels for xs, _ in curves.values() for x in xs])
    for number, (title, unit, columns, curves) in enumerate(panels):
        axes = figure.add_subplot(down, across, number + 1, xlim=span)
        _style(axes, title, unit, x_name)
        for name, (x, y) in curves.items():
            label, color = columns[name]
            marker = "o" if len(x) <= 40 else None
            label = f"{label}  {_shown(y[-1], unit)}".strip()
            if name == "top1":
                label += _best(x, y, x_name, unit)
            axes.plot(x, y, color=color, label=label, marker=marker, markersize=4, linewidth=1.8)
        held = bool(_EVALUATIONS & curves.keys())
        axes.set_title(_note(curves, x_name, unit, held), loc="right", fontsize=9.5, color=MUTED, pad=10)
        if held:
            _draw_references(axes, references or {}, unit)
        if held or len(curves) > 1:
            axes.legend(frameon=True, framealpha=0.85, edgecolor="none", labelcolor=INK, fontsize=9.5)
        _limits(axes, unit, floor_at_zero=title == _RATE)
    return figure


def _note(curves, x_name, unit, held):
    """What stands at the upper right of a panel: where its curves end, and at what value where there is no legend."""
    ends = {x[-1] for x, _ in curves.values()}
    end = f"at {x_name} {ends.pop():g}" if len(ends) == 1 else ""
    if held or len(curves) > 1:
        return end
    ((_, y),) = curves.values()
    return f"{_shown(y[-1], unit)} {end}"


def _best(x, y, x_name, unit):
    """Says where a top-1 was best, unless that is where it ends."""
    return f", best {_shown(max(y), unit)} at {x_name} {x[y.index(max(y))]:g}" if max(y) > y[-1] else ""


def _draw_references(axes, references, unit):
    styles = itertools.cycle([(4, 3), (1, 2), (6, 2, 1, 2)])
    for (label, share), dashes in zip(references.items(), styles):
        label = f"{label}  {_shown(share, unit)}"
        axes.axhline(share, color=MUTED, label=label, dashes=dashes, linewidth=1.4)


def _number(value):
    """A finite float, or None where a cell of a CSV row holds no such number."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _curve(rows, x_name, y_name):
    points = [(_number(row.get(x_name)), _number(row.get(y_name))) for row in rows]
    points = [(x, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def _span(values):
    """The x limits all panels share: a little more than their values, a whole step around a single one."""
    low, high = min(values), max(values)
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def _shown(value, unit):
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.4g}"


def _style(axes, title, unit, x_name):
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel(x_name, color=MUTED)
    if unit == "%":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0, symbol=" %"))
        # Whole percents only: a tick at 2.5 would be shown as 2.
        axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    elif unit:
        axes.set_ylabel(unit, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelsize=9.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _limits(axes, unit, floor_at_zero):
    low, high = axes.get_ylim()
    if unit == "%":
        # At least ten points are shown, so that noise does not look like progress.
        middle, half = (low + high) / 2, max(high - low, 0.1) / 2
        low, high = max(middle - half, 0.0), min(middle + half, 1.0)
        axes.set_ylim(low - 0.004 * (low == 0), high + 0.004 * (high == 1))
    elif floor_at_zero:
        axes.set_ylim(bottom=0.0)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
