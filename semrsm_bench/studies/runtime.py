"""Time of the solvers over S, beside the paper's Table 5 (Wald et al. 2024, appendix F.1)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from semrsm_bench.bench.stats import Interval
from semrsm_bench.report.cells import BlockKey, Cell, SolverKey
from semrsm_bench.studies.study import Drawing, StudyResult

NAME = "runtime"
# Enough for the paper's exact solvers, its cheapest approximation and the fastest exact solver here, in less than a minute.
QUICK_SOLVERS = ("ortools", "scipy", "identity", "batch-optimal-128", "exact-auction")
QUICK_PAIRS = 5
QUICK_POSITIONS = 1024


def runtime(
    run: str | None = None,
    *,
    results: Path = Path("results"),
    centring: str = "none",
    data: Path | None = None,
    quick: bool = False,
    quiet: bool = True,
) -> StudyResult:
    """Read the times of a run, and lay them beside those that the paper prints.

    Parameters
    ----------
    run : str, optional
        Id or folder of a run of `semrsm-bench run`; default: the latest in ``results``.
    results : Path
        Folder of all runs.
    centring : {"none", "channel", "position"}
        Which of the run's rows; the paper's appear to be of raw features.
    data : Path, optional
        Activations to measure on, where ``quick`` measures.
    quick : bool
        Without ``run``: measure a few solvers on a few pairs of up to 1,024 positions now, and keep no run of it.
    quiet : bool
        No progress bar.

    Raises
    ------
    FileNotFoundError
        There is no such run; the message says how to make one.
    semrsm_bench.report.tables.NothingMeasuredError
        The run holds no rows of that centring, or solved nothing.
    """
    from semrsm_bench.bench.results import find_run, load_environment, load_rows

    if quick and run is None:
        with tempfile.TemporaryDirectory(prefix="semrsm-bench-") as scratch:
            folder = _measure(Path(scratch), centring, data, quiet)
            rows, environment = load_rows(folder), load_environment(folder)
        return _result(rows, environment, centring, measured_here=True)
    if data is not None:
        raise ValueError("--data is for what --quick measures by itself; a run has its own")
    try:
        folder = find_run(results, run or "latest")
    except FileNotFoundError as error:
        if run is not None:
            raise
        raise FileNotFoundError(
            f"{error}; or measure a small one now with: semrsm-bench study runtime --quick"
        ) from None
    return _result(load_rows(folder), load_environment(folder), centring, measured_here=False)


def _measure(results: Path, centring: str, data: Path | None, quiet: bool) -> Path:
    """A small run of its own; the folder that it wrote."""
    from semrsm_bench.bench.cases import Options, open_caches
    from semrsm_bench.bench.runner import run

    caches = open_caches(data).values()
    layers = dict.fromkeys(
        layer for cache in caches for layer in cache.layers if cache.shape(layer)[2] <= QUICK_POSITIONS
    )
    if not layers:
        raise ValueError(
            f"--quick measures layers of at most {QUICK_POSITIONS:,} positions, and {', '.join(c.name for c in caches)} has none"
        )
    options = Options(solvers=QUICK_SOLVERS, layers=tuple(layers), centrings=(centring,), pairs=QUICK_PAIRS, data=data)
    return run(options, results, quiet=quiet)[0].folder


def _result(rows: pd.DataFrame, environment: Mapping[str, Any], centring: str, *, measured_here: bool) -> StudyResult:
    from semrsm_bench.report.caption import day
    from semrsm_bench.report.catalogue import Catalogue
    from semrsm_bench.report.cells import collect_cells, order_blocks
    from semrsm_bench.report.tables import NothingMeasuredError, affinity_times, prepared, run_name
    from semrsm_bench.studies.runtime_lines import runtime_table_lines
    from semrsm_bench.studies.runtime_report import paper_table, sentence, tables

    frame = prepared(rows, [centring])
    cells = collect_cells(frame)
    every = order_blocks(block for block, _ in cells)
    blocks, dropped = _one_for_each_size(every)
    catalogue = Catalogue(environment)
    lines = runtime_table_lines(frame, cells, blocks, catalogue)
    if not lines:
        raise NothingMeasuredError("no row of this run is ok, so there is no time to report")
    affinity = affinity_times(frame)
    run_id = run_name(frame)
    title = ", ".join(part for part in (blocks[0].model, f"centring {centring}", f"run {run_id}") if part)
    notes = [
        "Read from a run of `semrsm-bench run`; the machine, versions and date are the run's, not those of this reading."
        if not measured_here
        else f"Measured by --quick on {QUICK_PAIRS} pairs of each size; `make bench` measures more pairs, sizes and solvers.",
        "Pairs share images, so the intervals are somewhat too narrow.",
    ]
    if dropped:
        notes.append(
            f"One layer for each S; not shown: {', '.join(f'{b.model} {b.layer} (S = {b.size})' for b in dropped)}."
        )
    return StudyResult(
        NAME,
        "Runtime of the solvers over S, beside the paper's Table 5",
        sentence(lines, environment),
        tables(lines, {block.size: affinity[block] for block in blocks if block in affinity}, title),
        _rows(rows, environment, centring, blocks, lines),
        drawings=_drawings(cells, affinity, environment, blocks, lines, run_id),
        inputs={
            "run": {
                "id": run_id,
                "date": day(environment),
                "rows": len(frame),
                **{
                    name: environment.get(name)
                    for name in ("cpu", "os", "threads", "python", "packages", "commit", "dirty")
                },
            },
            "activations": environment.get("data"),
        },
        paper=[paper_table()],
        notes=notes,
    )


def _one_for_each_size(blocks: Sequence[BlockKey]) -> tuple[list[BlockKey], list[BlockKey]]:
    """The first model's blocks with different S, and those left out."""
    kept: dict[int, BlockKey] = {}
    for block in blocks:
        if block.model == blocks[0].model:
            kept.setdefault(block.size, block)
    return list(kept.values()), [block for block in blocks if block not in kept.values()]


