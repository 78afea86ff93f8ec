"""The figures of every task: time against score, time over S, and the scores of single cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.core.stats import UNKNOWN, Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import AFFINITY, MethodKey
from semrsm_bench.report.formatting import OPTIMAL_TOLERANCE, format_seconds, plural
from semrsm_bench.report.layout import Layout, Sheet
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.score_axis import ScoreAxis
from semrsm_bench.report.style import GREY, Look, method_legend, new_figure, new_panels, seconds_axis, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A point this many times faster than the next one (the baseline that computes nothing) would squeeze all others together.
_FAR = 20.0
# Up to so many cases are drawn one by one over the box; more would hide each other.
_DRAWN_CASES = 60
# Where k_opt is barely positive the ratio can be any negative number.
_LOWEST_RATIO = -1.0
# Room that a name takes beside a point: a share of the axis, and decades of the time.
_LABEL_HEIGHT, _LABEL_DECADES = 0.07, 1.5
FRONT_NOTE = (
    "Up and to the left is better. On the line: no other method is at least as fast and as good. Pale: one is. Open: only a bound "
    "is known. Medians of the time with 95 % intervals."
)


@dataclass(frozen=True)
class Point:
    """A method in the plane of time, end to end, and score; of ``cost``, the gap of a quality, smaller is better."""

    method: MethodKey
    seconds: float
    value: float
    cost: float
    is_bound: bool = False


def front_points(results: TaskResults, cell: str, score: Score | None = None) -> list[Point]:
    """Points of one cell, fastest first, in the task's first score or another; methods without a time or a score are left out."""
    score = score or results.task.scores[0]
    points = []
    for (key, method), summary in results.cells.items():
        seconds, value = summary.total_seconds.value, summary.scores.get(score.name, UNKNOWN).value
        if is_bound := math.isnan(value):
            value = summary.bounds.get(score.name, math.nan)
        if key == cell and seconds > 0 and math.isfinite(value):
            cost = -value if score.best == "max" else value
            if score.style == "quality":
                cost = 0.0 if 1 - value <= OPTIMAL_TOLERANCE else 1 - value
            points.append(Point(method, seconds, value, cost, is_bound))
    return sorted(points, key=lambda p: (p.seconds, p.cost))


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, fastest first; equal points do not dominate each other, so both stay."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds, p.cost)):
        last = front[-1] if front else None
        if last is None or point.cost < last.cost or (point.cost, point.seconds) == (last.cost, last.seconds):
            front.append(point)
    return front


def named_points(front: Sequence[Point], axis: ScoreAxis) -> list[Point]:
    """The points of a front whose names do not cover each other; the better of two neighbours keeps its name."""
    kept: list[Point] = []
    height = (axis.high - axis.low) * _LABEL_HEIGHT
    for point in reversed(front):
        y, x = axis.place(point.value), math.log10(point.seconds)
        if all(abs(axis.place(p.value) - y) > height or abs(math.log10(p.seconds) - x) > _LABEL_DECADES for p in kept):
            kept.append(point)
    return kept


def draw_front(layout: Layout, sheet: Sheet, caption: str) -> Figure | None:
    """One panel per cell, better is up, with a band for the optimum of a quality; None where no cell has a point."""
    drawn = {cell: points for cell in sheet.cells if (points := front_points(layout.results, cell))}
    if not drawn:
        return None
    axis = ScoreAxis.covering(layout.results.task.scores[0], (p.value for points in drawn.values() for p in points))
    each = (4.4, 3.3) if len(drawn) > 1 else (6.4, 3.5)
    figure, grid = new_panels(len(drawn), min(2, len(drawn)), each, (1.6, 0.0), [FRONT_NOTE, caption])
    for axes, (cell, points) in zip(grid.flat, drawn.items()):
        front_panel(axes, layout, cell, points, axis, each[0] - 1)
        set_title(axes, layout.group_title(sheet, cell), each[0])
    for row in grid:
        row[0].set_ylabel(axis.title)
    shown = {point.method for points in drawn.values() for point in points}
    method_legend(figure, {layout.names[m]: look for m, look in layout.looks.items() if m in shown}, beside=True)
    return figure


