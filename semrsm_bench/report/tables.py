"""The table of a run: the layout of the paper's Table 5 with intervals, as text, Markdown, LaTeX, CSV or records."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import pandas as pd

from semrsm_bench.bench.stats import Interval, median_interval
from semrsm_bench.report import paper as paper_figures
from semrsm_bench.report.caption import table_caption
from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BLOCK, CATEGORIES, BlockKey, Cell, collect_cells, order_blocks, prepare_rows
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.render import render_latex, render_markdown, render_text

TableFormat = Literal["text", "md", "latex", "csv"]
FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)


class NothingMeasuredError(ValueError):
    """The run holds no row to report on."""


def render_table(
    rows: pd.DataFrame,
    environment: Mapping[str, Any],
    fmt: TableFormat = "text",
    paper: bool = False,
    *,
    centrings: Iterable[str] | None = None,
    end_to_end: bool = False,
    width: int = 120,
) -> str:
    """The table of a run.

    Parameters
    ----------
    rows : DataFrame
        From `semrsm_bench.bench.results.load_rows`, of one run.
    environment : mapping
        From `semrsm_bench.bench.results.load_environment`; may be empty.
    fmt : {"text", "md", "latex", "csv"}
        Text has one panel per layer with its centrings side by side, md and latex one per centring with the sizes side by
        side, as the paper's Table 5; csv one line per solver, layer and centring with every figure unrounded, in seconds.
    paper : bool
        Adds the figures that the paper's Table 5 prints, in columns of their own, with their source.
    centrings : iterable of str, optional
        Default: all there are.
    end_to_end : bool
        T includes the affinity for solvers that need one.
    width : int
        Columns of the terminal, for text.

    Returns
    -------
    str
        Ends with a line break.

    Raises
    ------
    NothingMeasuredError
        There are no rows (of these centrings).
    ValueError
        Unknown format, or frames that are not the rows of one run.
    """
    if fmt not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {fmt!r}")
    frame = prepared(rows, centrings)
    layout = Layout(collect_cells(frame), affinity_times(frame), Catalogue(environment), paper, end_to_end)
    return render_layout(layout, run_name(frame), environment, fmt, width=width)


def run_name(frame: pd.DataFrame) -> str:
    """Id of the run that prepared rows belong to; "" where they name none."""
    return next((r for r in frame["run_id"] if r), "")


def render_layout(
    layout: Layout, run: str, environment: Mapping[str, Any], fmt: TableFormat, *, width: int = 120
) -> str:
    """`render_table` for cells that are collected already.

    Parameters
    ----------
    layout : Layout
    run : str
        The run's id, for the caption.
    environment, fmt, width
        As for `render_table`.
    """
    if fmt == "csv":
        return _csv(_records(layout))
    blocks = order_blocks(block for block, _ in layout.cells)
    caption = table_caption(environment, run, end_to_end=layout.end_to_end)
    source = f"The paper's columns are {paper_figures.CONDITIONS}; source: {paper_figures.SOURCE}."
    remarks = [source] if layout.with_paper else []
    if fmt == "text":
        return render_text(layout.per_layer(blocks), caption, remarks, width)
    render = render_markdown if fmt == "md" else render_latex
    return render(layout.per_centring(blocks), caption, remarks)


def prepared(rows: pd.DataFrame, centrings: Iterable[str] | None) -> pd.DataFrame:
    """`prepare_rows`, with an error that says so where no row is left."""
    if rows.empty:
        raise NothingMeasuredError("this run has no rows: nothing was measured")
    wanted = None if centrings is None else list(centrings)
    frame = prepare_rows(rows, wanted)
    if frame.empty:
        there = sorted(prepare_rows(rows)["centring"].unique())
        raise NothingMeasuredError(
            f"no rows with centring {' or '.join(wanted or [])}; this run has {', '.join(there)}"
        )
    return frame


def affinity_times(frame: pd.DataFrame) -> dict[BlockKey, Interval]:
    """Median time of the affinity over the pairs of each block, s; blocks where none was timed are left out.

    Parameters
    ----------
    frame : DataFrame
        From `prepare_rows`.
    """
    timed = frame[(frame["status"] == "ok") & frame["affinity_seconds"].notna() & ~frame["matrix_free"]]
    return {
        BlockKey.of_group(key): median_interval(part.groupby("pair")["affinity_seconds"].median())
        for key, part in timed.groupby(BLOCK, sort=False)
    }


def table_records(
    rows: pd.DataFrame, environment: Mapping[str, Any], paper: bool = False, *, centrings: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Every cell with its figures unrounded, for machines; unknown numbers are None.

    Parameters are those of `render_table`. Times are in seconds, qualities are ratios, and the paper's figures (when asked
    for) stand in ``paper_quality`` and ``paper_seconds``.
    """
    cells = collect_cells(prepared(rows, centrings))
    return _records(Layout(cells, {}, Catalogue(environment), paper))


def _records(layout: Layout) -> list[dict[str, Any]]:
    solvers = layout.catalogue.order(solver for _, solver in layout.cells)
    return [
        _record(layout.cells[block, solver], layout.catalogue, layout.with_paper)
        for block in order_blocks(block for block, _ in layout.cells)
        for solver in solvers
        if (block, solver) in layout.cells
    ]


def _record(cell: Cell, catalogue: Catalogue, paper: bool) -> dict[str, Any]:
    block, solver = cell.block, cell.solver
    record: dict[str, Any] = {
        "model": block.model,
        "layer": block.layer,
        "size": block.size,
        "channels": block.channels or None,
        "centring": block.centring,
        "category": CATEGORIES.get(solver.kind, solver.kind),
        "complexity": catalogue.complexity(solver),
        "solver": solver.name,
        "options": "; ".join(f"{name}={value}" for name, value in solver.options),
        "b": solver.block_size or None,
        "status": "ok" if cell.ok else cell.failure or "not run",
        "pairs": cell.pairs,
        "pairs_ok": cell.ok,
        "failures": "; ".join(f"{count} {status}" for status, count in cell.failures.items()),
        "message": cell.message,
    }
    intervals = {"seconds": cell.seconds, "total_seconds": cell.total_seconds, "quality": cell.quality}
    intervals["chance_corrected"] = cell.chance_corrected
    for name, interval in intervals.items():
        record |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    record |= {
        "affinity_seconds": cell.affinity_seconds,
        "quality_is_lower_bound": cell.quality_is_bound,
        "chance_corrected_is_lower_bound": cell.chance_corrected_is_bound,
        "chance_corrected_worst": cell.worst,
        "k_opt_not_positive": cell.undefined,
        "peak_bytes": cell.peak_bytes,
    }
    if paper:
        figure = paper_figures.paper_figure(solver.name, block.size)
        record["paper_quality"] = figure.quality if figure else None
        record["paper_seconds"] = figure.seconds if figure else None
    return {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in record.items()}


def _csv(records: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    # Decimals as repr writes them, so that reading back gives the same float.
    writer.writerows({k: repr(v) if isinstance(v, float) else v for k, v in r.items()} for r in records)
    return out.getvalue()
