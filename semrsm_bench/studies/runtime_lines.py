"""Times of a run beside those that the paper prints: in seconds, and relative to OR-Tools, which machines change little."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from semrsm_bench.bench.stats import Interval, median_interval
from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BLOCK, BlockKey, Cell, SolverKey
from semrsm_bench.report.paper import TABLE_5

REFERENCE = "ortools"


@dataclass(frozen=True)
class Line:
    """One solver over S.

    Attributes
    ----------
    solver : SolverKey
    name : str
    cells : dict of S to Cell
        Those in which something was solved.
    speed : dict of S to Interval
        How many times as fast as OR-Tools: median over pairs of the ratio of the times on the same pair.
    """

    solver: SolverKey
    name: str
    cells: Mapping[int, Cell]
    speed: Mapping[int, Interval]

    def exponent(self, low: int, high: int) -> float | None:
        """Exponent p of T ~ S^p between two sizes, from the medians; None where one was not measured."""
        if low not in self.cells or high not in self.cells:
            return None
        return exponent(low, self.cells[low].seconds.value, high, self.cells[high].seconds.value)


def exponent(low: int, low_seconds: float, high: int, high_seconds: float) -> float | None:
    """The p of T ~ S^p through two points; None for equal sizes or a time that is not positive."""
    if low == high or not (low_seconds > 0 and high_seconds > 0):
        return None
    return math.log(high_seconds / low_seconds) / math.log(high / low)


def paper_speed(solver: str, size: int) -> float | None:
    """How many times as fast as OR-Tools the paper's figures make a solver; None where it has none."""
    mine, reference = TABLE_5.get(solver, {}).get(size), TABLE_5[REFERENCE].get(size)
    return reference.seconds / mine.seconds if mine and reference else None


def paper_exponent(solver: str, low: int, high: int) -> float | None:
    """Exponent between two sizes from the paper's figures; None where it lacks one of them."""
    sizes = TABLE_5.get(solver, {})
    if low not in sizes or high not in sizes:
        return None
    return exponent(low, sizes[low].seconds, high, sizes[high].seconds)


def common_range(sizes: Sequence[int]) -> tuple[int, int]:
    """Smallest and largest S that the paper has too; of all sizes where fewer than two are common."""
    shared = [s for s in sizes if s in TABLE_5[REFERENCE]]
    chosen = shared if len(shared) > 1 else list(sizes)
    return min(chosen), max(chosen)


def runtime_table_lines(
    frame: pd.DataFrame,
    cells: Mapping[tuple[BlockKey, SolverKey], Cell],
    blocks: Sequence[BlockKey],
    catalogue: Catalogue,
) -> list[Line]:
    """Every solver that solved something, in the order of the catalogue.

    Parameters
    ----------
    frame : DataFrame
        From `semrsm_bench.report.cells.prepare_rows`.
    cells : mapping
        From `collect_cells` of that frame.
    blocks : sequence of BlockKey
        Of one model and centring, one for each S.
    catalogue : Catalogue
    """
    seconds = _seconds_per_pair(frame)
    solvers = catalogue.order(solver for block, solver in cells if block in blocks)
    lines = []
    for solver in solvers:
        mine = {b.size: cells[b, solver] for b in blocks if (b, solver) in cells and cells[b, solver].ok}
        speed = {
            b.size: interval for b in blocks if b.size in mine and (interval := _speed(seconds, b, solver)) is not None
        }
        if mine:
            lines.append(Line(solver, catalogue.display_name(solver), mine, speed))
    return lines


def _seconds_per_pair(frame: pd.DataFrame) -> dict[tuple[BlockKey, SolverKey], pd.Series[float]]:
    """Median over the repeats of each pair, by block and solver."""
    good = frame[(frame["status"] == "ok") & frame["seconds"].notna()]
    result = {}
    for key, part in good.groupby([*BLOCK, "label"], sort=False):
        *block, solver = key  # type: ignore[misc]
        result[BlockKey.of_group(block), solver] = part.groupby("pair", sort=True)["seconds"].median()
    return result  # type: ignore[return-value]


def _speed(
    seconds: Mapping[tuple[BlockKey, SolverKey], pd.Series[float]], block: BlockKey, solver: SolverKey
) -> Interval | None:
    reference = next((s for b, s in seconds if b == block and s.name == REFERENCE), None)
    if reference is None or (block, solver) not in seconds:
        return None
    ratios = (seconds[block, reference] / seconds[block, solver]).dropna()
    return median_interval(ratios.to_numpy()) if len(ratios) else None
