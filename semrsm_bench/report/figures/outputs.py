"""Pictures of the task `outputs`: correlations, all pairs of images, and RSMs without a matching beside matched ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.stats import Interval, interval_of
from semrsm_bench.core.task import Result
from semrsm_bench.metrics import cka
from semrsm_bench.report.figures.parts import (
    by_depth,
    draw_curve,
    draw_forest,
    method_looks,
    series_looks,
    value_of,
)
from semrsm_bench.report.places import Place
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing, new_figure, short

Floats = NDArray[np.float64]

_BINS, _MOST_METHODS = 12, 5
_SAME, _OPTIMUM = "identity", "exact-auction"


def draw(results: TaskResults) -> list[Drawing]:
    """All pictures that the rows of a run allow."""
    found: dict[tuple[Any, ...], dict[str, Result]] = {}
    for row, result in results.found:
        place = value_of(result.cell, "model", "layer", "centring", "kernel")
        found.setdefault(place, {})[row["method"]] = result
    if not found:
        return []
    return [_draw_pairs(_one_layer(list(found.values()))), _draw_forest(results), *_draw_own(found)]


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
        figure.colorbar(image, ax=axes, pad=0.02).ax.tick_params(labelsize=6.5)
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


def _draw_own(found: Mapping[tuple[Any, ...], Mapping[str, Result]]) -> list[Drawing]:
    """CKA of the RSM without matching with the exact one, over the layers of each network: as in Fig. 15 of the paper."""
    rsms = {place: here[_SAME] for place, here in found.items() if _SAME in here and "exact" in here[_SAME].arrays}
    if len({place[:2] for place in rsms}) < 2 or len({layer for _, layer, *_ in rsms}) < 2:
        return []
    _, _, centring, kernel = next(iter(rsms))
    networks: dict[str, list[Result]] = {}
    for (model, *_, c, k), result in rsms.items():
        if (c, k) == (centring, kernel):
            networks.setdefault(model, []).append(result)
    figure = new_figure(6.2, 3.3)
    axes = figure.subplots()
    longest: list[Place] = []
    for k, ((network, results), look) in enumerate(zip(networks.items(), series_looks())):
        ordered = sorted(results, key=lambda r: -int(r.cell["size"]))
        depth = np.linspace(0, 1, len(ordered)) + 0.012 * (k - (len(networks) - 1) / 2)
        draw_curve(axes, list(zip(depth, map(_agreement, ordered))), *look, short(network))
        longest = max(longest, [r.cell for r in ordered], key=len)
    axes.set_xticks(np.linspace(0, 1, len(longest)), [f"{p['layer']}\nS = {p['size']}" for p in longest])
    axes.set(ylabel=f"CKA, {kernel} kernel", title=f"{_OPTIMUM} against {_SAME} RSM of the same layer")
    axes.axhline(1, color="#444444", lw=0.6)
    axes.grid(axis="y")
    axes.legend(frameon=False, fontsize=7.5)
    return [
        Drawing(
            "own",
            figure,
            f"CKA of the RSM of equal positions ({_SAME}) with that of the optimal matching ({_OPTIMUM}), {kernel} kernel, "
            f"centring {centring}, with 95 % jackknife intervals over images. Networks of other depths are spread over the same "
            "axis.",
            f"Lines over the layers of {len(networks)} networks",
        )
    ]


def _agreement(result: Result) -> Interval:
    """CKA of a matching's RSM with the exact one, and without each image in turn."""
    rsm, exact = (_square(result.arrays[name]) for name in ("rsm", "exact"))
    every = np.arange(len(rsm))
    values = [cka(exact, rsm, "debiased")]
    for image in every:
        left = np.ix_(every != image, every != image)
        values.append(cka(exact[left], rsm[left], "debiased"))
    return interval_of(np.array(values), "jackknife")


def _square(triangle: Floats) -> Floats:
    """The symmetric matrix of what lies above the diagonal, which itself is 0."""
    n = round((1 + np.sqrt(1 + 8 * len(triangle))) / 2)
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, 1)] = triangle
    return matrix + matrix.T