def front_panel(axes: Axes, layout: Layout, cell: str, points: Sequence[Point], axis: ScoreAxis, width: float) -> None:
    """Draw the points of a cell and their front; ``width`` in inches is that of the axes."""
    from matplotlib.patheffects import withStroke

    near = points
    # Baselines far faster than all others are at the edge.
    while len(near) > 1 and near[0].method.category == "baseline" and near[1].seconds > _FAR * near[0].seconds:
        near = near[1:]
    left, right = near[0].seconds / (2.2 if len(near) == len(points) else 4.5), near[-1].seconds * 3
    axes.set(xscale="log", xlim=(left, right), xlabel=layout.total_time_label)
    axis.apply(axes.yaxis)
    if axis.optimum is not None:
        axes.axhspan(axis.optimum - 0.25, axis.optimum + 0.25, color="#eef4f8", zorder=0)
    seconds_axis(axes.xaxis)
    axes.grid(True, which="major")
    front = pareto_front(points)
    place = {p: (p.seconds if p in near else left * 1.25, axis.place(p.value)) for p in points}
    xs, ys = [*(place[p][0] for p in front), right], [place[p][1] for p in (*front, front[-1])]
    axes.plot(xs, ys, color="#555555", lw=1.1, zorder=1, ds="steps-post")
    axes.fill_between(xs, ys, axes.get_ylim()[0], color="#f4f4f4", lw=0, zorder=-1, step="post")
    for point, (x, y) in place.items():
        look, on_front = layout.looks[point.method], point in front
        time, alpha = layout.results.cells[cell, point.method].total_seconds, 1.0 if on_front else 0.4
        if point in near and time.high > time.low:
            axes.plot([time.low, time.high], [y, y], color=look.color, lw=0.9, alpha=alpha, zorder=2)
        edge: dict[str, Any] = {
            "mec": "black" if on_front else look.color,
            "mfc": "white" if point.is_bound else look.color,
            "mew": 0.7,
        }
        axes.plot(
            [x], [y], ls="none", marker=look.marker if point in near else "<", ms=6.5, alpha=alpha, zorder=3, **edge
        )
    for point in named_points(front, axis):
        x, y = place[point]
        name = layout.names[point.method] + ("" if point in near else f", {format_seconds(point.seconds)}")
        # No point can be to the upper left of the front; labels of the first ones would be cut off there.
        fits = math.log(x / left) / math.log(right / left) * width > 0.068 * len(name)
        style: dict[str, Any] = {
            "fontsize": 7.6,
            "fontweight": "bold",
            "va": "bottom",
            "ha": "right" if fits else "left",
        }
        halo = [withStroke(linewidth=2, foreground="white")]
        axes.annotate(
            name, (x, y), path_effects=halo, xytext=(-5 if fits else 4, 2), textcoords="offset points", **style
        )


def draw_runtime(layout: Layout, sheet: Sheet, caption: str) -> Figure | None:
    """Median time of the call over S, a line per method and for what they share; of cells with equal S the first; None without."""
    results = layout.results
    cells = {int(results.places[cell].get("size") or 0): cell for cell in reversed(sheet.cells)}
    lines: dict[MethodKey, dict[int, Interval]] = {}
    for method in (*results.methods, AFFINITY):
        times = {c: s.seconds for (c, m), s in results.cells.items() if m == method} or results.shared
        known = {s: times[c] for s, c in sorted(cells.items()) if s and c in times and times[c].value > 0}
        if known:
            lines[method] = known
    if not lines:
        return None
    figure = new_figure(7.6, max(4.0, 0.62 + 0.19 * len(lines)), [caption])
    axes = figure.subplots()
    sizes = sorted({size for known in lines.values() for size in known})
    axes.set(xlabel="positions S", ylabel=f"time per {results.timed}{', solve alone' if results.shared else ''}")
    axes.set(xlim=(sizes[0] / 1.25, sizes[-1] * 1.12), yscale="log")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, map(str, sizes))
    axes.minorticks_off()
    seconds_axis(axes.yaxis)
    axes.grid(True, which="major")
    set_title(axes, layout.title(sheet), 5.5)
    # The legend has the order in which the lines end.
    for method in sorted(lines, key=lambda m: -[*lines[m].values()][-1].value):
        look, places = layout.looks.get(method, Look(GREY, "|")), [*lines[method]]
        edge: dict[str, Any] = {"ms": 5, "mec": "black", "mew": 0.4, "label": layout.names[method]}
        axes.plot(
            places, [t.value for t in lines[method].values()], color=look.color, marker=look.marker, lw=1.3, **edge
        )
        axes.vlines(places, *zip(*((t.low, t.high) for t in lines[method].values())), color=look.color, lw=1.0)
    figure.legend(loc="outside right upper", fontsize=7.6, handlelength=2.4)
    return figure


