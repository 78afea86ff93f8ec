"""Scores per cell: quartiles and single cases of each cell, method by method (the paper's Fig. 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.report.formatting import plural
from semrsm_bench.report.layout import Layout, Sheet
from semrsm_bench.report.score_axis import ScoreAxis
from semrsm_bench.report.style import Look, captioned_figure, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Up to so many cases are drawn one by one over the box; more would only blacken the paper.
_DRAWN_CASES = 60
# Where k_opt is barely positive the ratio can be any negative number.
_LOWEST_RATIO = -1.0


def draw_distribution(layout: Layout, sheet: Sheet, caption: str) -> Figure | None:
    """Boxes over the cases: one row of panels per score that single cases have, one column per cell; None without any.

    Of qualities the gap is drawn on a logarithmic scale. Exact solvers are left out, they are the optimum.
    """
    results = layout.results
    # The score that ranks stands below, beside the axis that it shares with other figures.
    values = {score: results.case_values(score.name) for score in reversed(results.task.scores)}
    scores = [score for score, of_cases in values.items() if of_cases]
    samples = {
        s.name: {key: v for key, v in values[s].items() if key[0] in sheet.cells and key[1].category != "exact"}
        for s in scores
    }
    known = [key for of_cases in samples.values() for key in of_cases]
    drawn = [cell for cell in sheet.cells if any(c == cell for c, _ in known)]
    methods = [m for m in results.methods if any(key[1] == m for key in known)]
    if not drawn:
        return None
    names = [short(results.catalogue.display_name(method)) for method in methods]
    note = f"Box: quartiles, line: median, whiskers: all cases ({layout.cases(sheet)} each)."
    if any(m.category == "exact" for m in results.methods):
        note += " Exact solvers are the optimum and left out."
    for score in scores:
        outside = sum(int((v < _LOWEST_RATIO).sum()) for v in samples[score.name].values())
        if outside and score.style == "percent":
            note += f" {plural(outside, 'value')} of {score.title.removesuffix(' %')} below −{abs(_LOWEST_RATIO):g} not shown."
    panel = 0.42 + 0.2 * len(methods)
    left = 0.3 + 0.082 * max(map(len, names))
    width = left + 0.15 + 2.1 * len(drawn)
    height = len(scores) * (panel + 0.62) + 0.1
    margins = (left, 0.15, 0.32, 0.5)
    figure = captioned_figure(width, height, [note, caption], margins, wspace=0.1, hspace=0.62 / panel)
    grid = figure.subplots(len(scores), len(drawn), squeeze=False, sharey=True, sharex="row")
    for row, score in enumerate(scores):
        lowest = _LOWEST_RATIO if score.style == "percent" else -np.inf
        axis = ScoreAxis.covering(score, (x for v in samples[score.name].values() for x in v), lowest)
        for column, cell in enumerate(drawn):
            axes = grid[row][column]
            axes.grid(True, axis="x")
            if row == 0:
                axes.set_title(layout.cell_title(sheet, cell), loc="left")
            axes.set_xlabel(axis.title)
            axis.apply(axes.xaxis, sparse=True)
            for place, method in enumerate(methods):
                drawn_values = samples[score.name].get((cell, method))
                if drawn_values is not None:
                    _draw_box(axes, place, np.array([axis.place(v) for v in drawn_values]), layout.looks[method])
            axes.set_yticks(range(len(methods)), names)
            axes.set_ylim(len(methods) - 0.4, -0.6)
    return figure


def _draw_box(axes: Axes, place: int, values: NDArray[np.float64], look: Look) -> None:
    low, first, middle, third, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    axes.hlines(place, low, high, color=look.color, lw=1.0)
    axes.barh(place, third - first, left=first, height=0.52, color=look.color, alpha=0.35, lw=0)
    axes.barh(place, third - first, left=first, height=0.52, fill=False, edgecolor=look.color, lw=0.9)
    axes.vlines(middle, place - 0.34, place + 0.34, color="black", lw=1.4)
    if len(values) <= _DRAWN_CASES:
        # A fixed pattern instead of chance: the same figure every time.
        offset = ((np.arange(len(values)) * 0.618) % 1 - 0.5) * 0.4
        dots: dict[str, Any] = {"ls": "none", "marker": ".", "ms": 2.6, "color": "#333333", "alpha": 0.6, "mew": 0}
        axes.plot(values, place + offset, **dots)
