"""Pictures of the task `outputs`: correlations, and all pairs of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from semrsm_bench.core.task import Result
from semrsm_bench.report.figures.parts import by_depth, draw_forest, method_looks
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing, new_panels, short

_BINS, _MOST_METHODS = 12, 5


def draw(results: TaskResults) -> Iterator[Drawing]:
    """All pictures that the rows of a run allow: pairs at the last layer of the first network, under the cosine kernel if there."""
    if not results.found:
        return
    places = [result.cell for _, result in results.found]
    first = places[0]
    kernel = "cosine" if any(place["kernel"] == "cosine" for place in places) else first["kernel"]
    layer = by_depth(place for place in places if place["model"] == first["model"])[-1]
    shown = {"model": first["model"], "layer": layer, "kernel": kernel}
    here = [(r["method"], found) for r, found in results.found if shown.items() <= found.cell.items()]
    # The first of several centrings.
    centring = here[0][1].cell.get("centring")
    yield _draw_pairs({method: found for method, found in here if found.cell.get("centring") == centring})
    yield Drawing(
        "correlations",
        draw_forest(results.summaries, [s for s in results.task.scores if s.name in ("pearson", "spearman")], "kernel"),
        "Correlation of similarity with the divergence of class probabilities, with 95 % bootstrap intervals over images; further "
        "left is better.",
        "Dots with intervals for each network, layer, kernel and method; the figures are in the table",
    )


def _draw_pairs(found: Mapping[str, Result]) -> Drawing:
    from matplotlib.colors import LogNorm

    looks = dict(list(method_looks(found).items())[:_MOST_METHODS])
    place = next(iter(found.values())).cell
    figure, grid = new_panels(len(looks), len(looks), (2.9, 3.1), (0.4, 0.0), sharey=True)
    for axes, (method, look) in zip(grid[0], looks.items(), strict=True):
        similarities, divergences = (found[method].arrays[name] for name in ("rsm", "divergence"))
        # From 0.3 on, so that a cell with a single pair is grey, not white.
        norm = LogNorm(vmin=0.3)
        image = axes.hexbin(similarities, divergences, gridsize=36, norm=norm, cmap="Greys", mincnt=1, linewidths=0)
        parts = [p for p in np.array_split(np.argsort(similarities, kind="stable"), _BINS) if len(p)]
        middle = [(similarities[p].mean(), divergences[p].mean()) for p in parts]
        axes.plot(*zip(*middle, strict=True), color=look.color, marker=look.marker, ms=4, lw=1.2)
        pearson = found[method].scores["pearson"]
        axes.set(xlabel=f"{place['kernel']} similarity")
        axes.set_title(f"{short(method)}{'' if pearson is None else f', Pearson {pearson:.3f}'}")
        figure.colorbar(image, ax=axes, pad=0.02, format="%g").ax.tick_params(labelsize=6.5)
    grid[0][0].set_ylabel("Jensen-Shannon divergence (nats)")
    return Drawing(
        "pairs",
        figure,
        f"All pairs of images in {place['layer']} of {place['model']}: divergence of their class probabilities over their "
        f"{place['kernel']} similarity (grey: pairs in a cell, logarithmic). Line: means of {_BINS} bins with as many pairs each.",
        "Panels of pair densities, one for each method, with their Pearson correlations",
    )
