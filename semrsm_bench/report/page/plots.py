"""Time against score for plotly: the points of the figure that `semrsm-bench plot` draws, with what a pointer over them tells."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.stats import Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.formatting import format_gap, format_seconds, plural
from semrsm_bench.report.front import Point, front_points, pareto_front
from semrsm_bench.report.layout import Layout, score_text
from semrsm_bench.report.notes import UNDEFINED, case_noun
from semrsm_bench.report.places import Place, axes, label
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.score_axis import ScoreAxis
from semrsm_bench.report.style import short

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# What matplotlib calls a marker -> what plotly calls it.
_SYMBOLS = dict(
    zip(
        "sX^oDvPp",
        ("square", "x", "triangle-up", "circle", "diamond", "triangle-down", "cross", "pentagon"),
        strict=True,
    )
)
_OPTIMUM_BAND = "rgba(86, 180, 233, 0.14)"
_STAIRS = "#555555"
# Room that a name takes beside a point: a share of the axis, and decades of the time.
_LABEL_HEIGHT, _LABEL_DECADES = 0.07, 1.5


@dataclass(frozen=True)
class Variant:
    """One state of a plot with switches: their values, what is shown in words, and ``data`` and ``layout`` for plotly."""

    choice: Mapping[str, str]
    title: str
    figure: Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """A plot with its switches; ``name`` is unique on the page, ``shown`` what a reader sees first."""

    name: str
    description: str
    variants: Sequence[Variant]
    shown: Variant

    @property
    def switches(self) -> dict[str, list[str]]:
        """Values of each switch that has more than one, in the order of the variants."""
        values: dict[str, dict[str, None]] = {}
        for variant in self.variants:
            for name, value in variant.choice.items():
                values.setdefault(name, {})[value] = None
        return {name: list(found) for name, found in values.items() if len(found) > 1}


@dataclass(frozen=True)
class _Panel:
    """What the points of one cell have in common: ``where`` says in words which cell it is."""

    layout: Layout
    cell: str
    where: str
    axis: ScoreAxis


def front_plot(results: TaskResults) -> Plot | None:
    """Time against each score, a variant for each cell; None where no cell has a point."""
    layout = Layout(results)
    groups = axes(list(results.places.values()), results.keys)
    told = [k for k in (key for group in groups or [tuple(results.keys)] for key in group) if k != "channels"]
    variants: dict[tuple[str, str], Variant] = {}
    for score in layout.scores():
        drawn = {cell: points for cell in results.places if (points := front_points(results, cell, score))}
        axis = ScoreAxis.covering(score, [p.value for points in drawn.values() for p in points])
        for cell, points in drawn.items():
            place = results.places[cell]
            panel = _Panel(layout, cell, label(told, place), axis)
            count = plural(results.usual_units(cell), results.task.unit or "case")
            choice = {_switch(group): _value(group, place) for group in groups} | {"Score": score.title}
            title = ", ".join(filter(None, (panel.where, count)))
            variants[score.name, cell] = Variant(choice, title, _draw(panel, points))
    if not variants:
        return None
    # The largest S, where methods differ most.
    leading = next(iter(variants))[0]
    first = max(variants, key=lambda key: (key[0] == leading, int(results.places[key[1]].get("size") or 0)))
    return Plot(
        results.task.name,
        "Time per case against the score, one point per method; faster is to the left, better is above.",
        list(variants.values()),
        variants[first],
    )


def _switch(group: Sequence[str]) -> str:
    return "S" if "size" in group else group[0].replace("_", " ").capitalize()


def _value(group: Sequence[str], place: Place) -> str:
    named = {"size", "layer", "model"} & set(group)
    return label([k for k in group if k != "channels"], place) if named else str(place.get(group[0], ""))


def _draw(panel: _Panel, points: Sequence[Point]) -> dict[str, Any]:
    from plotly.graph_objects import Figure
    from plotly.graph_objects import Layout as Frame

    front, axis, results = pareto_front(points), panel.axis, panel.layout.results
    # Colours of text and grid are the page's, light or dark.
    figure = Figure(
        layout=Frame(
            template=None,
            margin={"l": 64, "r": 12, "t": 12, "b": 48},
            hovermode="closest",
            legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "font": {"size": 11}},
        )
    )
    right = max(p.seconds for p in points) * 2
    stairs = [*((p.seconds, axis.place(p.value)) for p in front), (right, axis.place(front[-1].value))]
    figure.add_scatter(
        x=[x for x, _ in stairs],
        y=[y for _, y in stairs],
        mode="lines",
        line={"shape": "hv", "color": _STAIRS, "width": 1.2},
        hoverinfo="skip",
        showlegend=False,
    )
    labelled = _apart(front, axis)
    for point in sorted(points, key=lambda p: results.methods.index(p.method)):
        _add_point(figure, panel, point, front, labelled)
    frame = figure.layout
    shared = ", affinity included" if results.shared else ""
    frame.xaxis.type, frame.xaxis.title.text = "log", f"time per {case_noun(results.task.unit)}{shared}"
    frame.xaxis.tickformat, frame.xaxis.ticksuffix, frame.xaxis.dtick = "~s", "s", 1
    if right < 200 * points[0].seconds:
        # Less than two decades have room for 2 and 5 as well, which plotly labels without a unit.
        first = math.floor(math.log10(points[0].seconds))
        frame.xaxis.tickvals = [m * 10.0**k for k in range(first - 1, first + 4) for m in (1, 2, 5)]
        frame.xaxis.ticktext = [format_seconds(value) for value in frame.xaxis.tickvals]
    frame.yaxis.title.text = axis.title.removesuffix(" %") + (" (lower is better)" if axis.is_reversed else "")
    frame.yaxis.range = [axis.high, axis.low] if axis.is_reversed else [axis.low, axis.high]
    frame.yaxis.zeroline = False
    for one in (frame.xaxis, frame.yaxis):
        one.automargin, one.title.standoff = True, 10
    if axis.optimum is not None:
        frame.yaxis.tickvals, frame.yaxis.ticktext = axis.ticks()
        band = {"y0": axis.optimum - 0.22, "y1": axis.optimum + 0.22, "xref": "paper", "x0": 0, "x1": 1}
        figure.add_shape(type="rect", fillcolor=_OPTIMUM_BAND, line={"width": 0}, layer="below", **band)
    elif axis.score.style == "percent":
        frame.yaxis.tickformat = ".0%"
    content = json.loads(figure.to_json())
    return {"data": content["data"], "layout": {k: v for k, v in content["layout"].items() if k != "template"}}


def _apart(front: Sequence[Point], axis: ScoreAxis) -> list[Point]:
    """The points of a front whose names do not cover each other; the better of two neighbours keeps its name."""
    kept: list[Point] = []
    height = (axis.high - axis.low) * _LABEL_HEIGHT
    for point in reversed(front):
        y, x = axis.place(point.value), math.log10(point.seconds)
        if all(abs(axis.place(p.value) - y) > height or abs(math.log10(p.seconds) - x) > _LABEL_DECADES for p in kept):
            kept.append(point)
    return kept


def _add_point(figure: Figure, panel: _Panel, point: Point, front: Sequence[Point], labelled: Sequence[Point]) -> None:
    results, look = panel.layout.results, panel.layout.looks[point.method]
    name = results.catalogue.display_name(point.method)
    summary = results.cells[panel.cell, point.method]
    on_front = point in front
    verdict = f"{'no other' if on_front else 'another'} method is at least as fast and as good"
    symbol = _SYMBOLS.get(look.marker, "circle")
    figure.add_scatter(
        x=[point.seconds],
        y=[panel.axis.place(point.value)],
        error_x=_error_bars(summary.total_seconds),
        mode="markers+text" if point in labelled else "markers",
        text=[_shown(short(name))] if point in labelled else None,
        # To the upper left of the front no point can stand; the first one would be cut off there.
        textposition="top right" if point == front[0] else "top left",
        textfont={"size": 11},
        name=_shown(name),
        opacity=1.0 if on_front else 0.5,
        # Open where only a bound is known.
        marker={"symbol": f"{symbol}-open" if point.is_bound else symbol, "color": look.color, "size": 10},
        hovertext="<br>".join([*_told(panel, point.method, summary), verdict, "in brackets: 95 % intervals"]),
        hoverinfo="text",
    )


def _told(panel: _Panel, method: MethodKey, summary: Summary) -> Iterator[str]:
    """What a pointer over a point tells: the figures as the table prints them."""
    results = panel.layout.results
    yield f"<b>{_wrapped(results.catalogue.display_name(method))}</b>"
    yield _wrapped(f"options: {', '.join(f'{name} = {value}' for name, value in method.options) or 'none'}")
    yield _wrapped(f"{panel.where}, {plural(summary.ok, case_noun(results.task.unit))}")
    if results.shared:
        yield f"T + affinity: {_interval_text(summary.total_seconds)}"
    yield f"T: {_interval_text(summary.seconds)}"
    for score in panel.layout.scores():
        yield f"{_shown(score.title.removesuffix(' %'))}: {_shown(_score_told(panel.layout, score, summary))}"


def _score_told(layout: Layout, score: Score, summary: Summary) -> str:
    text = score_text(score, summary)
    if text == UNDEFINED:
        noun = case_noun(layout.results.task.unit)
        return f"not given, {score.undefined or 'it has no value'} ({plural(summary.undefined[score.name], noun)})"
    text += " %" if score.style == "percent" else ""
    if score.style != "quality" or score.name not in {**summary.scores, **summary.bounds}:
        return text
    found = summary.scores.get(score.name)
    if found is not None and math.isfinite(found.value):
        return f"{text} (gap {format_gap(1 - found.value)})"
    return f"{text} (gap at most {format_gap(1 - summary.bounds[score.name])})"


def _interval_text(time: Interval) -> str:
    """A time with the ends of its interval, where it has one."""
    text = format_seconds(time.value)
    return f"{text} ({format_seconds(time.low)} to {format_seconds(time.high)})" if time.high > time.low else text


def _wrapped(text: str) -> str:
    """Lines that fit on the screen of a phone."""
    return "<br>".join(map(_shown, textwrap.wrap(text, 46)))


def _shown(text: str) -> str:
    """Text for plotly, which reads a few HTML elements and entities in what it draws."""
    return html.escape(text, quote=False)


def _error_bars(interval: Interval) -> dict[str, Any] | None:
    """Asymmetric error bars; None for an interval without width."""
    up, down = interval.high - interval.value, interval.value - interval.low
    if not (math.isfinite(up) and math.isfinite(down) and (up > 0 or down > 0)):
        return None
    return {"type": "data", "symmetric": False, "array": [up], "arrayminus": [down], "thickness": 1, "width": 0}