def draw_cases(layout: Layout, sheet: Sheet, caption: str) -> Figure | None:
    """Boxes over the cases: a row of panels per score that single cases have, a column per cell; None without any."""
    results = layout.results
    # The score that ranks is below, beside the axis that it shares with other figures.
    values = {score: results.case_values(score.name) for score in reversed(results.task.scores)}
    samples = {
        score: {key: v for key, v in found.items() if key[0] in sheet.cells and key[1].category != "exact"}
        for score, found in values.items()
        if found
    }
    known = {key for found in samples.values() for key in found}
    drawn = [cell for cell in sheet.cells if any(c == cell for c, _ in known)]
    methods = [m for m in results.methods if any(other == m for _, other in known)]
    if not drawn:
        return None
    note = f"Box: quartiles, line: median, whiskers: all cases ({layout.cases(sheet)} each)."
    if any(m.category == "exact" for m in results.methods):
        note += " Exact solvers are the optimum and left out."
    for score, found in samples.items():
        outside = sum(int((v < _LOWEST_RATIO).sum()) for v in found.values()) if score.style == "percent" else 0
        if outside:
            note += f" {plural(outside, 'value')} of {score.title.removesuffix(' %')} below −{abs(_LOWEST_RATIO):g} not shown."
    names = [layout.names[m] for m in methods]
    each, around = (2.1, 1.0 + 0.2 * len(methods)), (0.5 + 0.082 * max(map(len, names)), 0.2)
    shared: dict[str, Any] = {"sharey": True, "sharex": "row", "caption": [note, caption]}
    figure, grid = new_panels(len(samples) * len(drawn), len(drawn), each, around, **shared)
    for row, (score, found) in zip(grid, samples.items()):
        lowest = _LOWEST_RATIO if score.style == "percent" else -math.inf
        axis = ScoreAxis.covering(score, (x for v in found.values() for x in v), lowest)
        for axes, cell in zip(row, drawn):
            axes.grid(True, axis="x")
            axes.set(xlabel=axis.title, ylim=(len(methods) - 0.4, -0.6))
            axes.set_yticks(range(len(methods)), names)
            axis.apply(axes.xaxis, sparse=True)
            for place, method in enumerate(methods):
                if (cell, method) in found:
                    _box(axes, place, [axis.place(v) for v in found[cell, method]], layout.looks[method].color)
    for axes, cell in zip(grid[0], drawn):
        set_title(axes, layout.cell_title(sheet, cell), each[0])
    return figure


def _box(axes: Axes, place: int, values: Sequence[float], color: str) -> None:
    low, first, middle, third, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    axes.hlines(place, low, high, color=color, lw=1.0)
    axes.barh(place, third - first, left=first, height=0.52, color=(color, 0.35), edgecolor=color, lw=0.9)
    axes.vlines(middle, place - 0.34, place + 0.34, color="black", lw=1.4)
    if len(values) <= _DRAWN_CASES:
        # A fixed pattern instead of chance: the same figure every time.
        offset = ((np.arange(len(values)) * 0.618) % 1 - 0.5) * 0.4
        axes.plot(values, place + offset, ls="none", marker=".", ms=2.6, color="#333333", alpha=0.6, mew=0)
