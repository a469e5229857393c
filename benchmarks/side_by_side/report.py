"""What a comparison prints: rates with their spread, ratios, and how the time of a series grows."""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.side_by_side.turns import Measured

HEADER = """\
| comparison | case | ours | best peer | ours / best peer | goal |
|---|---|---|---|---|---|"""
OWN_FIGURES = ("seconds", "processor_seconds", "memory")


def lines_of(measured: Measured) -> Iterator[str]:
    """Yield one line for every side of a case, then one with the ratio."""
    yield f"{measured.comparison}: {measured.case.name}"
    for name, rounds in measured.rounds.items():
        figures = "".join(
            f", {figure} {value:.6g}" for figure, value in rounds[-1].items() if figure not in OWN_FIGURES
        )
        processor = statistics.median(figures["processor_seconds"] for figures in rounds)
        yield (
            f"  {name:<26} {speed(measured, name)}, {processor:.3g} s of processor, "
            f"{measured.memory(name) / 2**20:,.0f} MiB{figures}"
        )
    if ratios := measured.ratios():
        yield f"  {measured.ours} / {measured.best_peer}: {spread(ratios)}"


def row_of(measured: Measured) -> str:
    """Return the row of a case in the table."""
    ours, peer, ratios = measured.ours, measured.best_peer, measured.ratios()
    cells = [
        measured.comparison,
        measured.case.name,
        speed(measured, ours) if ours else "",
        f"{peer}: {speed(measured, peer)}" if peer else "",
        spread(ratios) if ratios else "",
        goal(measured),
    ]
    return f"| {' | '.join(cells)} |"


def speed(measured: Measured, side: str) -> str:
    """Return the median and the quartiles of a side: seconds of a call, else units per second."""
    case, seconds = measured.case, measured.seconds(side)
    if case.units == 1:
        return f"{spread(seconds)} s"
    return f"{spread([case.units / value for value in seconds])} {case.unit}/s"


def spread(values: Sequence[float]) -> str:
    """Return the median and the quartiles of values as text."""
    if len(values) == 1:
        return short(values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{short(middle)} ({short(low)}-{short(high)})"


def short(value: float) -> str:
    """Return a number with three digits, in full from 100."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def goal(measured: Measured) -> str:
    """Return the goal of a case and whether it was reached; nothing if it has none or was not measured."""
    case, ratios = measured.case, measured.ratios()
    if case.most_seconds is not None and measured.ours:
        reached, text = measured.median(measured.ours) <= case.most_seconds, f"{case.most_seconds:g} s"
    elif case.least_ratio is not None and ratios:
        reached, text = statistics.median(ratios) >= case.least_ratio, f"{case.least_ratio:g}"
    else:
        return ""
    return f"{text}: {'reached' if reached else 'missed'}"


def series_of(cases: Sequence[Measured]) -> dict[str, list[tuple[float, Measured]]]:
    """Return, for every series, its measured cases with their sizes, smallest first."""
    series: dict[str, list[tuple[float, Measured]]] = {}
    for measured in cases:
        if measured.case.size is not None and measured.ours:
            series.setdefault(measured.case.series, []).append((measured.case.size, measured))
    return {name: sorted(points, key=lambda point: point[0]) for name, points in series.items()}


def growth_lines(cases: Sequence[Measured]) -> Iterator[str]:
    """Yield a line for every series: the exponents of time and memory between neighboring sizes; 1 is linear."""
    for name, points in series_of(cases).items():
        steps = []
        for (small, first), (large, second) in itertools.pairwise(points):
            scale = math.log(large / small)
            times = second.median(second.ours) / first.median(first.ours)
            memory = (second.memory(second.ours) + 1) / (first.memory(first.ours) + 1)
            steps.append(
                f"from {small:,.0f} to {large:,.0f} time as size^{math.log(times) / scale:.2f}, "
                f"memory as size^{math.log(memory) / scale:.2f}"
            )
        if steps:
            yield f"{name} grows {'; '.join(steps)}"
