"""Figures of the study of matching quality: uneven change, and agreement of RSMs over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BlockKey, SolverKey, option_text
from semrsm_bench.report.gap_axis import GapAxis
from semrsm_bench.report.labels import label_points
from semrsm_bench.report.style import (
    BLUE,
    GREEN,
    GREY,
    RC,
    VERMILION,
    Look,
    add_caption,
    caption_text,
    looks,
    new_figure,
    seconds_axis,
)
from semrsm_bench.solvers import get_solver
from semrsm_bench.studies.downstream import Standing
from semrsm_bench.studies.matched_layers import OPTIMUM, UNMATCHED, MatchedLayer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Pairs drawn in one panel; more would only blacken the paper.
_DRAWN_PAIRS = 2000


def key_of(name: str) -> SolverKey:
    """A solver as tables and figures name it."""
    solver = get_solver(name)
    return SolverKey(name, solver.kind, tuple((option, option_text(value)) for option, value in solver.options.items()))


def draw_quality(matched: Sequence[MatchedLayer], model: str) -> Figure | None:
    """Boxes over the pairs of every layer under one centring: k/k_opt above, the gap 1 - c below."""
    import matplotlib as mpl

    from semrsm_bench.report.distribution import draw_distribution

    quality, corrected, blocks = {}, {}, []
    for layer in matched:
        block = BlockKey(model, layer.size, layer.layer, layer.images.rows.channels, layer.centring)
        blocks.append(block)
        upper = np.triu_indices(layer.count, 1)
        for name in layer.solvers:
            ratios = layer.quality(name)[upper]
            quality[block, key_of(name)] = ratios[np.isfinite(ratios)]
            corrected[block, key_of(name)] = layer.chance_corrected(name)[upper]
    catalogue = Catalogue({})
    style = looks(catalogue.order(solver for _, solver in corrected))
    foot = f"{model}, centring {matched[0].centring}; images: " + ", ".join(f"{m.count} at {m.layer}" for m in matched)
    with mpl.rc_context(dict(RC)):
        return draw_distribution(quality, corrected, blocks, catalogue, style, [foot])


def draw_unevenness(by_centring: Mapping[str, Sequence[MatchedLayer]]) -> Figure:
    """Every pair of images: similarity without matching against the optimum; one column per layer, one row per centring."""
    import matplotlib as mpl

    from semrsm_bench.studies.unevenness import unevenness

    rows, columns = len(by_centring), max(map(len, by_centring.values()))
    width = 0.75 + 2.35 * columns
    text, foot = caption_text(
        [
            "Each dot is a pair of images; both axes in units of the panel's mean k_opt. Dashed: nothing gained by matching. "
            "If matching multiplied all similarities by one number, all dots would lie on the orange line; if it added the same "
            "to all, on the green dotted one. CV: coefficient of variation over the pairs, of the ratio k/k_opt "
            "and of the gain k_opt - k; rho: Spearman of the two RSMs."
        ],
        width,
    )
    height = foot + 2.7 * rows + 0.15
    with mpl.rc_context(dict(RC)):
        figure = new_figure(width, height)
        grid = figure.subplots(rows, columns, squeeze=False)
        figure.subplots_adjust(
            left=0.6 / width,
            right=1 - 0.1 / width,
            top=1 - 0.5 / height,
            bottom=(foot + 0.45) / height,
            wspace=0.25,
            hspace=0.45,
        )
        for axes_row, (centring, layers) in zip(grid, by_centring.items()):
            for axes, layer in zip(axes_row, layers):
                found = unevenness(layer)
                _scatter(axes, layer, found["ratio_cv"] is not None)
                spread = "–" if found["ratio_cv"] is None else f"{found['ratio_cv']:.2f}"
                told = f"CV: ratio {spread}, gain {found['gain_cv']:.2f}; rho {_first_rank(found):.2f}"
                axes.set_title(f"{layer.layer}, S = {layer.size}, {centring}\n{told}", fontsize=8, loc="left")
            axes_row[0].set_ylabel("semantic, k_opt")
            for axes in axes_row[len(layers) :]:
                axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel("spatio-semantic, k")
        add_caption(figure, text)
    return figure


def _first_rank(found: Mapping[str, float | None]) -> float:
    """Spearman under the kernel that was named first."""
    return next(value for name, value in found.items() if name.startswith("rank_") and value is not None)


def _scatter(axes: Axes, layer: MatchedLayer, ratio_means_something: bool) -> None:
    x, y = layer.values(UNMATCHED), layer.values(OPTIMUM)
    unit = float(np.mean(y)) if np.mean(y) > 0 else float(np.abs(y).max()) or 1.0
    x, y = x / unit, y / unit
    drawn = np.random.default_rng(0).permutation(len(x))[:_DRAWN_PAIRS]
    axes.grid(True)
    axes.plot(x[drawn], y[drawn], ls="none", marker=".", ms=3.2, mew=0, color=BLUE, alpha=0.45)
    low, high = min(float(x.min()), 0.0), float(y.max())
    axes.plot([low, high], [low, high], color=GREY, lw=0.9, ls="--")
    gain = float(np.mean(y - x))
    axes.plot([low, high - gain], [low + gain, high], color=GREEN, lw=1.1, ls=":")
    if ratio_means_something:
        axes.plot([0.0, float(np.mean(x / y)) * high], [0.0, high], color=VERMILION, lw=1.1)


def draw_downstream(standings: Sequence[Standing], demands: Mapping[str, float]) -> Figure:
    """Agreement with the exact RSM over the time per pair, one row of panels per layer.

    Left the ranking (1 - Spearman, logarithmic, better upwards), right the share of images that keep their nearest neighbour.
    Markers show the worst kernel and centring, bars reach up to the best.
    """
    import matplotlib as mpl

    layers = list(dict.fromkeys(s.layer for s in standings))
    catalogue = Catalogue({})
    style = looks(catalogue.order(key_of(s.solver) for s in standings))
    width = 9.6
    text, foot = caption_text(
        [
            "Marker: the worst of the kernels and centrings, bar: up to the best; horizontal bar: 95 % interval of the median "
            "time. Squares: the exact solver. Dotted: what the recommendation asks for. Bold: nothing faster is as good. "
            "Same-position matching (identity) computes nothing and stands at the left edge.",
        ],
        width,
    )
    height = foot + 2.75 * len(layers) + 0.2
    with mpl.rc_context(dict(RC)):
        figure = new_figure(width, height)
        grid = figure.subplots(len(layers), 2, squeeze=False)
        figure.subplots_adjust(
            left=0.95 / width,
            right=1 - 0.15 / width,
            top=1 - 0.3 / height,
            bottom=(foot + 0.45) / height,
            wspace=0.2,
            hspace=0.42,
        )
        gap_axis = GapAxis.covering(1 - s.worst["spearman"] for s in standings)
        for axes_row, layer in zip(grid, layers):
            here = [s for s in standings if s.layer == layer]
            _draw_panel(axes_row[0], here, "spearman", style, gap_axis, demands.get("spearman"))
            _draw_panel(axes_row[1], here, "same_neighbour", style, None, demands.get("same_neighbour"))
            title = f"{layer}, S = {here[0].size}, {here[0].images} images: "
            axes_row[0].set_title(f"{title}ranking of the pairs", loc="left")
            axes_row[1].set_title(f"{title}nearest neighbours", loc="left")
            axes_row[0].set_ylabel("1 − Spearman")
            axes_row[1].set_ylabel("same neighbour, %")
        for axes in grid[-1]:
            axes.set_xlabel("time per pair, affinity included")
        add_caption(figure, text)
    return figure


def _draw_panel(
    axes: Axes,
    standings: Sequence[Standing],
    measure: str,
    style: Mapping[SolverKey, Look],
    gap_axis: GapAxis | None,
    demanded: float | None,
) -> None:
    timed = sorted((s for s in standings if s.seconds.value > 0), key=lambda s: s.seconds.value)
    near = [s for s in timed if s.solver != UNMATCHED]
    if not near:
        return
    left, right = near[0].seconds.value / 2.6, near[-1].seconds.value * 3

    def place(value: float) -> float:
        return 100 * value if gap_axis is None else gap_axis.place(1 - value)

    axes.set_xscale("log")
    axes.set_xlim(left, right)
    seconds_axis(axes.xaxis)
    axes.grid(True, which="major")
    if gap_axis is None:
        lowest = min(100 * s.worst[measure] for s in timed)
        axes.set_ylim(lowest - 0.12 * (100 - lowest) - 1, 100 + 0.14 * (100 - lowest) + 1)
    else:
        axes.set_ylim(gap_axis.lowest - 0.3, gap_axis.optimum + 0.8)
        places, texts = gap_axis.ticks()
        axes.set_yticks(places, [*texts[:-1], "exact"])
    if demanded is not None:
        axes.axhline(place(demanded), color="#555555", lw=0.8, ls=":")
    best = float("-inf")
    points, texts, colors, weights, bars = [], [], [], [], []
    for standing in timed:
        look = style[key_of(standing.solver)]
        x = max(standing.seconds.value, left * 1.2) if standing.solver == UNMATCHED else standing.seconds.value
        low, high = place(standing.worst[measure]), place(standing.best[measure])
        on_front = low > best
        best = max(best, low)
        alpha = 1.0 if on_front else 0.45
        axes.plot([x, x], [low, high], color=look.color, lw=1.0, alpha=alpha, zorder=2)
        if standing.solver != UNMATCHED:
            ends = [standing.seconds.low, standing.seconds.high]
            axes.plot(ends, [low, low], color=look.color, lw=0.9, alpha=alpha, zorder=2)
            bars.append([(max(ends[0], left), low), (min(ends[1], right), low)])
        edge = "black" if on_front else look.color
        axes.plot(
            [x], [low], marker=look.marker, ms=6, color=look.color, mec=edge, mew=0.7, alpha=alpha, ls="none", zorder=3
        )
        points.append((x, low))
        texts.append(standing.solver)
        colors.append("black" if on_front else GREY)
        weights.append("bold" if on_front else "normal")
        bars.append([(x, low), (x, high)])
    label_points(axes, points, texts, colors=colors, sizes=[6.8] * len(points), weights=weights, lines=bars)
