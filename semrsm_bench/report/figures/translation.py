"""Pictures of the task `translation`: RSMs of crops with their distributions, AUROC over the layers, the crops themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.task import Floats, Result
from semrsm_bench.report.figures.parts import by_depth, method_looks, value_of, words_of
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    Drawing,
    method_legend,
    new_figure,
    new_panels,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Results of one layer, by method.
LayerResults = Mapping[str, Sequence[Result]]
# Deeper networks are drawn at so many of their layers, evenly spread.
MOST_LAYERS = 6
_GROUP = ("model", "shift", "centring", "kernel")


def draw(results: TaskResults) -> Iterator[Drawing]:
    """All pictures that the rows of a run allow."""
    found: dict[tuple[Any, ...], dict[str, dict[str, list[Result]]]] = {}
    for row, result in results.found:
        layers = found.setdefault(value_of(result.cell, *_GROUP), {})
        layers.setdefault(result.cell["layer"], {}).setdefault(row["method"], []).append(result)
    for layers, word in zip(found.values(), words_of([dict(zip(_GROUP, group)) for group in found]), strict=True):
        yield _draw_rsms(f"rsms-{word}", layers)
    if shown := [s for s in results.summaries if "auroc" in s.scores]:
        yield _draw_auroc(shown)
    yield from _draw_crops([result for _, result in results.found])


def _draw_rsms(name: str, found: Mapping[str, LayerResults]) -> Drawing:
    """RSMs of the first batch, a row for each method and a column for each layer; below them all similarities."""
    from matplotlib.patches import Patch

    every = by_depth(results[0].cell for here in found.values() for results in here.values())
    layers = [every[int(i)] for i in np.linspace(0, len(every) - 1, min(len(every), MOST_LAYERS)).round()]
    place = next(iter(found[layers[0]].values()))[0].cell
    methods = list(method_looks(method for layer in every for method in found[layer]))
    rows = len(methods)
    figure = new_figure(1.15 + 1.75 * len(layers), 1.45 * rows + 3.0)
    grid = figure.subplots(rows + 1, len(layers), squeeze=False, gridspec_kw={"height_ratios": [1.0] * rows + [1.35]})
    for column, layer in zip(grid.T, layers):
        here = found[layer]
        rsms = {method: results[0].arrays["rsm"] for method, results in here.items()}
        # One scale for all: that of the entries off the diagonal.
        off = np.concatenate([rsm[np.triu_indices(len(rsm), 1)] for rsm in rsms.values()])
        for axes, method in zip(column[:-1], methods, strict=True):
            axes.set(xticks=[], yticks=[])
            if method in rsms:
                image = axes.imshow(rsms[method], vmin=off.min(), vmax=off.max(), interpolation="nearest")
            else:
                axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, color=GREY)
        bar = figure.colorbar(image, ax=column[:-1], location="bottom", shrink=0.8, aspect=22, pad=0.02)
        bar.ax.tick_params(labelsize=6.5)
        bar.ax.locator_params(nbins=3)
        column[0].set_title(f"{short(layer)}, S = {next(iter(here.values()))[0].cell['size']}")
        _draw_distributions(column[-1], here, methods)
    for axes, method in zip(grid[:, 0], methods):
        axes.set_ylabel(short(method))
    grid[-1][0].set_ylabel(f"similarity ({place['kernel']})")
    patches = [Patch(color=GREY, label="unrelated pairs"), Patch(color=SKY, label="overlapping pairs")]
    figure.legend(handles=patches, loc="outside lower center", ncols=2)
    same, other = _similarities(next(iter(found[layers[0]].values())))
    left = f" {len(layers)} of {len(every)} layers." if len(layers) < len(every) else ""
    return Drawing(
        name,
        figure,
        f"{place['model']}, second crop shifted by {place['shift']} pixels (down, right), {place['kernel']} kernel, centring "
        f"{place['centring']}. Above: RSMs of the first batch, first crops, then shifted ones; the lines parallel to the diagonal "
        f"are the pairs that overlap. Below: similarities of all batches, {same.size:,} overlapping and {other.size:,} unrelated "
        f"pairs; line: median; number: AUROC, mean over batches.{left}",
        "RSMs of crops for each layer and method, with the distributions of the similarity of overlapping and unrelated pairs",
    )


def _similarities(results: Sequence[Result]) -> tuple[Floats, Floats]:
    """Similarities of overlapping and of unrelated pairs, all batches together; an RSM is of n crops, then the same n shifted."""
    found: tuple[list[Floats], list[Floats]] = ([], [])
    for rsm in (result.arrays["rsm"] for result in results):
        rows, columns = np.triu_indices(len(rsm), 1)
        overlapping = columns - rows == len(rsm) // 2
        found[0].append(rsm[rows, columns][overlapping])
        found[1].append(rsm[rows, columns][~overlapping])
    return np.concatenate(found[0]), np.concatenate(found[1])


def _draw_distributions(axes: Axes, found: LayerResults, methods: Sequence[str]) -> None:
    """Two halves of a violin for each method: unrelated pairs to the left, overlapping ones to the right."""
    values = {method: _similarities(results) for method, results in found.items()}
    every = np.concatenate([sample for both in values.values() for sample in both])
    low, high, room = every.min(), every.max(), np.ptp(every) or 1.0
    for place, method in enumerate(methods):
        if method not in values:
            continue
        for sample, side, colour in zip(values[method], ("high", "low"), (SKY, GREY), strict=True):
            look: dict[str, Any] = {"widths": 0.85, "showextrema": False, "showmedians": True, "side": side}
            parts: Any = axes.violinplot([sample], positions=[place], **look)
            parts["bodies"][0].set(facecolor=colour, alpha=0.9, linewidth=0)
            parts["cmedians"].set(color="black", linewidth=0.8)
        auroc = np.mean([result.scores["auroc"] for result in found[method]])
        axes.text(place, high + 0.05 * room, f"{auroc:.2f}", ha="center", va="bottom", fontsize=6.8)
    axes.set(ylim=(low - 0.05 * room, high + 0.2 * room), xlim=(-0.6, len(methods) - 0.4))
    axes.set_xticks(range(len(methods)), map(short, methods), rotation=35, ha="right", fontsize=6.8)
    axes.tick_params(axis="y", labelsize=6.8)
    axes.grid(True, axis="y")


def _draw_auroc(summaries: Sequence[Summary]) -> Drawing:
    groups = list(dict.fromkeys(value_of(s.place, *_GROUP) for s in summaries))
    titles = words_of([{**dict(zip(_GROUP, group)), "shift": f"shift {group[1]}"} for group in groups])
    looks = method_looks(s.method for s in summaries)
    columns = min(3, len(groups))
    figure, grid = new_panels(len(groups), columns, (max(2.7, 4.4 / columns), 2.5), (0.0, 0.5), sharey=True)
    lowest = min(s.scores["auroc"].low for s in summaries)
    for axes, group, title in zip(grid.flat, groups, titles):
        here = [s for s in summaries if value_of(s.place, *_GROUP) == group]
        layers = by_depth(s.place for s in here)
        step = min(0.1, 0.75 / len(looks))  # so that a point is nearer to its own layer than to the next one
        for number, (method, look) in enumerate(looks.items()):
            found = {layers.index(s.place["layer"]): s.scores["auroc"] for s in here if s.method == method}
            places = sorted(found)
            x, values = np.array(places) + step * (number - (len(looks) - 1) / 2), [found[i] for i in places]
            style: dict[str, Any] = {"color": look.color, "marker": look.marker, "ms": 4.5, "mec": "black", "mew": 0.3}
            axes.plot(x, [i.value for i in values], label=method, lw=0.8, **style)
            axes.vlines(x, [i.low for i in values], [i.high for i in values], color=look.color, lw=1.2)
        axes.axhline(0.5, color=GREY, lw=0.7, ls=":")
        axes.set_xticks(range(len(layers)), map(short, layers), rotation=45 if len(layers) > 4 else 0)
        axes.set_ylim(min(0.45, lowest - 0.03), 1.02)
        axes.set_title(title or f"shift {group[1]}", loc="left")
        axes.grid(True, axis="y")
    for axes in grid[:, 0]:
        axes.set_ylabel("AUROC")
    method_legend(figure, looks)
    return Drawing(
        "auroc",
        figure,
        "How well similarities separate overlapping from unrelated crops; dotted: chance. Shift in pixels (down, right). Means "
        f"over {summaries[0].ok} batches, bars: 95 % bootstrap intervals over batches.",
        "AUROC over the layers, one line for each method",
    )


def _draw_crops(results: Sequence[Result]) -> Iterator[Drawing]:
    from matplotlib.patches import Rectangle

    of_shift = {str(r.cell["shift"]): r for r in reversed(results) if "scenes" in r.raw}
    if not of_shift:
        return
    shifts = list(reversed(of_shift))
    last = max((r.arrays["scenes"] for r in of_shift.values()), key=lambda scenes: scenes.shape[1])
    facts = of_shift[shifts[0]].raw["scenes"]
    side = int(facts["side"])
    figure, grid = new_panels(len(last), len(last), (2.2, 2.75), (0.2, 0.0))
    for axes, scene in zip(grid[0], last, strict=True):
        axes.imshow(scene, interpolation="nearest")
        axes.add_patch(Rectangle((-0.5, -0.5), side, side, fill=False, ec=BLUE, lw=2.2, label="first crop"))
        for shift, colour in zip(shifts, (VERMILION, ORANGE, GREEN, SKY)):
            down, right = map(int, shift.split("x"))
            look: dict[str, Any] = {"fill": False, "ec": colour, "lw": 2.2, "ls": "--", "label": f"shifted by {shift}"}
            axes.add_patch(Rectangle((right - 0.5, down - 0.5), side, side, **look))
        axes.set_axis_off()
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    yield Drawing(
        "crops",
        figure,
        f"Pictures of {last.shape[1]} x {last.shape[2]} pixels and the crops of {side} x {side} pixels cut from them; shifts "
        "in pixels: down, right.",
        "Pictures with the frames of the crops cut from them",
        shareable=bool(facts["shareable"]),
    )
