"""The figure at the end of a run: losses, accuracies and the learning rate over its epochs."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from simclr_keras.errors import InputError
from simclr_keras.evaluation.colors import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PURPLE
from simclr_keras.evaluation.drawing import new_figure, own_style

# One entry per panel: title, unit, and its columns as {column: (label, color)}.
# Columns in "%" are shares in [0, 1] in metrics.csv.
_PANELS = (
    (
        "Contrastive loss",
        "nats, both directions summed",
        {"contrastive_loss": ("training", BLUE), "contrastive_loss_of_chance": ("guessing", MUTED)},
    ),
    (
        "Loss",
        "nats",
        {
            "loss": ("total", BLUE),
            "distillation_loss": ("distillation", GREEN),
            "label_loss": ("labels", ORANGE),
            "loss_of_chance": ("guessing", MUTED),
        },
    ),
    ("Contrastive accuracy", "%", {"contrastive_accuracy": ("training", BLUE)}),
    ("Training accuracy", "%", {"accuracy": ("training", BLUE)}),
    ("Agreement with the teacher", "%", {"agreement": ("training", BLUE)}),
    (
        "Top-1 on the evaluation split",
        "%",
        {"knn_top1": ("kNN", GREEN), "probe_top1": ("online linear probe", ORANGE)},
    ),
    ("Accuracy on the evaluation split", "%", {"top1": ("top-1", GREEN), "top5": ("top-5", PURPLE)}),
    ("Learning rate", "", {"learning_rate": ("learning rate", PURPLE)}),
)
_EVALUATIONS = {"knn_top1", "probe_top1", "top1", "top5"}


@own_style()
def curves_figure(rows: Sequence[Mapping], references: Mapping[str, float] | None = None) -> Figure:
    """Return a panel for each kind of loss and accuracy in the history of a run.

    Args:
        rows: dicts as read from metrics.csv, numbers or their text, in order. `epoch` is the x axis, or `step` if
            there is none. Values that are missing, empty or not finite are left out. Known columns:
            contrastive_loss, loss, distillation_loss and label_loss (nats), dashed contrastive_loss_of_chance and
            loss_of_chance; contrastive_accuracy, accuracy, agreement, knn_top1, probe_top1, top1 and top5 (shares in
            [0, 1]); learning_rate.
        references: {label: share in [0, 1]}, dashed lines beside the accuracies on the evaluation split, such as the
            kNN accuracy of raw pixels or the top-1 of a teacher; or None.

    Returns:
        A Figure with one axes per panel; panels without values are left out.

    Raises:
        InputError: no known column contains a value.
    """
    x_name = "epoch" if any(_number(row.get("epoch")) is not None for row in rows) else "step"
    panels = []
    for title, unit, columns in _PANELS:
        curves = {name: _curve(rows, x_name, name) for name in columns}
        # With five classes or fewer, top-5 is always 1.
        curves = {n: (x, y) for n, (x, y) in curves.items() if x and not (n == "top5" and min(y) == 1)}
        if curves:
            panels.append((title, unit, columns, curves))
    if not panels:
        names = ", ".join(name for _, _, columns in _PANELS for name in columns)
        raise InputError(f"there is no curve to draw: rows need epoch or step and some of {names}")

    across = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    down = math.ceil(len(panels) / across)
    figure = new_figure(480 * across + 80, 380 * down)
    shared = None
    for number, (title, unit, columns, curves) in enumerate(panels):
        axes = shared = figure.add_subplot(down, across, number + 1, sharex=shared)
        for name, alike in _distinct(curves):
            x, y = curves[name]
            color = columns[name][1]
            label = f"{', '.join(columns[other][0] for other in alike)}  {_text(y[-1], unit)}"
            if name == "top1" and max(y) > y[-1]:
                label += f", best {_text(max(y), unit)} at {x_name} {x[y.index(max(y))]:g}"
            style = (
                {"linestyle": "--"}
                if name.endswith("of_chance")
                else {"marker": "o" if len(x) <= 40 else None, "markersize": 4}
            )
            axes.plot(x, y, color=color, label=label, **style)
        if _EVALUATIONS & curves.keys():
            for (label, share), style in zip(
                (references or {}).items(), ("--", ":", "-.") * len(references or {})
            ):
                axes.axhline(share, color=MUTED, label=f"{label}  {_text(share, unit)}", linestyle=style)
        _style(axes, title, unit, x_name)
    return figure


def _distinct(curves):
    """Return (name, names of all curves like it) of each distinct curve: of equal ones, only the last would be seen."""
    groups = {}
    for name, (x, y) in curves.items():
        groups.setdefault((*x, *y), []).append(name)
    return [(names[0], names) for names in groups.values()]


def _number(value):
    """Return a cell of a CSV row as a finite float, or None."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _curve(rows, x_name, y_name):
    points = [(_number(row.get(x_name)), _number(row.get(y_name))) for row in rows]
    points = [(x, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def _text(value, unit):
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.4g}"


def _style(axes: Axes, title: str, unit: str, x_name: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK)
    axes.set_xlabel(x_name, color=MUTED)
    low, high = axes.get_xlim()
    if high - low < 1:  # a single epoch
        axes.set_xlim(low - 1, high + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    # Below the panel, where it covers no line.
    entries = [text for _, text in zip(*axes.get_legend_handles_labels())]
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.13),
        ncols=2 if max(map(len, entries)) <= 28 else 1,
        frameon=False,
        labelcolor=INK,
        fontsize=9.5,
    )
    if unit == "%":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0, symbol=" %"))
        # Whole percents only: a tick at 2.5 would be shown as 2.
        axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
        # At least ten points are shown, so that noise does not look like progress.
        low, high = axes.get_ylim()
        middle, half = (low + high) / 2, max(high - low, 0.1) / 2
        axes.set_ylim(max(middle - half, -0.009), min(middle + half, 1.009))  # no tick at -1 %
    elif unit:
        axes.set_ylabel(unit, color=MUTED)
    else:
        axes.set_ylim(bottom=0.0)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
