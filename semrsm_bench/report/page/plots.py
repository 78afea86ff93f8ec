"""Time against score for plotly: the points of the figure that `semrsm-bench plot` draws, with what a pointer over them shows."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semrsm_bench.core.stats import Interval
from semrsm_bench.report.formatting import format_gap, format_seconds, plural
from semrsm_bench.report.front import Point, front_points, pareto_front
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.notes import UNDEFINED, case_noun, score_text
from semrsm_bench.report.places import Place, axes, label
from semrsm_bench.report.score_axis import ScoreAxis
from semrsm_bench.report.style import short

# What matplotlib calls a marker -> what plotly calls it.
_SYMBOLS = {"s": "square", "X": "x", "^": "triangle-up", "o": "circle", "D": "diamond", "v": "triangle-down"}
_SYMBOLS |= {"P": "cross", "p": "pentagon"}
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
    variants: Sequence[Variant]
    shown: Variant

    @property
    def switches(self) -> dict[str, list[str]]:
        """Values of each switch that has more than one, in the order of the variants."""
        names = dict.fromkeys(name for variant in self.variants for name in variant.choice)
        values = {name: list(dict.fromkeys(v.choice[name] for v in self.variants)) for name in names}
        return {name: found for name, found in values.items() if len(found) > 1}


@dataclass(frozen=True)
class _Panel:
    """What the points of one cell have in common: ``where`` says in words which cell it is."""

    layout: Layout
    cell: str
    where: str
    axis: ScoreAxis


def front_plot(layout: Layout) -> Plot | None:
    """Time against each score, a variant for each cell; None where no cell has a point."""
    results = layout.results
    groups = axes(list(results.places.values()), results.keys)
    keys = [k for k in (key for group in groups or [tuple(results.keys)] for key in group) if k != "channels"]
    variants: dict[tuple[str, str], Variant] = {}
    for score in layout.scores():
        drawn = {cell: points for cell in results.places if (points := front_points(results, cell, score))}
        axis = ScoreAxis.covering(score, [p.value for points in drawn.values() for p in points])
        for cell, points in drawn.items():
            place = results.places[cell]
            panel = _Panel(layout, cell, label(keys, place), axis)
            count = plural(results.usual_units(cell), results.task.unit or "case")
            choice = {_switch(group): _value(group, place) for group in groups} | {"Score": score.title}
            title = ", ".join(filter(None, (panel.where, count)))
            variants[score.name, cell] = Variant(choice, title, _draw(panel, points))
    if not variants:
        return None
    # The largest S, where methods differ most.
    leading = next(iter(variants))[0]
    first = max(variants, key=lambda key: (key[0] == leading, int(results.places[key[1]].get("size") or 0)))
    return Plot(results.task.name, list(variants.values()), variants[first])


def _switch(group: Sequence[str]) -> str:
    return "S" if "size" in group else group[0].replace("_", " ").capitalize()


def _value(group: Sequence[str], place: Place) -> str:
    named = {"size", "layer", "model"} & set(group)
    return label([k for k in group if k != "channels"], place) if named else str(place.get(group[0], ""))


def _draw(panel: _Panel, points: Sequence[Point]) -> dict[str, Any]:
    """``data`` and ``layout`` of one cell; colours of text and grid are the page's, light or dark."""
    front, axis, results = pareto_front(points), panel.axis, panel.layout.results
    right = max(p.seconds for p in points) * 2
    stairs = [*((p.seconds, axis.place(p.value)) for p in front), (right, axis.place(front[-1].value))]
    line = {
        "type": "scatter",
        "x": [x for x, _ in stairs],
        "y": [y for _, y in stairs],
        "mode": "lines",
        "line": {"shape": "hv", "color": _STAIRS, "width": 1.2},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    named = _apart(front, axis)
    order = sorted(points, key=lambda p: results.methods.index(p.method))
    shared = ", affinity included" if results.shared else ""
    time_title = f"time per {case_noun(results.task.unit)}{shared}"
    # One tick a decade; less than two decades have room for 2 and 5 as well, which plotly labels without a unit.
    time: dict[str, Any] = {"tickformat": "~s", "ticksuffix": "s", "dtick": 1}
    if right < 200 * points[0].seconds:
        first = math.floor(math.log10(points[0].seconds))
        values = [m * 10.0**k for k in range(first - 1, first + 4) for m in (1, 2, 5)]
        time |= {"tickvals": values, "ticktext": [format_seconds(value) for value in values]}
    score: dict[str, Any] = {"zeroline": False}
    score["range"] = [axis.high, axis.low] if axis.is_reversed else [axis.low, axis.high]
    shapes = []
    if axis.optimum is not None:
        score["tickvals"], score["ticktext"] = axis.ticks()
        band = {"y0": axis.optimum - 0.22, "y1": axis.optimum + 0.22, "xref": "paper", "x0": 0, "x1": 1}
        shapes = [{"type": "rect", "fillcolor": _OPTIMUM_BAND, "line": {"width": 0}, "layer": "below", **band}]
    elif axis.score.style == "percent":
        score["tickformat"] = ".0%"
    score_title = axis.title.removesuffix(" %") + (" (lower is better)" if axis.is_reversed else "")
    layout = {
        "margin": {"l": 64, "r": 12, "t": 12, "b": 48},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "font": {"size": 11}},
        "xaxis": {"type": "log", "title": {"text": time_title, "standoff": 10}, "automargin": True, **time},
        "yaxis": {"title": {"text": _html(score_title), "standoff": 10}, "automargin": True, **score},
        "shapes": shapes,
    }
    return {"data": [line, *(_marker(panel, point, front, named) for point in order)], "layout": layout}


