"""The figures of a run for plotly: the same points as the figures of `semrsm-bench plot`, with what a pointer over them tells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semrsm_bench.bench.stats import Interval
from semrsm_bench.report.cells import BlockKey, SolverKey
from semrsm_bench.report.distribution import Samples, five_numbers
from semrsm_bench.report.formatting import format_gap, format_percent, plural
from semrsm_bench.report.front import Point, front_points, pareto_front
from semrsm_bench.report.gap_axis import GapAxis
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.page.drawing import (
    Plot,
    Variant,
    block_label,
    dash_of,
    error_bars,
    gap_scale,
    hover_text,
    interval_text,
    marker,
    new_figure,
    place_of,
    plain_figure,
    seconds_axis,
    shown,
)
from semrsm_bench.report.runtime import runtime_lines
from semrsm_bench.report.style import Look, short

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_STAIRS = "#555555"
# Where k_opt is barely positive the ratio can be any negative number.
_LOWEST_RATIO = -1.0
# Room that a name takes beside a point: decades of the gap, and of the time.
_LABEL_HEIGHT, _LABEL_DECADES = 0.4, 1.5


def make_plots(
    layout: Layout,
    blocks: Sequence[BlockKey],
    style: Mapping[SolverKey, Look],
    quality: Samples,
    chance_corrected: Samples,
) -> list[Plot]:
    """The plots that a run allows, in the order of the page; those without a point are left out.

    Parameters
    ----------
    layout : Layout
        Cells, affinities and names of the run.
    blocks : sequence of BlockKey
        In their order.
    style : mapping of SolverKey to Look
    quality, chance_corrected : mapping
        Values per pair, from `semrsm_bench.report.distribution.pair_values`.
    """
    groups: dict[tuple[str, str], list[BlockKey]] = {}
    for block in blocks:
        groups.setdefault((block.model, block.centring), []).append(block)
    plots = [
        Plot(
            "front",
            "Time per pair against the gap to the optimum, one point per solver; faster is to the left, better is above.",
            list(_fronts(layout, blocks, style)),
        ),
        Plot(
            "quality",
            "Gap to the optimum in each layer, one line per solver; better is above.",
            list(_qualities(layout, groups, style)),
        ),
        Plot(
            "spread",
            "Spread of the quality over the pairs of a layer, one box per solver; better is to the right.",
            list(_spreads(layout, blocks, style, quality, chance_corrected)),
        ),
        Plot(
            "runtime",
            "Time per pair over the number of positions, one line per solver.",
            list(_times(layout, groups, style)),
        ),
    ]
    return [plot for plot in plots if plot.variants]


def _fronts(layout: Layout, blocks: Sequence[BlockKey], style: Mapping[SolverKey, Look]) -> Iterator[Variant]:
    drawn = [(block, points) for block in blocks if (points := front_points(layout.cells, block))]
    gap_axis = GapAxis.covering(p.gap for _, points in drawn for p in points)
    for block, points in drawn:
        front = pareto_front(points)
        labelled = _apart(front, gap_axis)
        figure = new_figure()
        right = max(p.seconds for p in points) * 2
        stairs = [*((p.seconds, gap_axis.place(p.gap)) for p in front), (right, gap_axis.place(front[-1].gap))]
        figure.add_scatter(
            x=[x for x, _ in stairs],
            y=[y for _, y in stairs],
            mode="lines",
            line={"shape": "hv", "color": _STAIRS, "width": 1.2},
            hoverinfo="skip",
            showlegend=False,
        )
        for point in sorted(points, key=lambda p: list(style).index(p.solver)):
            _add_point(figure, layout, block, point, front, labelled, style[point.solver], gap_axis)
        seconds_axis(figure.layout.xaxis, "time per pair, affinity included")
        gap_scale(figure, figure.layout.yaxis, gap_axis, "y")
        label = block_label(block, blocks)
        title = f"{label}, centring {block.centring}, {plural(layout.usual_pairs(block), 'pair')}"
        yield Variant({"S": label, "Centring": block.centring}, title, plain_figure(figure))


def _apart(front: Sequence[Point], gap_axis: GapAxis) -> list[Point]:
    """The points of a front whose names do not cover each other; the better of two neighbours keeps its name."""
    kept: list[Point] = []
    for point in reversed(front):
        height, right = gap_axis.place(point.gap), math.log10(point.seconds)
        if all(
            abs(gap_axis.place(p.gap) - height) > _LABEL_HEIGHT or abs(math.log10(p.seconds) - right) > _LABEL_DECADES
            for p in kept
        ):
            kept.append(point)
    return kept


def _add_point(
    figure: Figure,
    layout: Layout,
    block: BlockKey,
    point: Point,
    front: Sequence[Point],
    labelled: Sequence[Point],
    look: Look,
    gap_axis: GapAxis,
) -> None:
    name = layout.catalogue.display_name(point.solver)
    time = layout.cells[block, point.solver].total_seconds
    on_front = point in front
    verdict = (
        "no other solver is at least as fast and as good"
        if on_front
        else "another solver is at least as fast and as good"
    )
    figure.add_scatter(
        x=[point.seconds],
        y=[gap_axis.place(point.gap)],
        error_x=error_bars(time),
        mode="markers+text" if point in labelled else "markers",
        text=[shown(short(name))] if point in labelled else None,
        # To the upper left of the front no point can stand; the first one would be cut off there.
        textposition="top right" if point == front[0] else "top left",
        textfont={"size": 11},
        name=shown(name),
        opacity=1.0 if on_front else 0.5,
        marker=marker(look, point.is_bound),
        hovertext=hover_text(layout, block, point.solver, [verdict]),
        hoverinfo="text",
    )


def _qualities(
    layout: Layout, groups: Mapping[tuple[str, str], Sequence[BlockKey]], style: Mapping[SolverKey, Look]
) -> Iterator[Variant]:
    for (model, centring), blocks in groups.items():
        places = {b: f"{shown(b.layer)}<br>S = {b.size:,}" if b.layer else f"S = {b.size:,}" for b in blocks}
        lines = {
            solver: [
                (block, cell.chance_corrected)
                for block in blocks
                if (cell := layout.cells.get((block, solver))) and math.isfinite(cell.chance_corrected.value)
            ]
            for solver in style
            if solver.kind != "exact"
        }
        lines = {solver: points for solver, points in lines.items() if points}
        if not lines:
            continue
        gap_axis = GapAxis.covering(1 - c.value for points in lines.values() for _, c in points)
        figure = new_figure()
        for solver, points in lines.items():
            at = [gap_axis.place(1 - c.value) for _, c in points]
            ends = [Interval(y, place_of(gap_axis, c.low), place_of(gap_axis, c.high)) for y, (_, c) in zip(at, points)]
            figure.add_scatter(
                x=[places[b] for b, _ in points],
                y=at,
                error_y=error_bars(*ends),
                mode="lines+markers",
                name=shown(layout.catalogue.display_name(solver)),
                line={"color": style[solver].color, "dash": dash_of(style[solver].dash), "width": 1.4},
                marker=marker(style[solver], False),
                hovertext=[hover_text(layout, block, solver) for block, _ in points],
                hoverinfo="text",
            )
        axis = figure.layout.xaxis
        axis.type, axis.categoryorder, axis.categoryarray = "category", "array", list(places.values())
        gap_scale(figure, figure.layout.yaxis, gap_axis, "y")
        yield Variant(
            {"Model": model, "Centring": centring}, _group_title(groups, model, centring), plain_figure(figure)
        )


def _spreads(
    layout: Layout,
    blocks: Sequence[BlockKey],
    style: Mapping[SolverKey, Look],
    quality: Samples,
    chance_corrected: Samples,
) -> Iterator[Variant]:
    for measure, samples in (("gap 1 − c", chance_corrected), ("k/k_opt", quality)):
        for block in blocks:
            solvers = [s for s in style if s.kind != "exact" and len(samples.get((block, s), ()))]
            if not solvers:
                continue
            values = {s: samples[block, s] if measure == "k/k_opt" else 1 - samples[block, s] for s in solvers}
            figure = new_figure()
            gap_axis = GapAxis.covering(g for v in values.values() for g in v)
            names = {s: shown(short(layout.catalogue.display_name(s))) for s in solvers}
            for solver in solvers:
                _add_box(
                    figure, names[solver], values[solver], style[solver], gap_axis if measure != "k/k_opt" else None
                )
            if measure == "k/k_opt":
                figure.layout.xaxis.title.text = measure
                lowest = min(float(v.min()) for v in values.values())
                if lowest < _LOWEST_RATIO:
                    figure.layout.xaxis.range = [_LOWEST_RATIO, 1.05]
            else:
                gap_scale(figure, figure.layout.xaxis, gap_axis, "x")
            axis = figure.layout.yaxis
            axis.type, axis.categoryorder, axis.categoryarray = "category", "array", list(names.values())[::-1]
            axis.automargin, figure.layout.showlegend = True, False
            figure.layout.height = 130 + 26 * len(solvers)
            label = block_label(block, blocks)
            counts = sorted({len(v) for v in values.values()})
            told = plural(counts[-1], "pair") if len(counts) == 1 else f"{counts[0]} to {plural(counts[-1], 'pair')}"
            title = f"{measure}, {label}, centring {block.centring}, {told}"
            yield Variant({"S": label, "Centring": block.centring, "Measure": measure}, title, plain_figure(figure))


def _add_box(figure: Figure, name: str, values: Any, look: Look, gap_axis: GapAxis | None) -> None:
    numbers = five_numbers(values)
    at = [gap_axis.place(v) for v in numbers] if gap_axis else list(numbers)
    low, first, middle, third, high = at
    figure.add_box(
        y=[name],
        lowerfence=[min(low, high)],
        q1=[min(first, third)],
        median=[middle],
        q3=[max(first, third)],
        upperfence=[max(low, high)],
        orientation="h",
        width=0.6,
        line={"color": look.color, "width": 1.4},
        hoverinfo="skip",
    )
    say = format_gap if gap_axis else format_percent
    told = ["minimum", "first quartile", "median", "third quartile", "maximum"]
    text = [f"<b>{name}</b>", *(f"{what} {say(v)}{'' if gap_axis else ' %'}" for what, v in zip(told, numbers))]
    figure.add_scatter(
        x=[middle],
        y=[name],
        mode="markers",
        marker=marker(look, False),
        hovertext="<br>".join([*text, plural(len(values), "pair")]),
        hoverinfo="text",
    )


def _times(
    layout: Layout, groups: Mapping[tuple[str, str], Sequence[BlockKey]], style: Mapping[SolverKey, Look]
) -> Iterator[Variant]:
    for (model, centring), blocks in groups.items():
        lines = runtime_lines(layout.cells, layout.affinity, blocks, layout.catalogue, style)
        if not lines:
            continue
        figure = new_figure()
        for name, look, points in lines:
            figure.add_scatter(
                x=[s for s, _ in points],
                y=[t.value for _, t in points],
                error_y=error_bars(*(t for _, t in points)),
                mode="lines+markers",
                name=shown(name),
                line={"color": look.color, "dash": dash_of(look.dash), "width": 1.4},
                marker=marker(look, False),
                hovertext=[
                    f"<b>{shown(name)}</b><br>S = {s:,}, centring {shown(centring)}<br>T: {interval_text(t)}"
                    "<br>in brackets: 95 % interval"
                    for s, t in points
                ],
                hoverinfo="text",
            )
        sizes = sorted({s for _, _, points in lines for s, _ in points})
        axis = figure.layout.xaxis
        axis.type, axis.title.text = "log", "positions S"
        axis.tickvals, axis.ticktext = sizes, [f"{s:,}" for s in sizes]
        seconds_axis(figure.layout.yaxis, "time per pair, solve alone")
        yield Variant(
            {"Model": model, "Centring": centring}, _group_title(groups, model, centring), plain_figure(figure)
        )


def _group_title(groups: Mapping[tuple[str, str], Any], model: str, centring: str) -> str:
    return f"{model}, centring {centring}" if len({m for m, _ in groups}) > 1 else f"centring {centring}"
