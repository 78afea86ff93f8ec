"""Pictures of the task `layers`: heat maps of layers by layers, within networks and across them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.report.figures.parts import heat, largest_size, panel_grid
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing, new_figure, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
# Network, layer.
Layer = tuple[str, str]

_PLAIN = "identity"
_MOST_METRICS, _COLUMNS = 12, 4


def draw(results: TaskResults) -> Iterator[Drawing]:
    """All pictures that the rows of a run allow.

    Where a metric was measured on several RSMs, as ``cka[identity]`` and ``cka[exact-auction]``, the two and their difference;
    otherwise every metric by itself.
    """
    good = [row for row in results.rows if row["status"] == "ok" and row["cell"]["pictures"] == "matched"]
    layers = _layers(good)
    maps = {method: _matrix(good, method, layers) for method in dict.fromkeys(row["method"] for row in good)}
    pairs = [
        (method, other)
        for method in maps
        for other in maps
        if method.endswith(f"[{_PLAIN}]") and other != method and other.startswith(method[: -len(_PLAIN) - 1])
    ]
    networks = list(dict.fromkeys(network for network, _ in layers))
    for plain, other in pairs:
        three = [(plain, maps[plain]), (other, maps[other]), ("difference", maps[other] - maps[plain])]
        yield _draw_within(three, layers, networks)
        if len(networks) > 1:
            yield _draw_across(three, layers, networks, other)
    if maps and not pairs:
        yield _draw_across(list(maps.items())[:_MOST_METRICS], layers, networks, "")


def _layers(rows: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """All layers, network by network in order of appearance, from the input on."""
    found: dict[Layer, int] = {}
    for row in rows:
        for prefix in ("", "other_"):
            found[row["raw"][f"{prefix}network"], row["raw"][f"{prefix}layer"]] = int(row["raw"][f"{prefix}place"])
    networks = list(dict.fromkeys(network for network, _ in found))
    return sorted(found, key=lambda layer: (networks.index(layer[0]), found[layer]))


def _matrix(rows: Sequence[Mapping[str, Any]], method: str, layers: Sequence[Layer]) -> Floats:
    """Values of a metric, rows against columns; NaN where there is none."""
    matrix = np.full((len(layers), len(layers)), np.nan)
    for row in rows:
        if row["method"] == method:
            raw = row["raw"]
            i = layers.index((raw["network"], raw["layer"]))
            j = layers.index((raw["other_network"], raw["other_layer"]))
            for place, value in (((j, i), raw["value_yx"]), ((i, j), row["scores"]["value"])):
                matrix[place] = math.nan if value is None else value
    return matrix


def _draw_within(maps: Sequence[tuple[str, Floats]], layers: Sequence[Layer], networks: Sequence[str]) -> Drawing:
    """A row for each network: one RSM, the other, the difference."""
    (plain, _), (other, _), (_, difference) = maps
    parts = [[i for i, (network, _) in enumerate(layers) if network == name] for name in networks]
    limit = largest_size([difference[np.ix_(part, part)] for part in parts])
    figure = new_figure(8.4, 2.35 * len(networks) + 0.3, None)
    panels = figure.subplots(len(networks), 3, squeeze=False)
    for row, network, part in zip(panels, networks, parts, strict=True):
        names = [layers[i][1] for i in part]
        for axes, (title, matrix) in zip(row, maps, strict=True):
            heat(axes, matrix[np.ix_(part, part)], names, names, limit=limit if title == "difference" else None)
            axes.set_title(title)
        row[0].set_ylabel(short(network))
    figure.tight_layout()
    return Drawing(
        f"within-{other}",
        figure,
        f"{plain} and {other} between the layers of one network, and the second minus the first (red: {other} finds the layers "
        "more alike).",
        "Heat maps of layers by layers, a row for each network",
    )


def _draw_across(
    maps: Sequence[tuple[str, Floats]], layers: Sequence[Layer], networks: Sequence[str], other: str
) -> Drawing:
    """A panel for each map of all layers of all networks."""
    columns = min(_COLUMNS if not other else 3, len(maps))
    rows = -(-len(maps) // columns)
    figure = new_figure(4.2 * columns, 4.0 * rows, None)
    grid = panel_grid(figure, len(maps), columns)
    starts = [next(i for i, (network, _) in enumerate(layers) if network == name) for name in networks]
    names = [layer for _, layer in layers]
    for axes, (title, matrix) in zip(grid.flat, maps):
        heat(axes, matrix, names, names, limit=largest_size([matrix]) if title == "difference" else None)
        axes.set_title(title)
        for start in starts[1:]:
            axes.axhline(start - 0.5, color="white", lw=2)
            axes.axvline(start - 0.5, color="white", lw=2)
    for row in grid:
        _name_networks(row[0], networks, [*starts, len(layers)])
    figure.tight_layout()
    which = f"{maps[0][0]} and {other}, and the second minus the first" if other else "Every metric"
    return Drawing(
        f"across-{other}",
        figure,
        f"{which}, between all layers of all networks. Lines part the networks, in the same order in rows and columns.",
        f"Heat maps of {len(layers)} by {len(layers)} layers of {len(networks)} networks",
    )


def _name_networks(axes: Axes, networks: Sequence[str], starts: Sequence[int]) -> None:
    for network, start, end in zip(networks, starts, starts[1:]):
        axes.text(
            -0.24, (start + end - 1) / 2, textwrap.fill(short(network), 10), rotation=90, ha="center", va="center",
            fontsize=6.5, transform=axes.get_yaxis_transform(),
        )  # fmt: skip
