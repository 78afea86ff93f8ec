"""Quality per layer: how the pairs of each layer spread, solver by solver (the paper's Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BLOCK, BlockKey, SolverKey
from semrsm_bench.report.formatting import plural
from semrsm_bench.report.gap_axis import GapAxis
from semrsm_bench.report.style import Look, add_caption, caption_text, new_figure, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# So many pairs are drawn one by one beside the box; more would only blacken the paper.
_DRAWN_PAIRS = 60
# Where k_opt is barely positive the ratio can be any negative number.
_LOWEST_RATIO = -1.0

Samples = Mapping[tuple[BlockKey, SolverKey], NDArray[np.float64]]


def pair_values(frame: pd.DataFrame, column: str) -> dict[tuple[BlockKey, SolverKey], NDArray[np.float64]]:
    """One value per pair (the median of its repeats) for each block and solver, in the order of the pairs.

    Unknown values are left out.

    Parameters
    ----------
    frame : DataFrame
        From `semrsm_bench.report.cells.prepare_rows`.
    column : {"quality", "chance_corrected"}
    """
    good = frame[(frame["status"] == "ok") & frame[column].notna()]
    samples: dict[tuple[BlockKey, SolverKey], NDArray[np.float64]] = {}
    for key, part in good.groupby([*BLOCK, "label"], sort=False):
        *block, solver = cast("tuple[Any, ...]", key)
        samples[BlockKey.of_group(block), solver] = (
            part.groupby("pair", sort=True)[column].median().to_numpy(np.float64)
        )
    return samples


def five_numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Minimum, first quartile, median, third quartile and maximum: the box and its whiskers."""
    return tuple(np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist())


def draw_distribution(
    quality: Samples,
    chance_corrected: Samples,
    blocks: Sequence[BlockKey],
    catalogue: Catalogue,
    style: Mapping[SolverKey, Look],
    caption: Sequence[str],
) -> Figure | None:
    """Boxes over the pairs: k/k_opt above, the gap 1 - c on a logarithmic scale below; one column per layer.

    Exact solvers are left out, they are the optimum. None where nothing else was measured.
    """
    drawn = [
        b for b in blocks if any(key == b and s.kind != "exact" and len(v) for (key, s), v in chance_corrected.items())
    ]
    everyone = [s for b, s in {**quality, **chance_corrected} if b in drawn and s.kind != "exact"]
    solvers = catalogue.order(everyone)
    if not drawn or not solvers:
        return None
    names = [short(catalogue.display_name(solver)) for solver in solvers]
    pairs = {len(v) for (b, s), v in chance_corrected.items() if b in drawn and s in solvers}
    told = plural(min(pairs), "pair") if len(pairs) == 1 else f"{min(pairs)} to {plural(max(pairs), 'pair')}"
    note = (
        f"Box: quartiles, line: median, whiskers: all pairs ({told} each). Exact solvers are the optimum and left out."
    )
    ratios = [v for (b, s), v in quality.items() if b in drawn and s in solvers and len(v)]
    lowest, highest = (
        min((float(v.min()) for v in ratios), default=0.0),
        max((float(v.max()) for v in ratios), default=1.0),
    )
    outside = sum(int((v < _LOWEST_RATIO).sum()) for v in ratios)
    if outside:
        note += f" {plural(outside, 'value')} of k/k_opt below −{abs(_LOWEST_RATIO):g} not shown."
    lowest, highest = max(lowest, _LOWEST_RATIO), max(highest, 1.0)
    gap_axis = GapAxis.covering(
        g for (b, s), v in chance_corrected.items() if b in drawn and s in solvers for g in 1 - v
    )
    rows = [quality, chance_corrected]
    panel = 0.42 + 0.2 * len(solvers)
    left = 0.3 + 0.082 * max(map(len, names))
    width = left + 0.15 + 2.1 * len(drawn)
    text, foot = caption_text([note, *caption], width)
    height = foot + 2 * (panel + 0.62) + 0.1
    figure = new_figure(width, height)
    grid = figure.subplots(2, len(drawn), squeeze=False, sharey=True, sharex="row")
    figure.subplots_adjust(
        left=left / width,
        right=1 - 0.15 / width,
        top=1 - 0.32 / height,
        bottom=(foot + 0.5) / height,
        wspace=0.1,
        hspace=0.62 / panel,
    )
    for row, samples in enumerate(rows):
        for column, block in enumerate(drawn):
            axes = grid[row][column]
            axes.grid(True, axis="x")
            if row == 0:
                axes.set_title(f"{block.layer or block.model}, S = {block.size}", loc="left")
                axes.set_xlabel("k/k_opt")
                axes.set_xlim(lowest - 0.06 * (highest - lowest), highest + 0.04 * (highest - lowest))
            else:
                axes.set_xlabel("gap to the optimum, 1 − c")
                places, texts = gap_axis.ticks()
                axes.set_xticks(places, [*(t if i % 2 == 0 else "" for i, t in enumerate(texts[:-1])), "0"])
                axes.set_xlim(gap_axis.lowest - 0.2, gap_axis.optimum + 0.4)
            for place, solver in enumerate(solvers):
                values = samples.get((block, solver))
                if values is None or not len(values):
                    continue
                at = values if row == 0 else np.array([gap_axis.place(1 - v) for v in values])
                _draw_box(axes, place, at, style[solver])
            axes.set_yticks(range(len(solvers)), names)
            axes.set_ylim(len(solvers) - 0.4, -0.6)
    add_caption(figure, text)
    return figure


def _draw_box(axes: Axes, place: int, values: NDArray[np.float64], look: Look) -> None:
    low, first, middle, third, high = five_numbers(values)
    axes.hlines(place, low, high, color=look.color, lw=1.0)
    axes.barh(place, third - first, left=first, height=0.52, color=look.color, alpha=0.35, lw=0)
    axes.barh(place, third - first, left=first, height=0.52, fill=False, edgecolor=look.color, lw=0.9)
    axes.vlines(middle, place - 0.34, place + 0.34, color="black", lw=1.4)
    if len(values) <= _DRAWN_PAIRS:
        # A fixed pattern instead of chance: the same figure every time.
        offset = ((np.arange(len(values)) * 0.618) % 1 - 0.5) * 0.4
        dots: dict[str, Any] = {"ls": "none", "marker": ".", "ms": 2.6, "color": "#333333", "alpha": 0.6, "mew": 0}
        axes.plot(values, place + offset, **dots)
