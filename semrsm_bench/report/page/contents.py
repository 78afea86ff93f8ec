"""What the page says besides its plots: tables with something to sort by, failures with their reasons, provenance."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from semrsm_bench.bench.results import FAULTS
from semrsm_bench.report import paper
from semrsm_bench.report.cells import BLOCK, CATEGORIES, BlockKey, Cell, SolverKey
from semrsm_bench.report.formatting import (
    NOTHING,
    complexity_text,
    format_cell,
    format_percent,
    format_seconds,
)
from semrsm_bench.report.layout import AFFINITY_NAME, Layout
from semrsm_bench.report.notes import failure_text
from semrsm_bench.report.page.drawing import block_label
from semrsm_bench.report.page.studies import StudyTable


@dataclass(frozen=True)
class Column:
    """A column: ``number`` stands to the right and sorts by value, ``best`` is the direction a first click sorts in."""

    title: str
    number: bool = False
    best: str = "asc"
    filtered: bool = False
    paper: bool = False


@dataclass(frozen=True)
class Entry:
    """A cell: what is shown, and what it sorts by; unknown numbers sort last in the column's best direction."""

    text: str
    order: float | str = ""

    @property
    def sort_text(self) -> str:
        """``order`` as JavaScript reads numbers."""
        return str(self.order).replace("inf", "Infinity") if isinstance(self.order, float) else str(self.order)


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""


def result_table(layout: Layout, end_to_end: Layout, blocks: Sequence[BlockKey]) -> PageTable:
    """Every cell of a run in a line of its own, as the verb ``table`` prints it.

    Parameters
    ----------
    layout, end_to_end : Layout
        The same cells, with the time of the solve alone and with the affinity.
    blocks : sequence of BlockKey
    """
    columns = (
        Column("Algorithm"),
        Column("Kind", filtered=True),
        Column("S", number=True, filtered=True),
        Column("Layer", filtered=True),
        Column("Centring", filtered=True),
        Column("k/k_opt %", number=True, best="desc"),
        Column("c", number=True, best="desc"),
        Column("T", number=True),
        Column("T + affinity", number=True),
        Column("Pairs", number=True, best="desc"),
        Column("Status", filtered=True),
        Column("Complexity"),
    )
    rows = []
    several = len({b.model for b in blocks}) > 1
    solvers = layout.catalogue.order(solver for _, solver in layout.cells)
    for block in blocks:
        place = (
            Entry(f"{block.size:,}", block.size),
            Entry(" ".join(x for x in (block.model if several else "", block.layer) if x) or NOTHING),
            Entry(block.centring),
        )
        for solver in solvers:
            cell = layout.cells.get((block, solver))
            if cell is None:
                continue
            name = Entry(layout.catalogue.display_name(solver))
            kind = Entry(CATEGORIES.get(solver.kind, solver.kind or "Other"))
            complexity = Entry(complexity_text(layout.catalogue.complexity(solver)))
            rows.append((name, kind, *place, *_figures(layout, end_to_end, cell), complexity))
        shared = layout.affinity.get(block)
        if shared and math.isfinite(shared.value):
            time = Entry(
                format_seconds(shared.value, max(shared.high - shared.value, shared.value - shared.low)), shared.value
            )
            none = Entry(NOTHING, -math.inf)
            label = (Entry(AFFINITY_NAME), Entry("Shared input"))
            rows.append(
                (
                    *label,
                    *place,
                    none,
                    none,
                    time,
                    Entry(NOTHING, math.inf),
                    none,
                    Entry("ok"),
                    Entry(complexity_text("O(S^2 C)")),
                )
            )
    return PageTable("Every solver on every layer and centring", columns, tuple(rows))


def _figures(layout: Layout, end_to_end: Layout, cell: Cell) -> tuple[Entry, ...]:
    usual = layout.usual_pairs(cell.block)
    entries, total = layout.entries(cell, usual), end_to_end.entries(cell, usual)
    pairs = Entry(f"{cell.ok:,}" if cell.pairs <= cell.ok else f"{cell.ok:,} of {cell.pairs:,}", cell.ok)
    if isinstance(entries, str) or isinstance(total, str):
        best, fast = Entry(NOTHING, -math.inf), Entry(NOTHING, math.inf)
        return best, best, fast, fast, pairs, Entry(failure_text(cell))
    quality, c, time = entries
    status = "ok" if not cell.failures else f"ok, some {cell.failure}"
    return (
        Entry(quality, _known(cell.quality.value, -math.inf)),
        Entry(c, _known(cell.chance_corrected.value, -math.inf)),
        Entry(time, _known(cell.seconds.value, math.inf)),
        Entry(total[2], _known(cell.total_seconds.value, math.inf)),
        pairs,
        Entry(status),
    )


