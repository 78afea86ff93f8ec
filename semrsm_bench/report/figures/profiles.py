"""Performance profiles: the share of cases on which a solver is within a factor of the fastest, a panel for each level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.bench.profiles import LEVELS
from semrsm_bench.core.task import Floats
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.layout import Layout, Sheet
from semrsm_bench.report.statistics import SheetStatistics
from semrsm_bench.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Beyond these lines hide each other: the others are pale and have no name.
_NAMED = 6
# Exact solvers, which share a colour elsewhere, are side by side here.
_COLOURS = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY, BLACK)
_LARGEST = 1000.0
PROFILE_NOTE = (
    "Further up and to the left is better. At 1× the share of cases on which a solver is the fastest of those that reach the "
    "level, at the right the share on which it reaches it at all. Times end to end. Coloured: the first six by T/best."
)


def draw_profiles(layout: Layout, sheet: Sheet, caption: str) -> Figure | None:
    """One panel for each level that any method reaches; None without."""
    found = SheetStatistics(layout, sheet)
    ratios = {level: found.table.ratios(level) for level in LEVELS}
    levels = [level for level in LEVELS if np.isfinite(ratios[level]).any()]
    if not levels:
        return None
    figure, grid = new_panels(len(levels), len(levels), (3.3, 3.2), (0.5, 0.0), [PROFILE_NOTE, caption], sharey=True)
    places = {
        level: {m: s.rank.value for m, s in found.standings[level].items() if s.rank.value <= _NAMED}
        for level in levels
    }
    named = list(dict.fromkeys(m for level in levels for m in sorted(places[level], key=lambda m: places[level][m])))
    looks = {
        m: {"color": _COLOURS[i % len(_COLOURS)], "ls": "-" if i < len(_COLOURS) else "--"} for i, m in enumerate(named)
    }
    for axes, level in zip(grid.flat, levels):
        _panel(axes, layout, found, ratios[level], {m: looks[m] for m in places[level]})
        axes.set_title(level, loc="left")
    grid[0, 0].set_ylabel("share of cases")
    return figure


def _panel(
    axes: Axes, layout: Layout, found: SheetStatistics, ratios: Floats, looks: Mapping[MethodKey, dict[str, Any]]
) -> None:
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

    lines = {}
    for method, own in zip(found.table.methods, ratios):
        known = np.sort(own[~np.isnan(own)])
        if len(known) and np.isfinite(known[0]):
            steps = known[np.isfinite(known)]
            lines[method] = (
                np.concatenate([[1.0], steps]),
                np.concatenate([[0.0], np.arange(1, len(steps) + 1) / len(known)]),
            )
    right = min(_LARGEST, 1.6 * max(x[-1] for x, _ in lines.values()))
    for method, (x, y) in lines.items():
        style: dict[str, Any] = (
            {"lw": 1.7, "zorder": 3} if method in looks else {"color": GREY, "lw": 0.6, "alpha": 0.5}
        )
        axes.plot([*x, right], [*y, y[-1]], ds="steps-post", **style, **looks.get(method, {}))
    # From the leftmost line to the rightmost one names go down, so that they do not meet.
    order = sorted(looks, key=lambda m: float(np.median(lines[m][0])))
    for i, method in enumerate(order):
        x, y = lines[method]
        height = y[-1] * (0.93 - 0.8 * i / max(len(order) - 1, 1))
        at = min(x[int(np.argmax(y >= height))], right / 4)
        axes.annotate(
            layout.names[method],
            (at, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.6,
            fontweight="bold",
            color=looks[method]["color"],
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=4,
        )
    axes.set(xscale="log", xlim=(1, right), ylim=(0, 1.02), xlabel="time over the fastest")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(True, which="major")
