"""Pictures of the task `layers`: heat maps of layers by layers, within networks and across them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.core.task import Floats
from semrsm_bench.report.figures.parts import heat, largest_size
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing, new_panels, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    several = len({network for network, _ in layers}) > 1
    for plain, other in pairs:
        three = {plain: maps[plain], other: maps[other], "difference": maps[other] - maps[plain]}
        yield _draw_within(three, layers)
        if several:
            yield _draw_across(three, layers, other)
    if maps and not pairs:
        yield _draw_across(dict(list(maps.items())[:_MOST_METRICS]), layers, "")


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


def _parts(layers: Sequence[Layer]) -> dict[str, list[int]]:
    """Places of the layers of each network."""
    parts: dict[str, list[int]] = {}
    for place, (network, _) in enumerate(layers):
        parts.setdefault(network, []).append(place)
    return parts


def _map(axes: Axes, title: str, matrix: Floats, names: Sequence[str], limit: float) -> None:
    heat(axes, matrix, names, names, ends=(-limit, limit) if title == "difference" else None)
    axes.set_title(title)


def _draw_within(maps: Mapping[str, Floats], layers: Sequence[Layer]) -> Drawing:
    plain, other, _ = maps
    parts = _parts(layers)
    limit = largest_size([maps["difference"][np.ix_(part, part)] for part in parts.values()])
    figure, grid = new_panels(3 * len(parts), 3, (2.8, 2.35), (0.0, 0.3))
    for row, (network, part) in zip(grid, parts.items(), strict=True):
        for axes, (title, matrix) in zip(row, maps.items(), strict=True):
            _map(axes, title, matrix[np.ix_(part, part)], [layers[i][1] for i in part], limit)
        row[0].set_ylabel(short(network))
    return Drawing(
        f"within-{other}",
        figure,
        f"{plain} and {other} between the layers of one network, and the second minus the first (red: {other} finds the layers "
        "more alike).",
        "Heat maps of layers by layers, a row for each network",
    )


def _draw_across(maps: Mapping[str, Floats], layers: Sequence[Layer], other: str) -> Drawing:
    parts = _parts(layers)
    figure, grid = new_panels(len(maps), min(_COLUMNS, len(maps)), (4.2, 4.0))
    for axes, (title, matrix) in zip(grid.flat, maps.items()):
        _map(axes, title, matrix, [layer for _, layer in layers], largest_size([matrix]))
        for part in list(parts.values())[1:]:
            axes.axhline(part[0] - 0.5, color="white", lw=2)
            axes.axvline(part[0] - 0.5, color="white", lw=2)
    for axes in grid[:, 0]:
        # Networks have an axis of their own, beside that of the layers.
        beside = axes.secondary_yaxis(-0.17)
        words = [textwrap.fill(short(network), 10) for network in parts]
        beside.set_yticks(
            [float(np.mean(part)) for part in parts.values()], words, rotation=90, va="center", fontsize=6.5
        )
        beside.tick_params(length=0)
        beside.spines[:].set_visible(False)
    which = f"{next(iter(maps))} and {other}, and the second minus the first" if other else "Every metric"
    return Drawing(
        f"across-{other}",
        figure,
        f"{which}, between all layers of all networks. Lines part the networks, in the same order in rows and columns.",
        f"Heat maps of {len(layers)} by {len(layers)} layers of {len(parts)} networks",
    )