def _known(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def paper_table(layout: Layout, blocks: Sequence[BlockKey]) -> PageTable | None:
    """The paper's Table 5 at the sizes of this run beside ours; None where the run has none of its sizes.

    Ours are of the first centring that the run has, raw features where it has them, as those of the paper appear to be.
    """
    sizes = {size for figures in paper.TABLE_5.values() for size in figures}
    first = [b for b in blocks if b.size in sizes and b.centring == blocks[0].centring]
    if not first:
        return None
    columns = (
        Column("Algorithm"),
        Column("S", number=True),
        *((Column("Layer"),) if any(b.layer for b in first) else ()),
        Column("the paper's k/k_opt %", number=True, best="desc", paper=True),
        Column("the paper's T", number=True, paper=True),
        Column("our k/k_opt %", number=True, best="desc"),
        Column("our T", number=True),
    )
    rows = []
    for block in first:
        measured = {s.name: s for b, s in layout.cells if b == block}
        for name in paper.TABLE_5:
            figure = paper.paper_figure(name, block.size)
            if figure is None:
                continue
            cell = layout.cells.get((block, measured[name])) if name in measured else None
            entries = [
                Entry(name),
                Entry(f"{block.size:,}", block.size),
                *((Entry(block.layer),) if any(b.layer for b in first) else ()),
                Entry(format_percent(figure.quality), figure.quality),
                Entry(format_seconds(figure.seconds), figure.seconds),
                _figures(layout, layout, cell)[0] if cell else Entry(NOTHING, -math.inf),
                (_figures(layout, layout, cell)[2] if cell.ok else Entry(failure_text(cell), math.inf))
                if cell
                else Entry("not run", math.inf),
            ]
            rows.append(tuple(entries))
    note = f"The paper's columns are {paper.CONDITIONS}; source: {paper.SOURCE}. Ours: centring {first[0].centring}."
    return PageTable("The paper's Table 5 beside this run", columns, tuple(rows), note)


def failure_table(frame: pd.DataFrame, layout: Layout, blocks: Sequence[BlockKey]) -> PageTable | None:
    """Every reason for which something was not measured, with where it was; faults first. None where all is well.

    Parameters
    ----------
    frame : DataFrame
        From `semrsm_bench.report.cells.prepare_rows`.
    layout : Layout
    blocks : sequence of BlockKey
    """
    bad = frame[frame["status"] != "ok"]
    if bad.empty:
        return None
    reasons: dict[tuple[SolverKey, str, str], dict[BlockKey, int]] = {}
    for key, part in bad.groupby([*BLOCK, "label", "status", "message"], sort=False):
        *place, solver, status, message = cast("tuple[Any, ...]", key)
        block = BlockKey.of_group(place)
        pairs = int(part.loc[part["pair"] != "", "pair"].nunique())
        reasons.setdefault((solver, str(status), str(message)), {})[block] = pairs
    columns = (
        Column("Algorithm"),
        Column("Status", filtered=True),
        Column("Reason"),
        Column("Where"),
        Column("Pairs", number=True, best="desc"),
    )
    severity = [*FAULTS, "timeout", "memory", "skipped"]
    order = layout.catalogue.order(solver for solver, _, _ in reasons)
    rows = [
        (
            Entry(layout.catalogue.display_name(solver)),
            Entry(status),
            Entry(message or NOTHING),
            Entry(_places([b for b in blocks if b in found], blocks)),
            Entry(f"{sum(found.values()):,}" if any(found.values()) else NOTHING, sum(found.values())),
        )
        for (solver, status, message), found in sorted(
            reasons.items(),
            key=lambda item: (
                severity.index(item[0][1]) if item[0][1] in severity else -1,
                order.index(item[0][0]),
            ),
        )
    ]
    return PageTable("What was not measured, and why", columns, tuple(rows))


def _places(found: Sequence[BlockKey], blocks: Sequence[BlockKey]) -> str:
    if len(found) == len(blocks) > 1:
        return "everywhere"
    centrings: dict[str, list[str]] = {}
    for block in found:
        centrings.setdefault(block_label(block, blocks), []).append(block.centring)
    return "; ".join(f"{label}, centring {' and '.join(names)}" for label, names in centrings.items())


def study_table(table: StudyTable, *, of_paper: bool = False) -> PageTable:
    """A study's table with columns that sort; a column of numbers may hold texts such as ``4.26 ±0.05 ms``."""
    columns, cells = [], []
    for place, title in enumerate(table.columns):
        values = [None if format_cell(row[place]) == NOTHING else row[place] for row in table.rows]
        orders = [_number(value) for value in values]
        known = [order is not None for order in orders]
        number = any(known) and all(found or value is None for found, value in zip(known, values))
        # A study may lay a column of the paper's beside its own, as the result table of a run never does.
        columns.append(Column(title, number=number, paper=of_paper or title.lower().startswith("the paper's")))
        cells.append(
            [Entry(format_cell(v), (math.inf if o is None else o) if number else "") for v, o in zip(values, orders)]
        )
    return PageTable(table.title, tuple(columns), tuple(zip(*cells)) if table.rows else (), table.note)


_SCALES = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "%": 1.0, "": 1.0}
_QUANTITY = re.compile(r"[≥≤]?\s*([-−]?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?)(?:\s*±\s*\S+)?\s*(ns|µs|ms|s|%|)")


def _number(value: Any) -> float | None:
    """What a cell of a study sorts by; None for what is no quantity."""
    if isinstance(value, str):
        found = _QUANTITY.fullmatch(value.strip())
        return float(found[1].replace("−", "-").replace(",", "")) * _SCALES[found[2]] if found else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
