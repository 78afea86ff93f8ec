"""Pieces that plotly's figures are made of: axes, markers, error bars, and what a pointer over a point tells."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semrsm_bench.bench.stats import Interval
from semrsm_bench.report.cells import BlockKey, SolverKey
from semrsm_bench.report.formatting import NOTHING, format_gap, format_seconds, plural
from semrsm_bench.report.gap_axis import GapAxis
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.style import Look

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# What matplotlib calls a marker or a dash -> what plotly calls it.
_SYMBOLS = {
    "s": "square",
    "X": "x",
    "^": "triangle-up",
    "o": "circle",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "p": "pentagon",
    "|": "line-ns",
}
_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
_OPTIMUM_BAND = "rgba(86, 180, 233, 0.14)"


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
    def shown(self) -> Variant:
        """The one that a reader sees first: the largest S, where solvers differ most."""
        sizes = self.switches.get("S")
        return next(v for v in self.variants if not sizes or v.choice["S"] == sizes[-1])

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


def hover_text(layout: Layout, block: BlockKey, solver: SolverKey, more: Sequence[str] = ()) -> str:
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
        f"<b>{_wrapped(layout.catalogue.display_name(solver))}</b>",
        _wrapped(f"options: {options or 'none'}"),
        f"{shown(block_label(block, [block]))}, centring {shown(block.centring)}, {plural(cell.ok, 'pair')}",
        f"T + affinity: {interval_text(cell.total_seconds)}",
        f"T: {interval_text(cell.seconds)}",
        f"k/k_opt: {shown(quality)}",
        f"c: {shown(c)} (gap {'at most ' if cell.chance_corrected_is_bound else ''}{format_gap(1 - cell.chance_corrected.value)})",
    ]
    return "<br>".join([*lines, *more, "in brackets: 95 % intervals"])


def interval_text(time: Interval) -> str:
    """A time with the ends of its interval, where it has one."""
    text = format_seconds(time.value)
    if not time.high > time.low:
        return text
    return f"{text} ({format_seconds(time.low)} to {format_seconds(time.high)})"


def _wrapped(text: str) -> str:
    """Lines that fit on the screen of a phone."""
    return "<br>".join(map(shown, textwrap.wrap(text, 46)))


def shown(text: str) -> str:
    """Text for plotly, which reads a few HTML elements and entities in what it draws."""
    return html.escape(text, quote=False)


def error_bars(*intervals: Interval) -> dict[str, Any] | None:
    """Asymmetric error bars; None where no interval has a width."""
    up = [max(i.high - i.value, 0.0) if math.isfinite(i.high) else 0.0 for i in intervals]
    down = [max(i.value - i.low, 0.0) if math.isfinite(i.low) else 0.0 for i in intervals]
    if not any(up) and not any(down):
        return None
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 0}


def place_of(gap_axis: GapAxis, c: float) -> float:
    """Where a quality stands on the axis of gaps; NaN for an unknown one."""
    return gap_axis.place(1 - c) if math.isfinite(c) else math.nan


def marker(look: Look, is_bound: bool) -> dict[str, Any]:
    """A solver's marker, open where only a bound is known."""
    symbol = _SYMBOLS.get(look.marker, "circle")
    marker: dict[str, Any] = {"symbol": f"{symbol}-open" if is_bound else symbol, "color": look.color, "size": 10}
    if symbol.startswith("line"):
        marker["line"] = {"width": 1.5, "color": look.color}
    return marker


def dash_of(dash: Any) -> str:
    """A dash as plotly writes it; lengths are doubled, its lines are finer than those on paper."""
    if isinstance(dash, str):
        return _DASHES[dash]
    _, lengths = dash
    return ",".join(f"{2 * length}px" for length in lengths)


def new_figure() -> Figure:
    """An empty figure; colours of text and grid are the page's, light or dark."""
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


def seconds_axis(axis: Any, title: str) -> None:
    """A logarithmic axis of seconds with ticks such as 10 ms."""
    axis.type, axis.title.text = "log", title
    axis.tickformat, axis.ticksuffix, axis.dtick, axis.automargin = "~s", "s", 1, True
    axis.title.standoff = 10


def gap_scale(figure: Figure, axis: Any, gap_axis: GapAxis, letter: str) -> None:
    """The axis of gaps on the figure's ``x`` or ``y``, with a band for the optimum."""
    places, texts = gap_axis.ticks()
    if letter == "x":
        texts = [*(t if i % 2 == 0 else "" for i, t in enumerate(texts[:-1])), texts[-1]]
    axis.tickvals, axis.ticktext, axis.title.text = places, texts, "gap to the optimum, 1 − c"
    axis.range = [gap_axis.lowest - 0.25, gap_axis.optimum + 0.5]
    axis.zeroline, axis.automargin, axis.title.standoff = False, True, 10
    band: dict[str, Any] = {f"{letter}0": gap_axis.optimum - 0.22, f"{letter}1": gap_axis.optimum + 0.22}
    other = "x" if letter == "y" else "y"
    band |= {f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1}
    figure.add_shape(type="rect", fillcolor=_OPTIMUM_BAND, line={"width": 0}, layer="below", **band)


def plain_figure(figure: Figure) -> dict[str, Any]:
    """``data`` and ``layout``, without the template that plotly adds."""
    content = json.loads(figure.to_json())
    return {"data": content["data"], "layout": {k: v for k, v in content["layout"].items() if k != "template"}}
