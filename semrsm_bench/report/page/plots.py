"""The figures of a run for plotly: the same points as the figures of `semrsm-bench plot`, with what a pointer over them tells."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semrsm_bench.bench.stats import Interval
from semrsm_bench.report.cells import BlockKey, SolverKey
from semrsm_bench.report.distribution import Samples, five_numbers
from semrsm_bench.report.formatting import NOTHING, format_gap, format_percent, format_seconds, plural
from semrsm_bench.report.front import Point, front_points, pareto_front
from semrsm_bench.report.gap_axis import GapAxis
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.runtime import runtime_lines
from semrsm_bench.report.style import Look, short

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# What matplotlib calls a marker or a dash -> what plotly calls it.
_SYMBOLS = {
    **{"s": "square", "X": "x", "^": "triangle-up", "o": "circle", "D": "diamond"},
    **{"v": "triangle-down", "P": "cross", "p": "pentagon", "|": "line-ns"},
}
_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
_STAIRS = "#555555"
_OPTIMUM_BAND = "rgba(86, 180, 233, 0.14)"
_LOWEST_RATIO = -1.0


@dataclass(frozen=True)
class Variant:
    """One state of a plot with switches.

    Attributes
    ----------
    choice : mapping of switch to value
    title : str
        What is shown, in words.
    figure : mapping
        ``data`` and ``layout`` for plotly, JSON-ready.
    """

    choice: Mapping[str, str]
    title: str
    figure: Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """A plot with its switches.

    Attributes
    ----------
    name : str
        Unique on the page.
    description : str
        For those who cannot see it.
    """

    name: str
    description: str
    variants: Sequence[Variant] = field(default_factory=list)

    @property
    def switches(self) -> dict[str, list[str]]:
        """Values of each switch that has more than one, in the order of the variants."""
        values: dict[str, list[str]] = {}
        for variant in self.variants:
            for name, value in variant.choice.items():
                values.setdefault(name, [])
                if value not in values[name]:
                    values[name].append(value)
        return {name: found for name, found in values.items() if len(found) > 1}


def block_label(block: BlockKey, blocks: Sequence[BlockKey]) -> str:
    """``S = 256 (layer3)``, with the model in front where there are several."""
    several = len({b.model for b in blocks}) > 1
    source = " ".join(x for x in (block.model if several else "", block.layer) if x)
    return f"S = {block.size:,}" + (f" ({source})" if source else "")


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
        Plot("runtime", "Time per pair over the number of positions, one line per solver.", list(_times(layout, groups, style))),
    ]
    return [plot for plot in plots if plot.variants]


def _fronts(layout: Layout, blocks: Sequence[BlockKey], style: Mapping[SolverKey, Look]) -> Iterator[Variant]:
    drawn = [(block, points) for block in blocks if (points := front_points(layout.cells, block))]
    gap_axis = GapAxis.covering(p.gap for _, points in drawn for p in points)
    for block, points in drawn:
        front = pareto_front(points)
        figure = _new_figure()
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
            _add_point(figure, layout, block, point, point in front, style[point.solver], gap_axis)
        _seconds(figure.layout.xaxis, "time per pair, affinity included")
        _gaps(figure, figure.layout.yaxis, gap_axis, "y")
        label = block_label(block, blocks)
        title = f"{label}, centring {block.centring}, {plural(layout.usual_pairs(block), 'pair')}"
        yield Variant({"S": label, "Centring": block.centring}, title, _plain(figure))


def _add_point(
    figure: Figure, layout: Layout, block: BlockKey, point: Point, on_front: bool, look: Look, gap_axis: GapAxis
) -> None:
    name = layout.catalogue.display_name(point.solver)
    time = layout.cells[block, point.solver].total_seconds
    verdict = "no other solver is at least as fast and as good" if on_front else "another solver is at least as fast and as good"
    figure.add_scatter(
        x=[point.seconds],
        y=[gap_axis.place(point.gap)],
        error_x=_errors(time, time.value),
        mode="markers+text" if on_front else "markers",
        text=[_shown(short(name))] if on_front else None,
        textposition="top left",
        textfont={"size": 11},
        name=_shown(name),
        opacity=1.0 if on_front else 0.5,
        marker=_marker(look, point.is_bound),
        hovertext=_hover(layout, block, point.solver, [verdict]),
        hoverinfo="text",
    )


def _qualities(
    layout: Layout, groups: Mapping[tuple[str, str], Sequence[BlockKey]], style: Mapping[SolverKey, Look]
) -> Iterator[Variant]:
    for (model, centring), blocks in groups.items():
        places = {b: f"{_shown(b.layer)}<br>S = {b.size:,}" if b.layer else f"S = {b.size:,}" for b in blocks}
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
        figure = _new_figure()
        for solver, points in lines.items():
            at = [gap_axis.place(1 - c.value) for _, c in points]
            ends = [Interval(y, _place(gap_axis, c.low), _place(gap_axis, c.high)) for y, (_, c) in zip(at, points)]
            figure.add_scatter(
                x=[places[b] for b, _ in points],
                y=at,
                error_y=_errors(*ends),
                mode="lines+markers",
                name=_shown(layout.catalogue.display_name(solver)),
                line={"color": style[solver].color, "dash": _dash(style[solver].dash), "width": 1.4},
                marker=_marker(style[solver], False),
                hovertext=[_hover(layout, block, solver) for block, _ in points],
                hoverinfo="text",
            )
        axis = figure.layout.xaxis
        axis.type, axis.categoryorder, axis.categoryarray = "category", "array", list(places.values())
        _gaps(figure, figure.layout.yaxis, gap_axis, "y")
        yield Variant({"Model": model, "Centring": centring}, _group_title(groups, model, centring), _plain(figure))


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
            figure = _new_figure()
            gap_axis = GapAxis.covering(g for v in values.values() for g in v)
            names = {s: _shown(short(layout.catalogue.display_name(s))) for s in solvers}
            for solver in solvers:
                _add_box(figure, names[solver], values[solver], style[solver], gap_axis if measure != "k/k_opt" else None)
            if measure == "k/k_opt":
                figure.layout.xaxis.title.text = measure
                lowest = min(float(v.min()) for v in values.values())
                if lowest < _LOWEST_RATIO:
                    figure.layout.xaxis.range = [_LOWEST_RATIO, 1.05]
            else:
                _gaps(figure, figure.layout.xaxis, gap_axis, "x")
            axis = figure.layout.yaxis
            axis.type, axis.categoryorder, axis.categoryarray = "category", "array", list(names.values())[::-1]
            axis.automargin, figure.layout.showlegend = True, False
            figure.layout.height = 130 + 26 * len(solvers)
            label = block_label(block, blocks)
            counts = sorted({len(v) for v in values.values()})
            told = plural(counts[-1], "pair") if len(counts) == 1 else f"{counts[0]} to {plural(counts[-1], 'pair')}"
            title = f"{measure}, {label}, centring {block.centring}, {told}"
            yield Variant({"S": label, "Centring": block.centring, "Measure": measure}, title, _plain(figure))


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
        marker=_marker(look, False),
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
        figure = _new_figure()
        for name, look, points in lines:
            figure.add_scatter(
                x=[s for s, _ in points],
                y=[t.value for _, t in points],
                error_y=_errors(*(t for _, t in points)),
                mode="lines+markers",
                name=_shown(name),
                line={"color": look.color, "dash": _dash(look.dash), "width": 1.4},
                marker=_marker(look, False),
                hovertext=[
                    f"<b>{_shown(name)}</b><br>S = {s:,}, centring {_shown(centring)}<br>time of the solve {_interval(t)}"
                    for s, t in points
                ],
                hoverinfo="text",
            )
        sizes = sorted({s for _, _, points in lines for s, _ in points})
        axis = figure.layout.xaxis
        axis.type, axis.title.text = "log", "positions S"
        axis.tickvals, axis.ticktext = sizes, [f"{s:,}" for s in sizes]
        _seconds(figure.layout.yaxis, "time per pair, solve alone")
        yield Variant({"Model": model, "Centring": centring}, _group_title(groups, model, centring), _plain(figure))


def _hover(layout: Layout, block: BlockKey, solver: SolverKey, more: Sequence[str] = ()) -> str:
    """What a pointer over a solver's point tells: the figures as the table prints them."""
    cell = layout.cells[block, solver]
    entries = layout.entries(cell, layout.usual_pairs(block))
    quality, c, _ = (NOTHING,) * 3 if isinstance(entries, str) else entries
    if cell.undefined:
        quality = f"not given, k_opt is not positive in {plural(cell.undefined, 'pair')}"
    elif quality != NOTHING:
        quality += " %"
    options = ", ".join(f"{name} = {value}" for name, value in solver.options)
    lines = [
        f"<b>{_shown(layout.catalogue.display_name(solver))}</b>",
        f"options: {_shown(options or 'none')}",
        f"{_shown(block_label(block, [block]))}, centring {_shown(block.centring)}, {plural(cell.ok, 'pair')}",
        f"time with affinity {_interval(cell.total_seconds)}",
        f"time of the solve {_interval(cell.seconds)}",
        f"k/k_opt: {_shown(quality)}",
        f"c: {_shown(c)} (gap {'at most ' if cell.chance_corrected_is_bound else ''}{format_gap(1 - cell.chance_corrected.value)})",
    ]
    return "<br>".join([*lines, *more])


