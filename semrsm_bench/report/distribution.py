"""Quality per layer: how the pairs of each layer spread, solver by solver (the paper's Fig. 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BLOCK, BlockKey, SolverKey
from semrsm_bench.report.formatting import OPTIMAL_TOLERANCE, format_gap, plural
from semrsm_bench.report.style import Look, add_caption, new_figure, short

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
    foot = 0.42
    rows = [quality, chance_corrected]
    panel = 0.42 + 0.2 * len(solvers)
    left = 0.3 + 0.082 * max(map(len, names))
    width = left + 0.15 + 2.1 * len(drawn)
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
    gaps = [1 - v for (b, s), v in chance_corrected.items() if b in drawn and s in solvers]
    positive = np.concatenate([g[g > OPTIMAL_TOLERANCE] for g in gaps] or [np.array([1.0])])
    best = math.ceil(-math.log10(positive.min()) + 0.05) + 0.5 if positive.size else 1.0
    worst = min(-math.log10(positive.max()), 0.0) if positive.size else 0.0
    for row, samples in enumerate(rows):
        for column, block in enumerate(drawn):
            axes = grid[row][column]
            axes.grid(True, axis="x")
            if row == 0:
                axes.set_title(f"{block.layer or block.model}, S = {block.size}", loc="left")
                axes.set_xlabel("k/k_opt")
            else:
                axes.set_xlabel("gap to the optimum, 1 − c")
                decades = np.arange(0, math.floor(best - 0.4) + 1)[:: 1 if best < 4 else 2]
                axes.set_xticks([*decades, best], [*(format_gap(10.0**-d) for d in decades), "0"])
                axes.set_xlim(worst - 0.2, best + 0.3)
            for place, solver in enumerate(solvers):
                values = samples.get((block, solver))
                if values is None or not len(values):
                    continue
                at = values if row == 0 else np.array([_gap_place(v, best) for v in values])
                _draw_box(axes, place, at, style[solver])
            axes.set_yticks(range(len(solvers)), names)
            axes.set_ylim(len(solvers) - 0.4, -0.6)
    ratios = np.concatenate(
        [v for (b, s), v in quality.items() if b in drawn and s in solvers and len(v)] or [np.ones(1)]
    )
    lowest = max(float(ratios.min()), _LOWEST_RATIO)
    grid[0][0].set_xlim(lowest - 0.05 * (1 - lowest) - 0.01, max(float(ratios.max()), 1.0) + 0.03 * (1 - lowest) + 0.01)
    outside = int((ratios < _LOWEST_RATIO).sum())
    beyond = f" {plural(outside, 'value')} of k/k_opt below {_LOWEST_RATIO:g} not shown." if outside else ""
    pairs = {len(v) for (b, s), v in chance_corrected.items() if b in drawn and s in solvers}
    told = plural(min(pairs), "pair") if len(pairs) == 1 else f"{min(pairs)} to {plural(max(pairs), 'pair')}"
    note = (
        f"Box: quartiles, line: median, whiskers: all pairs ({told} each). Exact solvers are the optimum and left out."
    )
    add_caption(figure, [note + beyond, *caption])
    return figure


def _gap_place(c: float, optimum: float) -> float:
    return optimum if 1 - c <= OPTIMAL_TOLERANCE else -math.log10(1 - c)


def _draw_box(axes: Axes, place: int, values: NDArray[np.float64], look: Look) -> None:
    low, first, middle, third, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    axes.hlines(place, low, high, color=look.color, lw=1.0)
    axes.barh(place, third - first, left=first, height=0.52, color=look.color, alpha=0.35, lw=0)
    axes.barh(place, third - first, left=first, height=0.52, fill=False, edgecolor=look.color, lw=0.9)
    axes.vlines(middle, place - 0.34, place + 0.34, color="black", lw=1.4)
    if len(values) <= _DRAWN_PAIRS:
        # A fixed pattern instead of chance: the same figure every time.
        offset = ((np.arange(len(values)) * 0.618) % 1 - 0.5) * 0.4
        dots: dict[str, Any] = {"ls": "none", "marker": ".", "ms": 2.6, "color": "#333333", "alpha": 0.6, "mew": 0}
        axes.plot(values, place + offset, **dots)
