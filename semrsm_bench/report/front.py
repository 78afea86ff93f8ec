"""Time against quality: who is dominated, and the figure that shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BlockKey, Cell, SolverKey
from semrsm_bench.report.formatting import OPTIMAL_TOLERANCE, format_seconds, plural
from semrsm_bench.report.gap_axis import GapAxis
from semrsm_bench.report.labels import label_points
from semrsm_bench.report.style import GREY, Look, add_caption, caption_text, new_figure, seconds_axis, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A point this many times faster than the next one (the baseline that computes nothing) would squeeze all others together.
_FAR = 20.0


@dataclass(frozen=True)
class Point:
    """A solver in the plane of time and quality.

    Attributes
    ----------
    seconds : float
        End to end, per pair.
    gap : float
        ``1 - c``; 0 for the optimum.
    """

    solver: SolverKey
    seconds: float
    gap: float
    is_bound: bool = False

    def dominates(self, other: Point) -> bool:
        """Neither slower nor worse, and faster or better."""
        no_worse = self.seconds <= other.seconds and self.gap <= other.gap
        return no_worse and (self.seconds < other.seconds or self.gap < other.gap)


def front_points(cells: Mapping[tuple[BlockKey, SolverKey], Cell], block: BlockKey) -> list[Point]:
    """Points of one block, fastest first; cells without a time or a quality are left out."""
    points = []
    for (key, solver), cell in cells.items():
        seconds, c = cell.total_seconds.value, cell.chance_corrected.value
        if key == block and seconds > 0 and math.isfinite(c):
            gap = 1 - c
            points.append(
                Point(solver, seconds, 0.0 if gap <= OPTIMAL_TOLERANCE else gap, cell.chance_corrected_is_bound)
            )
    return sorted(points, key=lambda p: (p.seconds, p.gap))


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, fastest first.

    Equal points do not dominate each other, so both stay.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds, p.gap)):
        if not front or point.gap < front[-1].gap or (point.gap, point.seconds) == (front[-1].gap, front[-1].seconds):
            front.append(point)
    return front


def draw_front(
    cells: Mapping[tuple[BlockKey, SolverKey], Cell],
    blocks: Sequence[BlockKey],
    catalogue: Catalogue,
    style: Mapping[SolverKey, Look],
    caption: Sequence[str],
) -> Figure | None:
    """One panel per block; None where no block has a point.

    The vertical axis is the gap to the optimum on a logarithmic scale, better upwards, with a band for the optimum itself.
    Solvers on the front are bold and joined by a line; those that another one beats in both time and quality are pale.
    """
    drawn = [(block, points) for block in blocks if (points := front_points(cells, block))]
    if not drawn:
        return None
    columns = min(2, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    width, panel_height = (9.6 if columns == 2 else 6.4), 3.4
    text, foot = caption_text(caption, width)
    figure = new_figure(width, rows * panel_height + foot)
    grid = figure.subplots(rows, columns, squeeze=False)
    height = rows * panel_height + foot
    figure.subplots_adjust(
        left=0.85 / width,
        right=1 - 0.12 / width,
        top=1 - 0.3 / height,
        bottom=(foot + 0.5) / height,
        wspace=0.2,
        hspace=0.36,
    )
    gap_axis = GapAxis.covering(p.gap for _, points in drawn for p in points)
    for axes, (block, points) in zip(grid.flat, drawn):
        _draw_panel(axes, block, points, cells, style, catalogue, gap_axis)
    for axes in grid[:, 0]:
        axes.set_ylabel("gap to the optimum, 1 − c")
    for axes in list(grid.flat)[len(drawn) :]:
        axes.set_visible(False)
    add_caption(figure, text)
    return figure


def _draw_panel(
    axes: Axes,
    block: BlockKey,
    points: Sequence[Point],
    cells: Mapping[tuple[BlockKey, SolverKey], Cell],
    style: Mapping[SolverKey, Look],
    catalogue: Catalogue,
    gap_axis: GapAxis,
) -> None:

    near = _near(points)
    far = [p for p in points if p not in near]
    left = min(p.seconds for p in near) / (2.2 if not far else 4.5)
    right = max(p.seconds for p in near) * 3
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(gap_axis.lowest - 0.25, gap_axis.optimum + 0.8)
    axes.set_yticks(*gap_axis.ticks())
    axes.axhspan(gap_axis.optimum - 0.25, gap_axis.optimum + 0.25, color="#eef4f8", zorder=0)
    axes.set_xlabel("time per pair, affinity included")
    seconds_axis(axes.xaxis)
    axes.grid(True, which="major")
    pairs = max((cells[block, p.solver].ok for p in points), default=0)
    axes.set_title(
        f"S = {block.size}" + (f"  ({block.layer}, {plural(pairs, 'pair')})" if block.layer else ""), loc="left"
    )

    front = pareto_front(points)
    place = {p: (left * 1.25 if p in far else p.seconds, gap_axis.place(p.gap)) for p in points}
    steps_x = [*[x for p in front for x in (place[p][0], place[p][0])][1:], right]
    steps_y = [y for p in front for y in (place[p][1], place[p][1])]
    axes.plot(steps_x, steps_y, color="#555555", lw=1.1, zorder=1)
    axes.fill_between(steps_x, steps_y, axes.get_ylim()[0], color="#f4f4f4", lw=0, zorder=-1)
    texts, colors, sizes, weights, bars = [], [], [], [], []
    # The front is labelled first and gets the best places.
    ordered = [*front, *(p for p in points if p not in front)]
    for point in ordered:
        look, on_front = style[point.solver], point in front
        x, y = place[point]
        cell = cells[block, point.solver]
        if point not in far and cell.total_seconds.high > cell.total_seconds.low:
            ends = [cell.total_seconds.low, cell.total_seconds.high]
            axes.plot(ends, [y, y], color=look.color, lw=0.9, alpha=0.9 if on_front else 0.35, zorder=2)
            bars.append([(ends[0], y), (min(ends[1], right), y)])
        axes.plot(
            [x],
            [y],
            marker="<" if point in far else look.marker,
            ms=6.5,
            color=look.color,
            mec="black" if on_front else look.color,
            mew=0.7,
            alpha=1.0 if on_front else 0.4,
            ls="none",
            zorder=3,
        )
        name = short(catalogue.display_name(point.solver))
        name = f"{name}, {format_seconds(point.seconds)}" if point in far else name
        texts.append(f"{name} (at least)" if point.is_bound else name)
        colors.append("black" if on_front else GREY)
        sizes.append(7.6 if on_front else 6.8)
        weights.append("bold" if on_front else "normal")
    label_points(
        axes,
        [place[p] for p in ordered],
        texts,
        colors=colors,
        sizes=sizes,
        weights=weights,
        lines=[list(zip(steps_x, steps_y)), *bars],
    )


def _near(points: Sequence[Point]) -> list[Point]:
    """Points without the few baselines that are out of the others' range on the fast side."""
    near = sorted(points, key=lambda p: p.seconds)
    while len(near) > 1 and near[0].solver.kind == "baseline" and near[1].seconds > _FAR * near[0].seconds:
        near = near[1:]
    return near