def _interval(time: Interval) -> str:
    text = format_seconds(time.value)
    if not time.high > time.low:
        return text
    return f"{text}, 95 % interval {format_seconds(time.low)} to {format_seconds(time.high)}"


def _shown(text: str) -> str:
    """Text for plotly, which reads a few HTML elements and entities in what it draws."""
    return html.escape(text, quote=False)


def _errors(*intervals: Interval | float) -> dict[str, Any] | None:
    """Asymmetric error bars; None where no interval has a width."""
    known = [i for i in intervals if isinstance(i, Interval)]
    up = [max(i.high - i.value, 0.0) if math.isfinite(i.high) else 0.0 for i in known]
    down = [max(i.value - i.low, 0.0) if math.isfinite(i.low) else 0.0 for i in known]
    if not any(up) and not any(down):
        return None
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 0}


def _place(gap_axis: GapAxis, c: float) -> float:
    return gap_axis.place(1 - c) if math.isfinite(c) else math.nan


def _marker(look: Look, is_bound: bool) -> dict[str, Any]:
    symbol = _SYMBOLS.get(look.marker, "circle")
    marker: dict[str, Any] = {"symbol": f"{symbol}-open" if is_bound else symbol, "color": look.color, "size": 10}
    if symbol.startswith("line"):
        marker["line"] = {"width": 1.5, "color": look.color}
    return marker


