"""Tables and sentence of the study `runtime`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from semrsm_bench.bench.stats import Interval
from semrsm_bench.report.caption import machine
from semrsm_bench.report.cells import CATEGORIES
from semrsm_bench.report.formatting import (
    format_chance_corrected,
    format_percent,
    format_seconds,
    plural,
)
from semrsm_bench.report.layout import AFFINITY_NAME
from semrsm_bench.report.paper import CONDITIONS, PAPER_NAMES, SOURCE, TABLE_5, paper_figure
from semrsm_bench.studies.runtime_lines import (
    REFERENCE,
    Line,
    common_range,
    paper_exponent,
    paper_speed,
)
from semrsm_bench.studies.study import Table, cell_text

# An approximation this close to the optimum is called good in the sentence.
GOOD = 0.99


def tables(lines: Sequence[Line], affinity: Mapping[int, Interval], title: str) -> list[Table]:
    """Times of all solvers, the paper's solvers beside the paper's figures, and speed with quality of all solvers."""
    sizes = sorted({size for line in lines for size in line.cells})
    result = [_times(lines, affinity, sizes, title)]
    common = [line for line in lines if line.solver.name in TABLE_5]
    if common:
        result.append(_beside_the_paper(common))
    if any(line.speed for line in lines):
        result.append(_speeds(lines, sizes))
    return result


def _times(lines: Sequence[Line], affinity: Mapping[int, Interval], sizes: Sequence[int], title: str) -> Table:
    low, high = common_range(sizes)
    rows: list[list[Any]] = []
    for line in lines:
        times = [_seconds(line.cells[size].seconds) if size in line.cells else None for size in sizes]
        kind = CATEGORIES.get(line.solver.kind, line.solver.kind)
        exponents = [line.exponent(low, high), paper_exponent(line.solver.name, low, high)]
        rows.append([kind, line.name, *times, *exponents])
    if affinity:
        times = [_seconds(affinity[size]) if size in affinity else None for size in sizes]
        rows.append(["Shared input", AFFINITY_NAME, *times, None, None])
    return Table(
        f"Time per pair ({title})",
        ["", "algorithm", *(f"S = {size}" for size in sizes), "exponent", "paper's exponent"],
        rows,
        "Median time of the solve alone, ± the farther end of a 95 % bootstrap interval over pairs. Exponent: p of T ~ S^p "
        f"between S = {low} and S = {high}; the paper's is computed from its Table 5.",
    )


def _seconds(interval: Interval) -> str:
    return format_seconds(interval.value, max(interval.high - interval.value, interval.value - interval.low))


def _beside_the_paper(lines: Sequence[Line]) -> Table:
    rows = []
    for size in sorted({size for line in lines for size in line.cells if size in TABLE_5[REFERENCE]}):
        for line in lines:
            if size not in line.cells:
                continue
            cell, theirs = line.cells[size], paper_figure(line.solver.name, size)
            speed = line.speed.get(size)
            rows.append(
                [
                    size,
                    line.name,
                    cell.ok,
                    format_seconds(cell.seconds.value),
                    format_seconds(theirs.seconds) if theirs else None,
                    *(speed or (None, None, None)),
                    paper_speed(line.solver.name, size),
                    _percent(cell.quality.value),
                    100 * theirs.quality if theirs else None,
                ]
            )
    return Table(
        "The solvers of the paper's Table 5: ours, and the paper's own figures for comparison",
        [
            *("S", "algorithm", "pairs", "T", "paper's T", "x OR-Tools", "low", "high", "paper's x"),
            *("k/k_opt %", "paper's k/k_opt %"),
        ],
        rows,
        "T of different machines do not compare; x, how many times as fast as OR-Tools, does better: ours is the median over "
        "pairs of the ratio on the same pair (95 % bootstrap interval), the paper's is the ratio of two figures of its Table 5. "
        "The networks and pictures differ, and so do the qualities.",
    )


def _percent(ratio: float) -> float | None:
    return 100 * ratio if math.isfinite(ratio) else None


def _speeds(lines: Sequence[Line], sizes: Sequence[int]) -> Table:
    rows = []
    for line in lines:
        row: list[Any] = [line.name]
        for size in sizes:
            speed = line.speed.get(size)
            c = line.cells[size].chance_corrected.value if size in line.cells else math.nan
            row += [speed.value if speed else None, format_chance_corrected(c) if math.isfinite(c) else None]
        rows.append(row)
    return Table(
        "Times as fast as OR-Tools, and c",
        ["algorithm", *(name for size in sizes for name in (f"x, S = {size}", f"c, S = {size}"))],
        rows,
        "c = (k - k_rand)/(k_opt - k_rand): 0 is a random matching, 1 the optimum.",
    )


def paper_table() -> Table:
    """The paper's Table 5 as printed."""
    sizes = sorted({size for figures in TABLE_5.values() for size in figures})
    rows = []
    for name, figures in TABLE_5.items():
        block = name.rpartition("-")[2] if name.startswith("batch-optimal") else "–"
        cells = [t for s in sizes for t in (format_percent(figures[s].quality), format_seconds(figures[s].seconds))]
        rows.append([PAPER_NAMES[name], block, *cells])
    return Table(
        "The paper's Table 5 (Wald et al. 2024), copied, not measured here",
        ["algorithm", "b", *(title for s in sizes for title in (f"k/k_opt %, S = {s}", f"T, S = {s}"))],
        rows,
        f"Conditions: {CONDITIONS}. Source: {SOURCE}.",
    )


