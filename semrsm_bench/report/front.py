"""Time against score: who is dominated, and the figure that shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semrsm_bench.core.stats import Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.formatting import OPTIMAL_TOLERANCE, format_seconds
from semrsm_bench.report.labels import Label, label_points
from semrsm_bench.report.layout import Layout, Sheet
from semrsm_bench.report.notes import case_noun
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.score_axis import ScoreAxis
from semrsm_bench.report.style import GREY, captioned_figure, seconds_axis, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A point this many times faster than the next one (the baseline that computes nothing) would squeeze all others together.
_FAR = 20.0
FRONT_NOTE = (
    "Up and to the left is better. Bold, on the line: no other method is at least as fast and as good. Pale: one is. "
    "Crosses: baselines. Medians of the time with 95 % intervals."
)


@dataclass(frozen=True)
class Point:
    """A method in the plane of time and score.

    ``seconds`` are end to end, per case. Of ``cost`` smaller is better: ``1 - value`` of a quality, 0 at its optimum; the value
    or its negative otherwise.
    """

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
        seconds = summary.total_seconds.value
        interval, bound = summary.scores.get(score.name), summary.bounds.get(score.name)
        value = interval.value if interval is not None else math.nan
        is_bound = math.isnan(value) and bound is not None
        value = bound if is_bound and bound is not None else value
        if key == cell and seconds > 0 and math.isfinite(value):
            points.append(Point(method, seconds, value, _cost(score, value), is_bound))
    return sorted(points, key=lambda p: (p.seconds, p.cost))


def _cost(score: Score, value: float) -> float:
    if score.style == "quality":
        return 0.0 if 1 - value <= OPTIMAL_TOLERANCE else 1 - value
    return -value if score.best == "max" else value


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, fastest first.

    Equal points do not dominate each other, so both stay.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds, p.cost)):
        if (
            not front
            or point.cost < front[-1].cost
            or (point.cost, point.seconds) == (front[-1].cost, front[-1].seconds)
        ):
            front.append(point)
    return front


def draw_front(layout: Layout, sheet: Sheet, caption: str) -> Figure | None:
    """One panel per cell; None where no cell has a point.

    Better is up: of a quality the gap to the optimum on a logarithmic scale, with a band for the optimum itself. Methods on the
    front are bold and joined by a line; those that another one beats in both time and score are pale.
    """
    drawn = [(cell, points) for cell in sheet.cells if (points := front_points(layout.results, cell))]
    if not drawn:
        return None
    columns = min(2, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    width, panel_height = (9.6 if columns == 2 else 6.4), 3.4
    margins = (0.85, 0.12, 0.3, 0.5)
    figure = captioned_figure(width, rows * panel_height, [FRONT_NOTE, caption], margins, wspace=0.2, hspace=0.36)
    grid = figure.subplots(rows, columns, squeeze=False)
    score_axis = ScoreAxis.covering(layout.results.task.scores[0], (p.value for _, points in drawn for p in points))
    for axes, (cell, points) in zip(grid.flat, drawn):
        times = {p: layout.results.cells[cell, p.method].total_seconds for p in points}
        _draw_panel(axes, layout, times, score_axis)
        axes.set_title(layout.group_title(sheet, cell), loc="left")
    for axes in grid[:, 0]:
        axes.set_ylabel(score_axis.title)
    for axes in list(grid.flat)[len(drawn) :]:
        axes.set_visible(False)
    return figure


def _draw_panel(
    axes: Axes,
    layout: Layout,
    times: Mapping[Point, Interval],
    score_axis: ScoreAxis,
) -> None:
    points = list(times)
    near = _near(points)
    far = [p for p in points if p not in near]
    left = min(p.seconds for p in near) / (2.2 if not far else 4.5)
    right = max(p.seconds for p in near) * 3
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    score_axis.apply(axes.yaxis)
    if score_axis.optimum is not None:
        axes.set_ylim(score_axis.low, score_axis.optimum + 0.8)
        axes.axhspan(score_axis.optimum - 0.25, score_axis.optimum + 0.25, color="#eef4f8", zorder=0)
    noun = case_noun(layout.results.task.unit)
    axes.set_xlabel(f"time per {noun}" + (", affinity included" if layout.results.shared else ""))
    seconds_axis(axes.xaxis)
    axes.grid(True, which="major")

    front = pareto_front(points)
    place = {p: (left * 1.25 if p in far else p.seconds, score_axis.place(p.value)) for p in points}
    steps_x = [*[x for p in front for x in (place[p][0], place[p][0])][1:], right]
    steps_y = [y for p in front for y in (place[p][1], place[p][1])]
    axes.plot(steps_x, steps_y, color="#555555", lw=1.1, zorder=1)
    axes.fill_between(steps_x, steps_y, axes.get_ylim()[0], color="#f4f4f4", lw=0, zorder=-1)
    labels, bars = [], []
    # The front is labelled first and gets the best places.
    for point in [*front, *(p for p in points if p not in front)]:
        look, on_front, is_far = layout.looks[point.method], point in front, point in far
        x, y = place[point]
        time = times[point]
        if not is_far and time.high > time.low:
            pale = 0.9 if on_front else 0.35
            axes.plot([time.low, time.high], [y, y], color=look.color, lw=0.9, alpha=pale, zorder=2)
            bars.append([(time.low, y), (min(time.high, right), y)])
        dot: dict[str, Any] = {"marker": "<" if is_far else look.marker, "ms": 6.5, "color": look.color, "mew": 0.7}
        dot |= {"mec": "black" if on_front else look.color, "alpha": 1.0 if on_front else 0.4, "ls": "none"}
        axes.plot([x], [y], zorder=3, **dot)
        name = short(layout.results.catalogue.display_name(point.method))
        name = f"{name}, {format_seconds(point.seconds)}" if is_far else name
        name = f"{name} (at least)" if point.is_bound else name
        labels.append(Label((x, y), name, *(("black", 7.6, "bold") if on_front else (GREY, 6.8, "normal"))))
    label_points(axes, labels, [list(zip(steps_x, steps_y)), *bars])


def _near(points: Sequence[Point]) -> list[Point]:
    """Points without the few baselines that are out of the others' range on the fast side."""
    near = sorted(points, key=lambda p: p.seconds)
    while len(near) > 1 and near[0].method.category == "baseline" and near[1].seconds > _FAR * near[0].seconds:
        near = near[1:]
    return near
