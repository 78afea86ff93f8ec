"""Picture of the task `matching`: k of the same positions against the optimum, pair by pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr, variation

from semrsm_bench.core.task import Floats
from semrsm_bench.report.figures.parts import value_of
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import BLUE, GREEN, GREY, VERMILION, Drawing, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# S, layer, centring.
Place = tuple[int, str, str]

_SAME, _FEWEST = "identity", 3
# Pairs drawn in one panel; more would hide each other.
_DRAWN_PAIRS = 2000


def draw(results: TaskResults) -> Iterator[Drawing]:
    """One figure for each network with known optima."""
    pairs: dict[str, dict[Place, list[tuple[float, float]]]] = {}
    for row in results.rows:
        if row["status"] == "ok" and row["method"] == _SAME and row["raw"].get("k_opt") is not None:
            model, size, layer, centring = value_of(row["cell"], "model", "size", "layer", "centring")
            here = pairs.setdefault(str(model), {}).setdefault((int(size), str(layer), str(centring)), [])
            here.append((row["raw"]["k"], row["raw"]["k_opt"]))
    for model, panels in pairs.items():
        if known := {place: np.array(values) for place, values in panels.items() if len(values) >= _FEWEST}:
            yield _draw_network(model, known, f"gain-{model}" if len(pairs) > 1 else "gain")


def _draw_network(model: str, pairs: Mapping[Place, Floats], name: str) -> Drawing:
    """Layers from the input on side by side, centrings below each other."""
    layers = sorted({(size, layer) for size, layer, _ in pairs}, reverse=True)
    centrings = list(dict.fromkeys(centring for *_, centring in pairs))
    figure, grid = new_panels(len(layers) * len(centrings), len(layers), (2.35, 2.8), (0.75, 0.2))
    for (size, layer, centring), values in pairs.items():
        axes = grid[centrings.index(centring), layers.index((size, layer))]
        _scatter(axes, values[:, 0], values[:, 1], f"{layer}, S = {size}, {centring}")
    for axes in grid.flat:
        axes.set_visible(axes.has_data())
    for axes in grid[-1]:
        axes.set_xlabel(f"{_SAME}, k")
    for axes in grid[:, 0]:
        axes.set_ylabel("k_opt")
    return Drawing(
        name,
        figure,
        f"{model}: each dot is a pair of images, both axes in units of the panel's mean k_opt. Dashed: nothing gained by matching. "
        "If matching multiplied all similarities by one number, all dots would be on the red line; if it added the same to all, "
        "on the green dotted one. CV: coefficient of variation over the pairs, of the ratio k/k_opt (– where some k_opt is not "
        "positive) and of the gain k_opt - k; rho: Spearman of k and k_opt.",
        "Similarity without matching against the optimum, pair by pair, a panel for each layer and centring",
    )


def _scatter(axes: Axes, same: Floats, best: Floats, title: str) -> None:
    unit = float(np.mean(best)) if np.mean(best) > 0 else float(np.abs(best).max()) or 1.0
    x, y = same / unit, best / unit
    gain = y - x
    drawn = np.random.default_rng(0).permutation(len(x))[:_DRAWN_PAIRS]
    axes.grid(True)
    axes.plot(x[drawn], y[drawn], ls="none", marker=".", ms=3.2, mew=0, color=BLUE, alpha=0.45)
    low, high = min(float(x.min()), 0.0), float(y.max())
    axes.plot([low, high], [low, high], color=GREY, lw=0.9, ls="--")
    axes.plot([low, high - gain.mean()], [low + gain.mean(), high], color=GREEN, lw=1.1, ls=":")
    ratio = "–"
    if (best > 0).all():
        axes.plot([0.0, float(np.mean(x / y)) * high], [0.0, high], color=VERMILION, lw=1.1)
        ratio = f"{abs(variation(x / y)):.2f}"
    numbers = f"CV: ratio {ratio}, gain {abs(variation(gain)):.2f}; rho {spearmanr(x, y).statistic:.2f}"
    axes.set_title(f"{title}\n{numbers}", fontsize=8, loc="left")
