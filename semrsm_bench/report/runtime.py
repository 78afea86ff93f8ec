"""Runtime over the number of positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from semrsm_bench.core.stats import Interval
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.labels import space_out
from semrsm_bench.report.layout import Layout, Sheet
from semrsm_bench.report.notes import case_noun
from semrsm_bench.report.style import GREY, Look, captioned_figure, seconds_axis, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL_POINTS = 10.0

# Name, look, and (S, time) in the order of S.
RuntimeLine = tuple[str, Look, list[tuple[int, Interval]]]


def _lines(layout: Layout, sheet: Sheet) -> list[RuntimeLine]:
    """Lines of all methods that have a time, then of what they share. Of several cells with equal S the first stands for all."""
    results = layout.results
    by_size = {int(results.places[cell].get("size") or 0): cell for cell in reversed(sheet.cells)}
    cells = sorted((s, cell) for s, cell in by_size.items() if s)
    times = {
        m: [(s, results.cells[c, m].seconds) for s, c in cells if (c, m) in results.cells] for m in results.methods
    }
    shared = MethodKey.shared_by(results.task.kind)
    times[shared] = [(s, results.shared[c]) for s, c in cells if c in results.shared]
    known = {method: [(s, t) for s, t in points if t.value > 0] for method, points in times.items()}
    dotted = Look(GREY, "|", (0, (1, 1)))
    return [
        (short(results.catalogue.display_name(method)), layout.looks.get(method, dotted), points)
        for method, points in known.items()
        if points
    ]


def draw_runtime(layout: Layout, sheet: Sheet, caption: str) -> Figure | None:
    """Median time of the call over S, one line per method, with intervals; what they share is a line of its own.

    None without a time or an S.
    """
    lines = _lines(layout, sheet)
    if not lines:
        return None
    right = 0.5 + 0.075 * max(len(name) for name, _, _ in lines)
    figure = captioned_figure(7.4, max(4.0, 0.62 + 0.19 * len(lines)), [caption], (0.85, right, 0.32, 0.5))
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_xscale("log", base=2)
    sizes = sorted({s for _, _, points in lines for s, _ in points})
    axes.set_xticks(sizes, [str(s) for s in sizes])
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.12)
    axes.minorticks_off()
    times = [t.value for _, _, points in lines for _, t in points]
    axes.set_ylim(min(times) / 2.5, max(times) * 2.5)
    seconds_axis(axes.yaxis)
    axes.grid(True, which="major")
    axes.set_xlabel("positions S")
    alone = ", solve alone" if layout.results.shared else ""
    axes.set_ylabel(f"time per {case_noun(layout.results.task.unit)}{alone}")
    axes.set_title(layout.title(sheet), loc="left")
    for _, look, points in lines:
        x = [s for s, _ in points]
        y = [t.value for _, t in points]
        axes.plot(x, y, color=look.color, ls=look.dash, marker=look.marker, ms=5, lw=1.3, mec="black", mew=0.4)
        axes.vlines(x, [t.low for _, t in points], [t.high for _, t in points], color=look.color, lw=1.0)
    _label_ends(axes, lines, figure.get_figheight())
    return figure


def _label_ends(axes: Axes, lines: Sequence[RuntimeLine], height: float) -> None:
    """Names in a column at the right, each tied to the last point of its line."""
    low, high = (math.log10(v) for v in axes.get_ylim())
    per_point = (high - low) / (axes.get_position().height * height * 72)
    ends = [math.log10(points[-1][1].value) for _, _, points in lines]
    heights = space_out(ends, _LABEL_POINTS * per_point, low, high)
    edge = axes.get_xlim()[1]
    column = edge * (edge / axes.get_xlim()[0]) ** 0.05
    for (name, look, points), y in zip(lines, heights):
        x, last = points[-1][0], points[-1][1].value
        tie: dict[str, Any] = {"color": look.color, "lw": 0.6, "ls": (0, (1, 2)), "clip_on": False, "zorder": 1}
        axes.plot([x, edge, column], [last, last, 10**y], **tie)
        axes.text(column, 10**y, f" {name}", color="black", fontsize=7.6, va="center", ha="left", clip_on=False)
