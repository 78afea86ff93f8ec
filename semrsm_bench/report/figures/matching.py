"""Picture of the task `matching`: what matching changes, pair by pair: k of the same positions against the optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.task import Task
from semrsm_bench.report.figures.parts import values_of
from semrsm_bench.report.style import BLUE, GREY, Drawing, new_figure

_SAME = "identity"
_FEWEST = 3
_WIDTH = 2.2


def draw(
    rows: Sequence[Mapping[str, Any]], task: Task, folder: Path, summaries: Sequence[Summary] | None = None
) -> list[Drawing]:
    """One figure for each network with known optima; parameters as in `semrsm_bench.report.figures.translation.draw`."""
    pairs: dict[str, dict[tuple[int, str, str], list[tuple[float, float]]]] = {}
    for row in rows:
        if row["status"] == "ok" and row["method"] == _SAME and row["raw"].get("k_opt") is not None:
            ((model, size, layer, centring),) = values_of([row["cell"]], "model", "size", "layer", "centring")
            here = pairs.setdefault(str(model), {}).setdefault((int(size), str(layer), str(centring)), [])
            here.append((row["raw"]["k"], row["raw"]["k_opt"]))
    drawings = []
    for model, panels in pairs.items():
        known = {place: np.array(values) for place, values in panels.items() if len(values) >= _FEWEST}
        if known:
            name = "unevenness" if len(pairs) == 1 else f"unevenness-{model}"
            drawings.append(_draw_network(name, known))
    return drawings


def _draw_network(name: str, pairs: Mapping[tuple[int, str, str], Any]) -> Drawing:
    """Layers from the input on side by side, centrings below each other."""
    layers = sorted({(size, layer) for size, layer, _ in pairs}, reverse=True)
    centrings = list(dict.fromkeys(centring for *_, centring in pairs))
    figure = new_figure(_WIDTH * len(layers) + 0.4, (_WIDTH + 0.1) * len(centrings))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(centrings), len(layers), squeeze=False)
    for (size, layer, centring), values in pairs.items():
        panel = axes[centrings.index(centring), layers.index((size, layer))]
        k, k_opt = values.T
        ends = [min(0.0, float(k.min())), float(k_opt.max())]
        panel.plot(ends, ends, color=GREY, lw=0.8)
        panel.scatter(k_opt, k, s=4, color=BLUE, alpha=0.5, lw=0)
        panel.set(title=f"{layer}, {centring}", xlabel="k of the optimum", ylabel="k of identity")
        panel.ticklabel_format(scilimits=(-3, 4))
        told = [f"CV of k/k_opt {_variation(k / k_opt)}"] if (k_opt > 0).all() else []
        told += [f"CV of k_opt - k {_variation(k_opt - k)}", f"Spearman {spearmanr(k, k_opt)[0]:.2f}"]
        panel.text(0.03, 0.97, "\n".join(told), fontsize=7, va="top", transform=panel.transAxes)
        panel.set_ylim(top=1.25 * ends[1])
    for panel in axes.flat:
        panel.set_visible(panel.has_data())
    caption = (
        "Same positions against the best matching, a dot a pair of images; on the line matching changes nothing. Were a "
        "coefficient of variation (CV) 0, matching would change all pairs by one factor, or by one amount; were Spearman 1, it "
        "would not change their order."
    )
    return Drawing(
        name, figure, caption, "Scatter plots of k without matching against the optimum, by layer and centring"
    )


def _variation(values: Any) -> str:
    """Standard deviation over the mean."""
    return f"{np.std(values) / abs(np.mean(values)):.2f}"