def _dash(dash: Any) -> str:
    if isinstance(dash, str):
        return _DASHES[dash]
    _, lengths = dash
    return ",".join(f"{2 * length}px" for length in lengths)


def _group_title(groups: Mapping[tuple[str, str], Any], model: str, centring: str) -> str:
    return f"{model}, centring {centring}" if len({m for m, _ in groups}) > 1 else f"centring {centring}"


def _new_figure() -> Figure:
    from plotly.graph_objects import Figure, Layout

    return Figure(
        layout=Layout(
            template=None,
            margin={"l": 64, "r": 12, "t": 12, "b": 48},
            hovermode="closest",
            hoverlabel={"align": "left"},
            legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "font": {"size": 11}},
        )
    )


def _seconds(axis: Any, title: str) -> None:
    axis.type, axis.title.text = "log", title
    axis.tickformat, axis.ticksuffix, axis.dtick = "~s", "s", 1


def _gaps(figure: Figure, axis: Any, gap_axis: GapAxis, letter: str) -> None:
    places, texts = gap_axis.ticks()
    axis.tickvals, axis.ticktext, axis.title.text = places, texts, "gap to the optimum, 1 − c"
    axis.range = [gap_axis.lowest - 0.25, gap_axis.optimum + 0.5]
    axis.zeroline = False
    band = {f"{letter}0": gap_axis.optimum - 0.22, f"{letter}1": gap_axis.optimum + 0.22}
    other = "x" if letter == "y" else "y"
    band |= {f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1}
    figure.add_shape(type="rect", fillcolor=_OPTIMUM_BAND, line={"width": 0}, layer="below", **band)


def _plain(figure: Figure) -> dict[str, Any]:
    """``data`` and ``layout``, without the template that plotly adds."""
    content = json.loads(figure.to_json())
    return {"data": content["data"], "layout": {k: v for k, v in content["layout"].items() if k != "template"}}
