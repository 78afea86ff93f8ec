"""Figures of the study `outputs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics.arrays import upper_triangle
from semrsm_bench.report.style import BLUE, GREY, ORANGE, RC, VERMILION, new_figure, short
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC, TRANSLATION, LayerRsms
from semrsm_bench.studies.study import Drawing

if TYPE_CHECKING:
    from semrsm_bench.studies.outputs import Correlation

LOOKS = {SPATIO_SEMANTIC: (BLUE, "o"), TRANSLATION: (ORANGE, "D"), SEMANTIC: (VERMILION, "s")}
_BINS = 12


def draw_pairs(layer: LayerRsms, divergence: NDArray[np.float64], found: Sequence[Correlation]) -> Drawing:
    """Divergence over similarity of all pairs, a panel for each matching, with the mean of equally filled bins."""
    import matplotlib as mpl
    from matplotlib.colors import LogNorm

    kernels = list(layer.rsms[SEMANTIC])
    kernel = "cosine" if "cosine" in kernels else kernels[0]
    values = {
        c.matching: c.value.value
        for c in found
        if (c.network, c.layer, c.kernel, c.method) == (layer.network, layer.layer, kernel, "pearson")
    }
    divergences = upper_triangle(divergence)
    with mpl.rc_context(dict(RC)):
        figure = new_figure(2.9 * len(layer.rsms) + 0.4, 3.1)
        panels = figure.subplots(1, len(layer.rsms), sharey=True, squeeze=False)[0]
        for axes, (matching, rsms) in zip(panels, layer.rsms.items(), strict=True):
            similarities = upper_triangle(rsms[kernel])
            # From 0.3 on, so that a cell with a single pair is grey, not white.
            image = axes.hexbin(
                similarities, divergences, gridsize=36, norm=LogNorm(vmin=0.3), cmap="Greys", mincnt=1, linewidths=0
            )
            parts = np.array_split(np.argsort(similarities, kind="stable"), _BINS)
            middle = [(similarities[p].mean(), divergences[p].mean()) for p in parts if len(p)]
            axes.plot(*zip(*middle, strict=True), color=LOOKS[matching][0], marker=LOOKS[matching][1], ms=4, lw=1.2)
            axes.set(title=f"{matching}, Pearson {values[matching]:.3f}", xlabel=f"{kernel} similarity")
            figure.colorbar(image, ax=axes, pad=0.02).ax.tick_params(labelsize=6.5)
        panels[0].set_ylabel("Jensen-Shannon divergence (nats)")
        figure.tight_layout()
    text = ", ".join(f"{m} {v:.3f}" for m, v in values.items())
    return Drawing(
        "pairs",
        figure,
        f"All pairs of images in {layer.layer} of {layer.network}: divergence of their class probabilities over their {kernel} "
        f"similarity (grey: pairs in a cell, logarithmic). Line: means of {_BINS} bins with as many pairs each.",
        f"Panels of pair densities, one for each matching; Pearson correlations: {text}.",
    )


def draw_forest(found: Sequence[Correlation]) -> Drawing:
    """Correlations with intervals: a row for each network and layer, panels for kernel and method."""
    import matplotlib as mpl

    methods, kernels, matchings = (
        list(dict.fromkeys(getattr(c, name) for c in found)) for name in ("method", "kernel", "matching")
    )
    places = list(dict.fromkeys((c.network, c.layer) for c in found))
    several = len({layer for _, layer in places}) > 1
    with mpl.rc_context(dict(RC)):
        figure = new_figure(2.4 + 2.1 * len(kernels), (0.6 + 0.3 * len(places)) * len(methods) + 0.7)
        panels = figure.subplots(len(methods), len(kernels), sharex="row", sharey=True, squeeze=False)
        for axes, (method, kernel) in zip(panels.flat, [(m, k) for m in methods for k in kernels], strict=True):
            for c in (c for c in found if (c.method, c.kernel) == (method, kernel)):
                colour, marker = LOOKS[c.matching]
                offset = 0.22 * (matchings.index(c.matching) - (len(matchings) - 1) / 2)
                y = places.index((c.network, c.layer)) + offset
                axes.plot([c.value.low, c.value.high], [y, y], color=colour, lw=1.1)
                axes.plot(c.value.value, y, marker, ms=4, color=colour)
            axes.axvline(0, color=GREY, lw=0.7)
            axes.set(title=f"{method.capitalize()}, {kernel}", ylim=(len(places) - 0.5, -0.5))
            axes.set_yticks(range(len(places)), [f"{short(n)}, {la}" if several else short(n) for n, la in places])
            axes.grid(axis="x")
        for matching in matchings:
            panels[0][0].plot([], [], LOOKS[matching][1], ms=4, color=LOOKS[matching][0], label=matching)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.tight_layout(rect=(0, 0.45 / figure.get_figheight(), 1, 1))
        figure.legend(handles, labels, loc="lower center", ncols=len(matchings), frameon=False)
    return Drawing(
        "correlations",
        figure,
        "Correlation of similarity with the divergence of class probabilities, with 95 % bootstrap intervals over images; "
        "further left is better.",
        "Dots with intervals for each network, kernel and matching; the figures stand in the tables.",
    )
