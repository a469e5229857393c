"""One chart of all measured cases: bars of the ratios to the best peer, and a line for every series that grows."""

import statistics
from collections.abc import Sequence

from benchmarks.side_by_side.report import series_of
from benchmarks.side_by_side.turns import Measured


def draw(cases: Sequence[Measured], path: str) -> None:
    """Write the chart as a picture.

    Args:
        cases: all measured ones.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    compared = [(measured, ratios) for measured in cases if (ratios := measured.ratios())]
    series = {name: points for name, points in series_of(cases).items() if len(points) > 1}
    parts = bool(compared) + bool(series)
    if not parts:
        return
    figure, axes = plt.subplots(
        1, parts, figsize=(8 * parts, 2 + 0.3 * max(len(compared), 12)), layout="constrained", squeeze=False
    )
    axes = list(axes[0])
    if compared:
        _draw_ratios(axes.pop(0), compared)
    if series:
        _draw_series(axes.pop(0), series)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_ratios(axis, compared):
    middles = [statistics.median(ratios) for _, ratios in compared]
    below = [middle - min(ratios) for middle, (_, ratios) in zip(middles, compared)]
    above = [max(ratios) - middle for middle, (_, ratios) in zip(middles, compared)]
    names = [f"{measured.comparison}: {measured.case.name}" for measured, _ in compared]
    colors = ["tab:green" if middle >= 1 else "tab:red" for middle in middles]
    axis.barh(names, middles, xerr=[below, above], color=colors, alpha=0.7)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.invert_yaxis()
    axis.set_xlabel("times as fast as the best peer (median; the line spans all rounds)")


def _draw_series(axis, series):
    for name, points in series.items():
        # Relative to the first one, so that series of any unit lie in one picture.
        first_size, first = points[0]
        sizes = [size / first_size for size, _ in points]
        times = [measured.median(measured.ours) / first.median(first.ours) for _, measured in points]
        axis.plot(sizes, times, marker="o", label=f"{name}, from {first_size:,.0f}")
    widest = max(size / points[0][0] for points in series.values() for size, _ in points)
    axis.plot([1, widest], [1, widest], color="black", linestyle="dotted", label="linear")
    axis.set(xscale="log", yscale="log", xlabel="size", ylabel="seconds", title="Relative to the smallest")
    axis.legend()
