"""The figures of a run: time-quality front, runtime over S, quality per layer; each as PNG, SVG and PDF."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from semrsm_bench.report.caption import figure_caption
from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BlockKey, Cell, SolverKey, collect_cells, order_blocks
from semrsm_bench.report.formatting import plural
from semrsm_bench.report.style import FIGURE_FORMATS, RC, looks, save_figure
from semrsm_bench.report.tables import affinity_times, prepared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRONT_NOTE = (
    "Up and to the left is better. Bold, on the line: no other solver is at least as fast and as good. "
    "Pale: one is. Means over pairs of c, medians of the time with 95 % bootstrap intervals."
)


def draw_all(
    rows: pd.DataFrame,
    environment: Mapping[str, Any],
    out_dir: Path,
    *,
    centrings: Iterable[str] | None = None,
    formats: Sequence[str] = FIGURE_FORMATS,
) -> list[Path]:
    """Draw every figure that the rows allow: ``front``, ``runtime`` and ``quality``, for each model and centring.

    Parameters
    ----------
    rows : DataFrame
        From `semrsm_bench.bench.results.load_rows`, of one run.
    environment : mapping
        From `semrsm_bench.bench.results.load_environment`; may be empty.
    out_dir : Path
        Made when missing; files are ``front-none.png`` and so on, with the model's name in front where there are several.
    centrings : iterable of str, optional
        Default: all there are.
    formats : sequence of {"png", "svg", "pdf"}

    Returns
    -------
    list of Path
        The files written; empty where no row is ok.

    Raises
    ------
    semrsm_bench.report.tables.NothingMeasuredError
        There are no rows (of these centrings).
    ValueError
        Unknown format, or frames that are not the rows of one run.
    """
    unknown = [name for name in formats if name not in FIGURE_FORMATS]
    if unknown:
        raise ValueError(f"figures are written as {', '.join(FIGURE_FORMATS)}, not as {', '.join(map(repr, unknown))}")
    frame = prepared(rows, centrings)
    import matplotlib

    paths: list[Path] = []
    with matplotlib.rc_context(dict(RC)):
        for name, figure in _figures(frame, environment):
            paths += save_figure(figure, Path(out_dir) / name, formats)
    return paths


def pairs_told(cells: Mapping[tuple[BlockKey, SolverKey], Cell], blocks: Sequence[BlockKey]) -> str:
    """How many pairs stand behind the cells of each size, as a part of a sentence."""
    counts: dict[str, list[int]] = {}
    for block in blocks:
        solved = sorted({cell.ok for (b, _), cell in cells.items() if b == block and cell.ok})
        if solved:
            told = plural(solved[-1], "pair") if len(solved) == 1 else f"{solved[0]} to {plural(solved[-1], 'pair')}"
            counts.setdefault(told, []).append(block.size)
    if len(counts) == 1:
        return next(iter(counts))
    return (
        ", ".join(f"{told} at S = {', '.join(map(str, sizes))}" for told, sizes in counts.items()) or "no pair solved"
    )


def _figures(frame: pd.DataFrame, environment: Mapping[str, Any]) -> Iterable[tuple[str, Figure]]:
    from semrsm_bench.report.distribution import draw_distribution, pair_values
    from semrsm_bench.report.front import draw_front
    from semrsm_bench.report.runtime import draw_runtime

    cells = collect_cells(frame)
    affinity = affinity_times(frame)
    catalogue = Catalogue(environment)
    style = looks(catalogue.order(solver for _, solver in cells))
    quality, chance_corrected = pair_values(frame, "quality"), pair_values(frame, "chance_corrected")
    run = next((r for r in frame["run_id"] if r), "")
    grouped: dict[tuple[str, str], list[BlockKey]] = {}
    for block in order_blocks(block for block, _ in cells):
        grouped.setdefault((block.model, block.centring), []).append(block)
    several = len({model for model, _ in grouped}) > 1
    for (model, centring), blocks in grouped.items():
        here = f"{model}, centring {centring}" if model else f"centring {centring}"
        foot = figure_caption(environment, f"{here}: {pairs_told(cells, blocks)}", run)
        suffix = f"{model}-{centring}" if several else centring
        drawn = {
            "front": draw_front(cells, blocks, catalogue, style, [FRONT_NOTE, foot]),
            "runtime": draw_runtime(cells, affinity, blocks, catalogue, style, [foot]),
            "quality": draw_distribution(quality, chance_corrected, blocks, catalogue, style, [foot]),
        }
        yield from ((f"{name}-{suffix}", figure) for name, figure in drawn.items() if figure is not None)
