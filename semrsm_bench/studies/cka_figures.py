"""Figures of the study `cka`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.report.style import BLUE, GREEN, ORANGE, PURPLE, RC, SKY, VERMILION, new_figure, short
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC
from semrsm_bench.studies.study import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from semrsm_bench.studies.cka_comparison import Comparison

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
_MARKERS = "osD^vP"
# Cells of more layers than this are too small for a number.
_MOST_NUMBERS = 10


def draw_own(comparison: Comparison) -> Drawing:
    """Semantic against spatio-semantic RSM of each layer, over the depth of the network."""
    import matplotlib as mpl

    networks = comparison.networks
    with mpl.rc_context(dict(RC)):
        figure = new_figure(6.2, 3.3)
        axes = figure.subplots()
        for k, (network, places) in enumerate(networks.items()):
            depth = np.linspace(0, 1, len(places)) + 0.012 * (k - (len(networks) - 1) / 2)
            intervals = np.array([comparison.own(p).interval for p in places])
            errors = np.abs(intervals[:, 1:] - intervals[:, :1]).T
            colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
            axes.errorbar(
                depth,
                intervals[:, 0],
                yerr=errors,
                color=colour,
                marker=marker,
                ms=4,
                lw=1,
                capsize=2,
                label=short(network),
            )
        longest = max(networks.values(), key=len)
        axes.set_xticks(
            np.linspace(0, 1, len(longest)),
            [f"{comparison.layers[p].layer}\nS = {comparison.layers[p].positions}" for p in longest],
        )
        axes.set(
            ylabel=f"CKA, {comparison.kernel} kernel", title="Semantic against spatio-semantic RSM of the same layer"
        )
        axes.axhline(1, color="#444444", lw=0.6)
        axes.grid(axis="y")
        axes.legend(frameon=False, fontsize=7.5)
        figure.tight_layout()
    values = [comparison.own(a).value for a in range(len(comparison.layers))]
    return Drawing(
        f"own-{comparison.kernel}",
        figure,
        f"CKA of the semantic with the spatio-semantic RSM of the same layer ({comparison.kernel} kernel), with 95 % jackknife "
        "intervals over images. Networks of other depths are spread over the same axis.",
        f"Lines over the layers of {len(networks)} networks, from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}.",
    )


def draw_within(comparison: Comparison) -> Drawing:
    """Layer x layer heat maps of each network: spatio-semantic, semantic, difference."""
    import matplotlib as mpl

    networks = comparison.networks
    maps = _maps(comparison)
    limit = _limit([m[np.ix_(p, p)] for p in networks.values() for m in (maps[2][1],)])
    with mpl.rc_context(dict(RC)):
        figure = new_figure(8.4, 2.35 * len(networks) + 0.3)
        panels = figure.subplots(len(networks), 3, squeeze=False)
        for row, (network, places) in zip(panels, networks.items(), strict=True):
            names = [comparison.layers[p].layer for p in places]
            for axes, (title, matrix) in zip(row, maps, strict=True):
                _heat(figure, axes, matrix[np.ix_(places, places)], names, limit if title == "difference" else None)
                axes.set_title(title)
            row[0].set_ylabel(short(network))
        figure.tight_layout()
    return Drawing(
        f"within-{comparison.kernel}",
        figure,
        f"CKA between the layers of one network ({comparison.kernel} kernel), of spatio-semantic and of semantic RSMs, and the "
        "semantic minus the spatio-semantic (red: semantic RSMs find the layers more alike).",
        "Heat maps of layers by layers, a row for each network.",
    )


def draw_across(comparison: Comparison) -> list[Drawing]:
    """Heat maps of all layers of all networks; none for a single network."""
    import matplotlib as mpl

    networks = comparison.networks
    if len(networks) < 2:
        return []
    maps = _maps(comparison)
    starts = [places[0] for places in networks.values()]
    with mpl.rc_context(dict(RC)):
        figure = new_figure(12.6, 4.0)
        for k, (axes, (title, matrix)) in enumerate(zip(figure.subplots(1, 3), maps, strict=True)):
            names = [layer.layer for layer in comparison.layers]
            _heat(figure, axes, matrix, names, _limit([matrix]) if title == "difference" else None)
            axes.set_title(title)
            for start in starts[1:]:
                axes.axhline(start - 0.5, color="white", lw=2)
                axes.axvline(start - 0.5, color="white", lw=2)
            if k == 0:
                for network, places in networks.items():
                    axes.text(
                        -0.24, (places[0] + places[-1]) / 2, textwrap.fill(short(network), 10), rotation=90, ha="center",
                        va="center", fontsize=6.5, transform=axes.get_yaxis_transform(),
                    )  # fmt: skip
        figure.tight_layout()
    return [
        Drawing(
            f"across-{comparison.kernel}",
            figure,
            f"CKA between all layers of all networks ({comparison.kernel} kernel), of spatio-semantic and of semantic RSMs, and "
            "the semantic minus the spatio-semantic. Lines part the networks, in the same order in rows and columns.",
            f"Heat maps of {len(comparison.layers)} by {len(comparison.layers)} layers of {len(networks)} networks.",
        )
    ]


def _maps(comparison: Comparison) -> list[tuple[str, NDArray[np.float64]]]:
    both = [(kind, comparison.matrix(kind)) for kind in (SPATIO_SEMANTIC, SEMANTIC)]
    return [*both, ("difference", both[1][1] - both[0][1])]


def _limit(matrices: Sequence[NDArray[np.float64]]) -> float:
    """Largest difference in size, the same colours for all maps; never 0."""
    return max(1e-3, float(np.nanmax(np.abs(np.concatenate([m.ravel() for m in matrices])), initial=0.0)))


def _heat(figure: Figure, axes: Any, matrix: NDArray[np.float64], names: Sequence[str], limit: float | None) -> None:
    if limit is not None:
        colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    elif np.nanmin(matrix, initial=0.0) < 0:
        colours = {"cmap": "RdBu_r", "vmin": -1.0, "vmax": 1.0}
    else:
        colours = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    axes.set_facecolor("lightgrey")
    image = axes.imshow(np.ma.masked_invalid(matrix), interpolation="nearest", **colours)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03).ax.tick_params(labelsize=6.5)
    size = 7 if len(names) <= _MOST_NUMBERS else 5.5
    axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 30, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= _MOST_NUMBERS:
        for (i, j), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                # Adding 0 takes the sign off a rounded -0.
                text = f"{round(value, 2) + 0.0:+.2f}" if limit is not None else f"{value:.2f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
