"""Figures of the study of instance-level comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.report.style import BLUE, GREEN, GREY, RC, VERMILION, new_figure, short
from semrsm_bench.studies.contact_sheet import contact_sheet
from semrsm_bench.studies.held_out import PRIMARY, HeldOut
from semrsm_bench.studies.instance_findings import LENGTH, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 8
_EACH = 16


def draw_scores(scored: Mapping[str, HeldOut]) -> Figure:
    """One histogram a layer with the pooled null as a line, on one axis."""
    import matplotlib as mpl

    values = [held.scores[PRIMARY] for held in scored.values()]
    nulls = [held.null[PRIMARY].ravel() for held in scored.values()]
    low = min(min(v.min() for v in values), min(np.quantile(n, 0.001) for n in nulls))
    bins = np.linspace(low, max(max(v.max() for v in values), max(np.quantile(n, 0.999) for n in nulls)), 71)
    with mpl.rc_context(dict(RC)):
        figure = new_figure(6.4, 0.6 + 1.15 * len(scored))
        panels = figure.subplots(len(scored), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (layer, held), null in zip(panels, scored.items(), nulls, strict=True):
            score = held.scores[PRIMARY]
            axes.hist(score, bins, density=True, color=BLUE, alpha=0.75)
            axes.hist(null, bins, density=True, histtype="step", color=VERMILION, lw=1.2)
            axes.axvline(np.quantile(null, 0.95), color=VERMILION, lw=0.8, ls=":")
            axes.set_yticks([])
            axes.set_title(short(layer), loc="left", fontsize=8.5)
            axes.spines["left"].set_visible(False)
        panels[0].plot([], [], color=BLUE, lw=6, alpha=0.75, label="held-out stimuli")
        panels[0].plot([], [], color=VERMILION, lw=1.2, label="null: stimuli reordered")
        panels[0].plot([], [], color=VERMILION, lw=0.8, ls=":", label="95 % of the null")
        panels[0].legend(fontsize=7, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
        panels[-1].set_xlabel(f"{PRIMARY} (1: all agree)")
        figure.tight_layout()
    return figure


def draw_predictors(found: Findings) -> Figure:
    """Left: correlations and ridge coefficients at the main layer; right: correlations by layer."""
    import matplotlib as mpl

    names = [*found.predictors, LENGTH]
    coefficients = found.regression.coefficients if found.regression else {}
    with mpl.rc_context(dict(RC)):
        figure = new_figure(7.6, 0.9 + 0.34 * len(names))
        left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
        for place, name in enumerate(names):
            for shift, colour, marker, intervals in (
                (-0.22, BLUE, "o", found.correlations),
                (0, GREEN, "D", found.partial),
                (0.22, VERMILION, "s", coefficients),
            ):
                if name in intervals and np.isfinite(intervals[name].value):
                    value, low, high = intervals[name]
                    left.plot([low, high], [place + shift] * 2, color=colour, lw=1.4)
                    left.plot(value, place + shift, marker, ms=4, color=colour)
        left.axvline(0, color="#444444", lw=0.7)
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.5, -0.5)
        left.grid(axis="x")
        left.plot([], [], "o-", color=BLUE, ms=4.5, label="Spearman")
        left.plot([], [], "D-", color=GREEN, ms=4.5, label="at equal distance")
        if coefficients:
            left.plot([], [], "s-", color=VERMILION, ms=4.5, label="ridge, all together")
        left.legend(fontsize=7, frameon=False, ncols=3, columnspacing=1, loc="lower left", bbox_to_anchor=(-0.1, 1))
        left.set_xlabel(f"with {PRIMARY} at {short(found.main)}")
        table = np.array([[found.by_layer[layer][name] for layer in found.by_layer] for name in found.predictors])
        # The rows are those of the panel at the left.
        _heat(right, table, list(found.by_layer), [""] * len(found.predictors))
        right.set_ylim(len(names) - 0.5, -0.5)
        right.set_title("Spearman by layer", fontsize=8.5)
        figure.tight_layout()
    return figure


def draw_repeats(found: Findings) -> Figure:
    """Left: the scores of two disjoint sets of networks; right: Spearman between layers."""
    import matplotlib as mpl

    divisions = [r for r in found.repeats if r.what == "networks"]
    layers = list(found.scored)
    panels = bool(divisions) + (len(layers) > 1)
    with mpl.rc_context(dict(RC)):
        figure = new_figure(3.9 * panels, 3.6)
        axes = list(figure.subplots(1, panels, squeeze=False)[0])
        if divisions:
            scatter = axes.pop(0)
            first = divisions[0]
            scatter.plot(*first.scores, "o", ms=3, color=BLUE, alpha=0.4, mew=0)
            scatter.set(xlabel=first.first, ylabel=first.second)
            for axis in (scatter.xaxis, scatter.yaxis):
                axis.label.set_fontsize(6.5)
            scatter.set_title(f"{PRIMARY} at {short(found.main)}: Spearman {first.spearman.value:.2f}", fontsize=8.5)
            scatter.grid()
        if len(layers) > 1:
            table = np.eye(len(layers))
            for r in found.repeats:
                if r.what == "layers":
                    i, j = layers.index(r.first), layers.index(r.second)
                    table[i, j] = table[j, i] = r.spearman.value
            _heat(axes[0], table, layers, layers)
            axes[0].set_title("Spearman between layers", fontsize=8.5)
        figure.tight_layout()
    return figure


def draw_pictures(found: Findings, pixels: NDArray[np.uint8], ids: Sequence[str]) -> Figure:
    """The pictures at both ends, with their scores."""
    each = min(_EACH, len(ids) // 2)
    columns = min(_COLUMNS, each)
    each -= each % columns
    rows = each // columns
    chosen = np.concatenate([found.order[:each], found.order[-each:]])
    return contact_sheet(
        pixels[chosen],
        [f"{found.score[i]:.2f}\n{_brief(ids[i])}" for i in chosen],
        columns,
        f"Held-out pictures by agreement ({PRIMARY} at {short(found.main)})",
        row_labels=["agree\nmost", *[""] * (rows - 1), *[""] * (rows - 1), "agree\nleast"],
    )


def _brief(name: str) -> str:
    last = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return last if len(last) <= 16 else f"{last[:7]}…{last[-8:]}"


def _heat(axes: Any, table: NDArray[np.float64], columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.imshow(table, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [short(name) for name in columns], fontsize=7)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.tick_params(length=0)
    for (i, j), value in np.ndenumerate(table):
        if np.isfinite(value):
            text = f"{round(value, 2) + 0.0:.2f}" if value < 0.995 else "1"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=GREY if abs(value) < 0.05 else None)
            if abs(value) > 0.6:
                axes.texts[-1].set_color("white")
