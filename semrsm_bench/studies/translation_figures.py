"""Figures of the study `translation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.report.style import BLUE, GREEN, GREY, ORANGE, RC, SKY, VERMILION, new_figure, short
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC, TRANSLATION
from semrsm_bench.studies.separation import Separation
from semrsm_bench.studies.study import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from semrsm_bench.activations.crops import Shift
    from semrsm_bench.studies.translation import Found, Key

# Deeper networks are drawn at so many of their layers, evenly spread.
MOST_LAYERS = 6
LOOKS = {SPATIO_SEMANTIC: (BLUE, "o"), TRANSLATION: (ORANGE, "D"), SEMANTIC: (VERMILION, "s")}
_OTHER = (GREEN, "^")
_COLUMN = 1.75


def spread_layers(layers: Sequence[str], most: int = MOST_LAYERS) -> list[str]:
    """At most so many of the layers, first and last among them, evenly spread."""
    if len(layers) <= most:
        return list(layers)
    return [layers[k] for k in np.linspace(0, len(layers) - 1, most).round().astype(int)]


def draw_rsms(name: str, found: Mapping[Key, Found], separations: Mapping[Key, Separation]) -> Drawing:
    """RSMs of the first batch, a row for each matching and a column for each layer; below them all similarities.

    Parameters
    ----------
    found, separations : mapping by Key
        Of one network, shift and kernel.
    """
    import matplotlib as mpl

    first = next(iter(found))
    every = list(dict.fromkeys(key.layer for key in found))
    layers = spread_layers(every)
    matchings = list(dict.fromkeys(key.matching for key in found))
    by_place = {(key.layer, key.matching): key for key in found}
    rows = len(matchings)
    with mpl.rc_context(dict(RC)):
        figure = new_figure(1.15 + _COLUMN * len(layers), 1.45 * rows + 3.0)
        figure.set_layout_engine("constrained")
        grid = figure.subplots(
            rows + 1, len(layers), squeeze=False, gridspec_kw={"height_ratios": [1.0] * rows + [1.35]}
        )
        for column, layer in enumerate(layers):
            shown = {m: found[by_place[layer, m]].rsms[0] for m in matchings if (layer, m) in by_place}
            _draw_column([grid[r][column] for r in range(rows)], matchings, shown, figure)
            positions = next(found[by_place[layer, m]].positions for m in shown)
            grid[0][column].set_title(f"{short(layer)}, S = {positions}")
            _draw_distributions(grid[rows][column], {m: separations[by_place[layer, m]] for m in shown}, matchings)
        for row, matching in enumerate(matchings):
            grid[row][0].set_ylabel(matching.replace(" over ", "\nover "))
        grid[rows][0].set_ylabel(f"similarity ({first.kernel})")
        figure.legend(handles=_patches(), loc="outside lower center", ncols=2, frameon=False)
    left = f" {len(layers)} of {len(every)} layers." if len(layers) < len(every) else ""
    one = next(iter(separations.values()))
    return Drawing(
        name,
        figure,
        f"{first.network}, second crop shifted by {first.shift} pixels (down, right), {first.kernel} kernel. Above: RSMs of the "
        "first batch, upper left crops first; the lines parallel to the diagonal are the pairs that overlap. Below: similarities "
        f"of all batches, {one.overlapping.size:,} overlapping and {one.unrelated.size:,} unrelated pairs; line: "
        f"median; number: AUROC.{left}",
        "RSMs of crops for each layer and matching, with the distributions of the similarity of overlapping and unrelated pairs",
    )


def _draw_column(panels: Sequence[Axes], matchings: Sequence[str], shown: Mapping[str, Any], figure: Any) -> None:
    """RSMs of one layer on one scale of colours: that of their entries off the diagonal."""
    off = np.concatenate([rsm[~np.eye(len(rsm), dtype=bool)] for rsm in shown.values()])
    image = None
    for axes, matching in zip(panels, matchings, strict=True):
        axes.set_xticks([])
        axes.set_yticks([])
        if matching not in shown:
            axes.text(0.5, 0.5, "no grid", ha="center", va="center", transform=axes.transAxes, color=GREY)
            continue
        image = axes.imshow(shown[matching], vmin=off.min(), vmax=off.max(), cmap="viridis", interpolation="nearest")
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels), location="bottom", shrink=0.8, aspect=22, pad=0.02)
        bar.ax.tick_params(labelsize=6.5)
        bar.ax.locator_params(nbins=3)


def _draw_distributions(axes: Axes, shown: Mapping[str, Separation], matchings: Sequence[str]) -> None:
    """Two halves of a violin for each matching: unrelated pairs to the left, overlapping ones to the right."""
    values = [v for one in shown.values() for v in (one.overlapping, one.unrelated)]
    low, high = float(min(v.min() for v in values)), float(max(v.max() for v in values))
    room = (high - low) or 1.0
    for place, matching in enumerate(matchings):
        if matching not in shown:
            continue
        one = shown[matching]
        for sample, side, colour in ((one.unrelated, "low", GREY), (one.overlapping, "high", SKY)):
            parts: Any = axes.violinplot(
                [sample],
                positions=[place],
                widths=0.85,
                showextrema=False,
                showmedians=True,
                side=side,  # type: ignore[arg-type]
            )
            for body in parts["bodies"]:
                body.set_facecolor(colour)
                body.set_alpha(0.9)
                body.set_linewidth(0)
            parts["cmedians"].set_color("black")
            parts["cmedians"].set_linewidth(0.8)
        axes.text(place, high + 0.05 * room, f"{one.auroc.value:.2f}", ha="center", va="bottom", fontsize=6.8)
    axes.set_ylim(low - 0.05 * room, high + 0.2 * room)
    axes.set_xlim(-0.6, len(matchings) - 0.4)
    axes.set_xticks(range(len(matchings)), [m.split()[0] for m in matchings], rotation=35, ha="right", fontsize=6.8)
    axes.tick_params(axis="y", labelsize=6.8)
    axes.grid(True, axis="y")


def _patches() -> list[Any]:
    from matplotlib.patches import Patch

    return [Patch(color=GREY, label="unrelated pairs"), Patch(color=SKY, label="overlapping pairs")]


def draw_auroc(separations: Mapping[Key, Separation]) -> Drawing:
    """AUROC over the layers for every matching, a panel for each network and shift."""
    import matplotlib as mpl

    panels = list(dict.fromkeys((key.network, key.shift) for key in separations))
    matchings = list(dict.fromkeys(key.matching for key in separations))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    several = len({network for network, _ in panels}) > 1
    lowest = min(one.auroc.low for one in separations.values())
    with mpl.rc_context(dict(RC)):
        figure = new_figure(max(4.4, 2.7 * columns + 0.5), 2.5 * rows + 0.7)
        figure.set_layout_engine("constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, (network, shift) in enumerate(panels):
            axes = grid[place // columns][place % columns]
            here = {key: one for key, one in separations.items() if (key.network, key.shift) == (network, shift)}
            layers = list(dict.fromkeys(key.layer for key in here))
            for number, matching in enumerate(matchings):
                colour, marker = LOOKS.get(matching, _OTHER)
                mine = {key.layer: one.auroc for key, one in here.items() if key.matching == matching}
                x = [layers.index(layer) + 0.1 * (number - (len(matchings) - 1) / 2) for layer in mine]
                y = [interval.value for interval in mine.values()]
                axes.plot(x, y, color=colour, marker=marker, ms=4.5, lw=0.8, mec="black", mew=0.3, label=matching)
                axes.vlines(x, [i.low for i in mine.values()], [i.high for i in mine.values()], color=colour, lw=1.2)
            axes.axhline(0.5, color=GREY, lw=0.7, ls=":")
            axes.set_xticks(range(len(layers)), layers, rotation=45 if len(layers) > 4 else 0)
            axes.set_ylim(min(0.45, lowest - 0.03), 1.02)
            axes.grid(True, axis="y")
            axes.set_title((f"{short(network)}, " if several else "") + f"shift {shift}", loc="left")
        for place in range(len(panels), rows * columns):
            grid[place // columns][place % columns].set_axis_off()
        for row in grid:
            row[0].set_ylabel("AUROC")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2 if columns == 1 else 4, frameon=False)
    batches = next(iter(separations.values())).per_batch.size
    return Drawing(
        "auroc",
        figure,
        "How well similarities separate overlapping from unrelated crops; dotted: chance. Shift in pixels (down, right). Means "
        f"over {batches} batch{'' if batches == 1 else 'es'}, bars: 95 % bootstrap intervals over batches.",
        "AUROC over the layers, one line for each kind of RSM",
    )


def draw_crops(scenes: NDArray[np.uint8], size: int, shifts: Sequence[Shift]) -> Drawing:
    """Some pictures with the frames of their crops."""
    import matplotlib as mpl
    from matplotlib.patches import Rectangle

    colours = (VERMILION, ORANGE, GREEN, SKY)
    with mpl.rc_context(dict(RC)):
        figure = new_figure(2.2 * len(scenes) + 0.2, 2.75)
        figure.set_layout_engine("constrained")
        for axes, scene in zip(figure.subplots(1, len(scenes), squeeze=False)[0], scenes, strict=True):
            axes.imshow(scene, interpolation="nearest")
            axes.add_patch(Rectangle((-0.5, -0.5), size, size, fill=False, ec=BLUE, lw=2.2, label="first crop"))
            for shift, colour in zip(shifts, colours):
                corner = (shift.right - 0.5, shift.down - 0.5)
                axes.add_patch(
                    Rectangle(corner, size, size, fill=False, ec=colour, lw=2.2, ls="--", label=f"shifted by {shift}")
                )
            axes.set_axis_off()
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    side = scenes.shape[1]
    return Drawing(
        "crops",
        figure,
        f"Pictures of {side} x {side} pixels and the crops of {size} x {size} pixels cut from them; shifts in pixels: down, right.",
        "Pictures with the frames of the crops cut from them",
    )