def sentence(lines: Sequence[Line], environment: Mapping[str, Any]) -> str:
    """What the run shows at its largest S, beside what the paper prints for it."""
    by_name = {line.name: line for line in lines}
    reference = by_name.get(REFERENCE)
    size = max(size for line in ([reference] if reference else lines) for size in line.cells)
    good = [
        line for line in lines if size in line.cells and line.cells[size].chance_corrected.value >= GOOD
    ]  # a NaN is not good
    fastest = min(good, key=lambda line: line.cells[size].seconds.value, default=None)
    where = f"On {machine(environment)}, at S = {size}"
    if reference is None:
        best = (
            f"the fastest solver with c of at least {GOOD} is {fastest.name} with "
            f"{format_seconds(fastest.cells[size].seconds.value)} a pair"
            if fastest
            else f"no solver reaches c of {GOOD}"
        )
        return f"{where}, {best}; OR-Tools was not measured, so nothing is compared with the paper."
    theirs = paper_figure(REFERENCE, size)
    parts = [
        f"OR-Tools takes {format_seconds(reference.cells[size].seconds.value)} a pair"
        + (f" (the paper's, on another machine: {format_seconds(theirs.seconds)})" if theirs else "")
    ]
    parts += _batch_optimal(by_name, size)
    if fastest is None or fastest is reference:
        parts.append(f"no solver with c of at least {GOOD} is faster than OR-Tools")
    elif size in fastest.speed:
        parts.append(
            f"the fastest with c of at least {GOOD} is {fastest.name}, {_times_as_fast(fastest.speed[size].value)} as OR-Tools"
        )
    pairs = plural(reference.cells[size].ok, "pair")
    return f"{where} ({pairs}), {'; '.join(parts)}."


def _batch_optimal(by_name: Mapping[str, Line], size: int) -> list[str]:
    """The paper's cheapest approximation, where it was measured."""
    line = by_name.get("batch-optimal-128")
    if line is None or size not in line.speed:
        return []
    cell = line.cells[size]
    theirs, speed = paper_figure("batch-optimal-128", size), paper_speed("batch-optimal-128", size)
    text = f"Batch-Optimal with b = 128 is {_times_as_fast(line.speed[size].value)}"
    if speed:
        text += f" (the paper's figures: {cell_text(speed)})"
    if math.isfinite(cell.quality.value):
        text += f" at k/k_opt {format_percent(cell.quality.value)} %"
        text += f" (the paper: {format_percent(theirs.quality)} %)" if theirs else ""
    return [text]


def _times_as_fast(ratio: float) -> str:
    return f"{cell_text(ratio)} times as fast"