def _rows(
    rows: pd.DataFrame, environment: Mapping[str, Any], centring: str, blocks: Sequence[BlockKey], lines: Sequence[Any]
) -> list[dict[str, Any]]:
    """The cells of the table with every figure unrounded, in seconds, and how they compare with OR-Tools."""
    from semrsm_bench.report.tables import table_records
    from semrsm_bench.studies.runtime_lines import paper_speed

    speeds = {(line.solver, size): speed for line in lines for size, speed in line.speed.items()}
    places = {(block.model, block.layer, block.size) for block in blocks}
    result = []
    for record in table_records(rows, environment, paper=True, centrings=[centring]):
        if (record["model"], record["layer"], record["size"]) not in places:
            continue
        speed = next((s for (solver, size), s in speeds.items() if _is(record, solver, size)), None)
        record["speed"], record["speed_low"], record["speed_high"] = speed or (None, None, None)
        record["paper_speed"] = paper_speed(record["solver"], record["size"])
        result.append(record)
    return result


def _is(record: Mapping[str, Any], solver: SolverKey, size: int) -> bool:
    options = "; ".join(f"{name}={value}" for name, value in solver.options)
    return (record["solver"], record["options"], record["size"]) == (solver.name, options, size)


def _drawings(
    cells: Mapping[tuple[BlockKey, SolverKey], Cell],
    affinity: Mapping[BlockKey, Interval],
    environment: Mapping[str, Any],
    blocks: Sequence[BlockKey],
    lines: Sequence[Any],
    run_id: str,
) -> list[Drawing]:
    import matplotlib as mpl

    from semrsm_bench.report.caption import figure_caption
    from semrsm_bench.report.catalogue import Catalogue
    from semrsm_bench.report.figures import pairs_told
    from semrsm_bench.report.runtime import draw_runtime
    from semrsm_bench.report.style import RC, looks
    from semrsm_bench.studies.runtime_figures import draw_speed

    catalogue = Catalogue(environment)
    style = looks(catalogue.order(solver for _, solver in cells))
    foot = figure_caption(environment, pairs_told(cells, blocks), run_id)
    with mpl.rc_context(dict(RC)):
        seconds = draw_runtime(cells, affinity, blocks, catalogue, style, [foot])
    drawings = [draw_speed(lines)]
    if seconds is not None:
        caption = "Median time per pair over S, solve alone, with 95 % bootstrap intervals; ours only."
        drawings.append(
            Drawing("seconds", seconds, caption, "Time per pair over the number of positions, a line a solver")
        )
    return [drawing for drawing in drawings if drawing is not None]