def _apart(front: Sequence[Point], axis: ScoreAxis) -> list[Point]:
    """The points of a front whose names do not cover each other; the better of two neighbours keeps its name."""
    kept: list[Point] = []
    height = (axis.high - axis.low) * _LABEL_HEIGHT
    for point in reversed(front):
        y, x = axis.place(point.value), math.log10(point.seconds)
        if all(abs(axis.place(p.value) - y) > height or abs(math.log10(p.seconds) - x) > _LABEL_DECADES for p in kept):
            kept.append(point)
    return kept


def _marker(panel: _Panel, point: Point, front: Sequence[Point], named: Sequence[Point]) -> dict[str, Any]:
    results, look = panel.layout.results, panel.layout.looks[point.method]
    name, on_front = results.catalogue.display_name(point.method), point in front
    symbol = _SYMBOLS.get(look.marker, "circle")
    marker = {
        "type": "scatter",
        "x": [point.seconds],
        "y": [panel.axis.place(point.value)],
        "mode": "markers",
        "name": _html(name),
        "opacity": 1.0 if on_front else 0.5,
        # Open where only a bound is known.
        "marker": {"symbol": f"{symbol}-open" if point.is_bound else symbol, "color": look.color, "size": 10},
        "hovertext": "<br>".join(_hover(panel, point, on_front)),
        "hoverinfo": "text",
    }
    time = results.cells[panel.cell, point.method].total_seconds
    if time.high > time.low:
        up, down = time.high - time.value, time.value - time.low
        bars = {"type": "data", "symmetric": False, "thickness": 1, "width": 0}
        marker["error_x"] = {**bars, "array": [up], "arrayminus": [down]}
    if point in named:
        # To the upper left of the front no point can stand; the first one would be cut off there.
        where = "top right" if point == front[0] else "top left"
        marker |= {
            "mode": "markers+text",
            "text": [_html(short(name))],
            "textposition": where,
            "textfont": {"size": 11},
        }
    return marker


def _hover(panel: _Panel, point: Point, on_front: bool) -> Iterator[str]:
    """What a pointer over a point shows: the figures as the table prints them."""
    results, method = panel.layout.results, point.method
    summary = results.cells[panel.cell, method]
    yield f"<b>{_wrapped(results.catalogue.display_name(method))}</b>"
    yield _wrapped(f"options: {', '.join(f'{name} = {value}' for name, value in method.options) or 'none'}")
    yield _wrapped(f"{panel.where}, {plural(summary.ok, case_noun(results.task.unit))}")
    if results.shared:
        yield f"T + affinity: {_interval(summary.total_seconds)}"
    yield f"T: {_interval(summary.seconds)}"
    for score in panel.layout.scores():
        text = score_text(score, summary)
        found = summary.scores.get(score.name)
        if text == UNDEFINED:
            cases = plural(summary.undefined[score.name], case_noun(results.task.unit))
            text = f"not given, {score.undefined or 'it has no value'} ({cases})"
        elif score.style == "percent":
            text += " %"
        elif score.style == "quality" and found is not None and math.isfinite(found.value):
            text += f" (gap {format_gap(1 - found.value)})"
        elif score.style == "quality" and score.name in summary.bounds:
            text += f" (gap at most {format_gap(1 - summary.bounds[score.name])})"
        yield f"{_html(score.title.removesuffix(' %'))}: {_html(text)}"
    yield f"{'no other' if on_front else 'another'} method is at least as fast and as good"
    yield "in brackets: 95 % intervals"


def _interval(time: Interval) -> str:
    """A time with the ends of its interval, where it has one."""
    text = format_seconds(time.value)
    return f"{text} ({format_seconds(time.low)} to {format_seconds(time.high)})" if time.high > time.low else text


def _wrapped(text: str) -> str:
    """Lines that fit on the screen of a phone."""
    return "<br>".join(map(_html, textwrap.wrap(text, 46)))


def _html(text: str) -> str:
    """Text for plotly, which reads a few HTML elements and entities in what it draws."""
    return html.escape(text, quote=False)
