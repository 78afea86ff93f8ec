"""Figures over all tasks of a run: score against time for each kind of method, and where each method ranks in each task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from semrsm_bench.bench.contest import is_ranked
from semrsm_bench.core.stats import UNKNOWN, Floats
from semrsm_bench.metrics.ranks import TIE, dense_ranks
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.figures.parts import heat
from semrsm_bench.report.figures.run import FRONT_NOTE, front_panel, front_points
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.places import axes as axes_of
from semrsm_bench.report.places import label
from semrsm_bench.report.provenance import figure_caption
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.score_axis import ScoreAxis
from semrsm_bench.report.style import GREY, Drawing, new_figure, new_panels, set_title, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = {"solver": "Solvers", "rsm": "RSM methods", "metric": "Metrics", "instance": "Scores of single stimuli"}
# Of fewer methods an order says nothing.
_FEWEST = 3
_RANKS_NOTE = (
    "Rank of each method by the first score of each task, 1 the best; equal ones share the better rank. Grey: undefined. White: "
    "not measured. Hatched: a check and no contest, as a baseline comes near the methods or all are alike. The order differs from "
    "task to task, so no column sums the others up."
)

_ORDERS_NOTE = (
    "Kendall's tau-b between the orders of the methods in two tasks, each in the cell that stands for it, or another contest: 1 "
    "the same order, 0 none in common. Baselines, statistics of one side and undefined scores take no part."
)


def overview(results: Sequence[TaskResults]) -> Iterator[Drawing]:
    """Of several tasks ``fronts`` where they are of several kinds; of a kind with several cells ``ranks-KIND``, with several tasks
    ``orders-KIND``.
    """
    kinds = dict.fromkeys(one.task.kind for one in results if len(results) > 1)
    if len(kinds) > 1 and (figure := draw_fronts(results)) is not None:
        yield Drawing("fronts", figure, FRONT_NOTE, "Score against time, a panel for each kind of method")
    for kind in kinds:
        of_kind = [one for one in results if one.task.kind == kind]
        if (figure := draw_ranks(of_kind)) is not None:
            yield Drawing(f"ranks-{kind}", figure, _RANKS_NOTE, f"Heat map of ranks: {_KINDS[kind]} by tasks")
        if (figure := draw_orders(of_kind)) is not None:
            alt = f"Heat map of Kendall's tau between tasks, over {_KINDS[kind]}"
            yield Drawing(f"orders-{kind}", figure, _ORDERS_NOTE, alt)


def draw_fronts(results: Sequence[TaskResults]) -> Figure | None:
    """A panel for each kind: the first of its tasks that has points, there the leading cell."""
    shown: dict[str, tuple[Layout, str]] = {}
    for one in results:
        cells = [cell for cell in one.places if front_points(one, cell)]
        if cells and one.task.kind not in shown:
            shown[one.task.kind] = (
                Layout(one),
                max(cells, key=one.leads),
            )  # the first of equal ones
    if not shown:
        return None
    each = (4.6, 3.6)
    figure, grid = new_panels(len(shown), len(shown), each, caption=[FRONT_NOTE, figure_caption(results[0], "")])
    for axes, kind in zip(grid.flat, sorted(shown, key=[*_KINDS].index)):
        layout, cell = shown[kind]
        points = front_points(layout.results, cell)
        axis = ScoreAxis.covering(layout.results.task.scores[0], (p.value for p in points))
        front_panel(axes, layout, cell, points, axis, each[0] - 1)
        axes.set_ylabel(axis.title)
        title = ", ".join(filter(None, (layout.results.task.name, _words(layout.results, cell))))
        set_title(axes, f"{_KINDS[kind]}: {title}", each[0])
    return figure


def draw_ranks(results: Sequence[TaskResults]) -> Figure | None:
    """Methods of one kind by the cells of their tasks that have any result and are no leak tests; None for fewer than two."""
    columns = [
        (one, cell)
        for one in results
        for cell, rows in one.observed.items()
        if rows and not one.task.is_leak(one.places[cell])
    ]
    methods = results[0].catalogue.order(m for one in results for m in one.methods)
    if len(columns) < 2 or not methods:
        return None
    ranks, undefined = np.array([_ranks(one, cell, methods) for one, cell in columns]).transpose(1, 2, 0)
    checks = [cell in one.checks for one, cell in columns]
    names = [short(results[0].catalogue.display_name(m)) for m in methods]
    words = [": ".join(filter(None, (one.task.name, _words(one, cell)))) for one, cell in columns]
    size = max(4.5, 2.4 + 0.36 * len(columns)), 0.8 + 0.19 * len(methods) + 0.055 * max(map(len, words))
    figure = new_figure(*size, [_RANKS_NOTE, figure_caption(results[0], "")])
    axes = figure.subplots()
    share = (ranks - 1) / np.maximum(np.nanmax(ranks, axis=0, initial=1) - 1, 1)
    axes.imshow(np.where(undefined > 0, 1.0, np.nan), cmap="Greys", vmin=0, vmax=2.6, aspect="auto")
    axes.imshow(share, cmap="YlGnBu_r", vmin=-0.15, vmax=1.25, aspect="auto")
    for (row, column), rank in np.ndenumerate(ranks):
        if not np.isnan(rank):
            color = "white" if share[row, column] < 0.45 and not checks[column] else "black"
            axes.text(column, row, f"{rank:.0f}", ha="center", va="center", fontsize=7, color=color)
    for column in np.flatnonzero(checks):
        axes.axvspan(column - 0.5, column + 0.5, facecolor=(1, 1, 1, 0.45), edgecolor=GREY, hatch="////", lw=0)
    for row in range(1, len(methods)):
        if methods[row].category_title != methods[row - 1].category_title:
            axes.axhline(row - 0.5, color="white", lw=3)
            axes.axhline(row - 0.5, color="black", lw=0.7)
    for column in range(1, len(columns)):
        if columns[column][0] is not columns[column - 1][0]:
            axes.axvline(column - 0.5, color="white", lw=3)
    axes.set_xticks(range(len(columns)), words, rotation=90)
    axes.set_yticks(range(len(methods)), names, fontsize=7.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_orders(results: Sequence[TaskResults]) -> Figure | None:
    """How alike the orders of methods are in any two tasks, each in its leading cell, or else another one, that is no check; None
    where fewer than two rank any.
    """
    names, orders = [], []
    for one in results:
        score = one.task.scores[0]
        sign = 1 if score.best == "max" else -1
        known: dict[str, dict[MethodKey, float]] = {cell: {} for cell in one.places if cell not in one.checks}
        for (cell, method), summary in one.cells.items():
            value = summary.scores.get(score.name, UNKNOWN).value
            if cell in known and is_ranked(summary) and not np.isnan(value):
                known[cell][method] = sign * value
        if ranked := [cell for cell, values in known.items() if len(values) >= _FEWEST]:
            cell = max(ranked, key=one.leads)
            names.append(": ".join(filter(None, (one.task.name, _words(one, cell)))))
            orders.append(known[cell])
    if len(orders) < 2:
        return None
    taus = np.array([[_tau(a, b) for b in orders] for a in orders])
    size = 1.6 + 0.42 * len(names) + 0.055 * max(map(len, names))
    figure = new_figure(size + 1, size, [_ORDERS_NOTE, figure_caption(results[0], "")])
    heat(figure.subplots(), taus, names, names, ends=(-1.0, 1.0), most_numbers=len(names))
    return figure


def _tau(a: Mapping[MethodKey, float], b: Mapping[MethodKey, float]) -> float:
    """Kendall's tau-b over the methods that both have; values that are equal up to rounding are ties."""
    from scipy.stats import kendalltau

    shared = [m for m in a if m in b]
    if len(shared) < _FEWEST:
        return np.nan
    ranks = (dense_ranks(np.array([one[m] for m in shared]))[0] for one in (a, b))
    return float(kendalltau(*ranks).statistic)


def _ranks(results: TaskResults, cell: str, methods: Sequence[MethodKey]) -> tuple[Floats, Floats]:
    """Rank of each method in a cell by the first score, NaN without one, and 1 where it was measured and is undefined."""
    score = results.task.scores[0]
    found = [results.cells.get((cell, method)) for method in methods]
    values = np.array([s.scores.get(score.name, UNKNOWN).value if s else np.nan for s in found])
    undefined = np.array([bool(s and s.ok and score.name not in s.bounds) for s in found]) & np.isnan(values)
    values = values if score.best == "max" else -values
    better = (values > values[:, None]) & ~np.isclose(values, values[:, None], rtol=TIE, atol=TIE)
    return np.where(np.isnan(values), np.nan, 1.0 + better.sum(axis=1)), undefined.astype(np.float64)


def _words(results: TaskResults, cell: str) -> str:
    """What tells a cell from the others of its task, in words."""
    keys = [key for axis in axes_of([*results.places.values()], results.keys) for key in axis if key != "channels"]
    return label(keys, results.places[cell])
