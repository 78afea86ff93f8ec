"""Pictures of the task `outputs`: correlations, and all pairs of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from semrsm_bench.core.task import Result
from semrsm_bench.report.figures.parts import by_depth, draw_forest, method_looks, value_of
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing, new_figure, short

_BINS, _MOST_METHODS = 12, 5


def draw(results: TaskResults) -> Iterator[Drawing]:
    """All pictures that the rows of a run allow."""
    found: dict[tuple[Any, ...], dict[str, Result]] = {}
    for row, result in results.found:
        place = value_of(result.cell, "model", "layer", "centring", "kernel")
        found.setdefault(place, {})[row["method"]] = result
    if found:
        yield _draw_pairs(_one_layer(list(found.values())))
        yield _draw_forest(results)


def _one_layer(found: Sequence[Mapping[str, Result]]) -> Mapping[str, Result]:
    """The last layer of the first network, under the cosine kernel where it was measured."""
    places = [next(iter(here.values())).cell for here in found]
    kernel = "cosine" if any(place["kernel"] == "cosine" for place in places) else places[0]["kernel"]
    mine = [place for place in places if place["model"] == places[0]["model"]]
    layer = by_depth(mine)[-1]
    return next(h for h, p in zip(found, places) if p in mine and (p["layer"], p["kernel"]) == (layer, kernel))


def _draw_pairs(found: Mapping[str, Result]) -> Drawing:
    """Divergence over similarity of all pairs, a panel for each method, with the mean of equally filled bins."""
    from matplotlib.colors import LogNorm

    looks = dict(list(method_looks(found).items())[:_MOST_METHODS])
    place = next(iter(found.values())).cell
    figure = new_figure(2.9 * len(looks) + 0.4, 3.1)
    panels = figure.subplots(1, len(looks), sharey=True, squeeze=False)[0]
    for axes, (method, (colour, mark)) in zip(panels, looks.items(), strict=True):
        similarities, divergences = (found[method].arrays[name] for name in ("rsm", "divergence"))
        # From 0.3 on, so that a cell with a single pair is grey, not white.
        norm = LogNorm(vmin=0.3)
        image = axes.hexbin(similarities, divergences, gridsize=36, norm=norm, cmap="Greys", mincnt=1, linewidths=0)
        parts = [p for p in np.array_split(np.argsort(similarities, kind="stable"), _BINS) if len(p)]
        middle = [(similarities[p].mean(), divergences[p].mean()) for p in parts]
        axes.plot(*zip(*middle, strict=True), color=colour, marker=mark, ms=4, lw=1.2)
        pearson = found[method].scores["pearson"]
        axes.set(xlabel=f"{place['kernel']} similarity")
        axes.set_title(f"{short(method)}{'' if pearson is None else f', Pearson {pearson:.3f}'}")
        figure.colorbar(image, ax=axes, pad=0.02, format="%g").ax.tick_params(labelsize=6.5)
    panels[0].set_ylabel("Jensen-Shannon divergence (nats)")
    return Drawing(
        "pairs",
        figure,
        f"All pairs of images in {place['layer']} of {place['model']}: divergence of their class probabilities over their "
        f"{place['kernel']} similarity (grey: pairs in a cell, logarithmic). Line: means of {_BINS} bins with as many pairs each.",
        "Panels of pair densities, one for each method, with their Pearson correlations",
    )


def _draw_forest(results: TaskResults) -> Drawing:
    shown = [score for score in results.task.scores if score.name in ("pearson", "spearman")]
    return Drawing(
        "correlations",
        draw_forest(results.summaries, shown, "kernel"),
        "Correlation of similarity with the divergence of class probabilities, with 95 % bootstrap intervals over images; further "
        "left is better.",
        "Dots with intervals for each network, layer, kernel and method; the figures stand in the table",
    )
