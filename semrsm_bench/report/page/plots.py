"""Time against score for plotly: the points of the figure that `semrsm-bench plot` draws, with what a pointer over them shows."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from semrsm_bench.core.stats import Interval
from semrsm_bench.report.figures.run import Point, front_points, named_points, pareto_front
from semrsm_bench.report.formatting import format_seconds, plural
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.notes import UNDEFINED, score_text
from semrsm_bench.report.places import axes, label
from semrsm_bench.report.score_axis import ScoreAxis

# What matplotlib calls a marker -> what plotly calls it.
_SYMBOLS = {"s": "square", "X": "x", "^": "triangle-up", "o": "circle", "D": "diamond", "v": "triangle-down"}
_SYMBOLS |= {"P": "cross", "p": "pentagon", "*": "star", "h": "hexagon"}
_OPTIMUM_BAND = "rgba(86, 180, 233, 0.14)"
_STAIRS = "#555555"


def front_plot(layout: Layout) -> dict[str, Any] | None:
    """Time against each score, a variant for each cell; None where no cell has a point.

    A variant has the values of the switches as ``choice``, a ``title``, and for plotly a ``figure``; ``shown`` is
    what a reader sees first.
    """
    results = layout.results
    groups = axes(list(results.places.values()), results.keys)
    keys = [key for group in groups or [tuple(results.keys)] for key in group if key != "channels"]
    variants: list[dict[str, Any]] = []
    rank = []
    for leading, score in enumerate(layout.scores()):
        drawn = {cell: points for cell in results.places if (points := front_points(results, cell, score))}
        axis = ScoreAxis.covering(score, [p.value for points in drawn.values() for p in points])
        for cell, points in drawn.items():
            place = results.places[cell]
            where, choice = label(keys, place), {}
            for group in groups:
                named = {"size", "layer", "model"} & set(group)
                value = label([k for k in group if k != "channels"], place) if named else str(place.get(group[0], ""))
                choice["S" if "size" in group else group[0].replace("_", " ").capitalize()] = value
            title = ", ".join(filter(None, (where, plural(results.most_units[cell], results.counted))))
            figure = _figure(layout, cell, where, axis, points)
            variants.append({"choice": {**choice, "Score": score.title}, "title": title, "figure": figure})
            # The largest S, where methods differ most.
            rank.append((-leading, int(place.get("size") or 0)))
    if not variants:
        return None
    values = {name: list(dict.fromkeys(v["choice"][name] for v in variants)) for name in variants[0]["choice"]}
    return {
        "name": results.task.name,
        "variants": variants,
        "shown": variants[rank.index(max(rank))],
        "switches": {name: found for name, found in values.items() if len(found) > 1},
    }


def _figure(layout: Layout, cell: str, where: str, axis: ScoreAxis, points: Sequence[Point]) -> dict[str, Any]:
    """``data`` and ``layout`` of one cell; colours of text and grid are the page's, light or dark."""
    front, right = pareto_front(points), max(p.seconds for p in points) * 2
    stairs = {
        "type": "scatter",
        "x": [*(p.seconds for p in front), right],
        "y": [axis.place(p.value) for p in (*front, front[-1])],
        "mode": "lines",
        "line": {"shape": "hv", "color": _STAIRS, "width": 1.2},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    # One tick a decade; less than two decades have room for 2 and 5 as well, which plotly labels without a unit.
    time: dict[str, Any] = {"tickformat": "~s", "ticksuffix": "s", "dtick": 1}
    if right < 200 * points[0].seconds:
        first = math.floor(math.log10(points[0].seconds))
        values = [m * 10.0**k for k in range(first - 1, first + 4) for m in (1, 2, 5)]
        time |= {"tickvals": values, "ticktext": [format_seconds(value) for value in values]}
    score: dict[str, Any] = {"zeroline": False, "range": axis.limits}
    shapes = []
    if axis.optimum is not None:
        score["tickvals"], score["ticktext"] = axis.ticks()
        band = {"y0": axis.optimum - 0.22, "y1": axis.optimum + 0.22, "xref": "paper", "x0": 0, "x1": 1}
        shapes = [{"type": "rect", "fillcolor": _OPTIMUM_BAND, "line": {"width": 0}, "layer": "below", **band}]
    elif axis.score.style == "percent":
        score["tickformat"] = ".0%"
    direction = " (lower is better)" if axis.limits[0] > axis.limits[1] else ""
    titles = {"x": layout.total_time_label, "y": _html(axis.title.removesuffix(" %") + direction)}
    named = named_points(front, axis)
    order = sorted(points, key=lambda p: layout.results.methods.index(p.method))
    markers = []
    for point in order:
        marker = _marker(layout, cell, point, point in front) | {"y": [axis.place(point.value)]}
        marker["hovertext"] = "<br>".join(_hover(layout, cell, where, point, point in front))
        if point in named:
            # No point can be to the upper left of the front; the label of the first one would be cut off there.
            side = "top right" if point == front[0] else "top left"
            marker |= {"mode": "markers+text", "text": [_html(layout.names[point.method])], "textposition": side}
        markers.append(marker)
    return {
        "data": [stairs, *markers],
        "layout": {
            "margin": {"l": 64, "r": 12, "t": 12, "b": 48},
            "hovermode": "closest",
            "legend": {"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "font": {"size": 11}},
            "xaxis": {"type": "log", "title": {"text": titles["x"], "standoff": 10}, "automargin": True, **time},
            "yaxis": {"title": {"text": titles["y"], "standoff": 10}, "automargin": True, **score},
            "shapes": shapes,
        },
    }


def _marker(layout: Layout, cell: str, point: Point, on_front: bool) -> dict[str, Any]:
    look, time = layout.looks[point.method], layout.results.cells[cell, point.method].total_seconds
    symbol = _SYMBOLS[look.marker]
    bars = {"type": "data", "symmetric": False, "thickness": 1, "width": 0}
    ends = {"array": [time.high - time.value], "arrayminus": [time.value - time.low]}
    return {
        "type": "scatter",
        "x": [point.seconds],
        "mode": "markers",
        "name": _html(layout.results.catalogue.display_name(point.method)),
        "opacity": 1.0 if on_front else 0.5,
        # Open where only a bound is known.
        "marker": {"symbol": f"{symbol}-open" if point.is_bound else symbol, "color": look.color, "size": 10},
        "hoverinfo": "text",
        "textfont": {"size": 11},
        **({"error_x": {**bars, **ends}} if time.high > time.low else {}),
    }


def _hover(layout: Layout, cell: str, where: str, point: Point, on_front: bool) -> Iterator[str]:
    """What a pointer over a point shows: the figures as the table prints them."""
    results, method = layout.results, point.method
    summary = results.cells[cell, method]
    yield f"<b>{_wrapped(results.catalogue.display_name(method))}</b>"
    yield _wrapped(f"options: {', '.join(f'{name} = {value}' for name, value in method.options) or 'none'}")
    yield _wrapped(f"{where}, {plural(summary.ok, results.noun)}")
    if results.shared:
        yield f"T + affinity: {_interval(summary.total_seconds)}"
    yield f"T: {_interval(summary.seconds)}"
    for score in layout.scores():
        text = score_text(score, summary)
        if text == UNDEFINED:
            text = f"not given, {score.undefined or 'it has no value'}"
        elif score.style == "percent":
            text += " %"
        yield _wrapped(f"{score.title.removesuffix(' %')}: {text}")
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
