"""Cells -> panels of text: which columns stand side by side, what the notes under them say. Knows no output format."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from semrsm_bench.bench.stats import Interval
from semrsm_bench.report import paper
from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import CATEGORIES, BlockKey, Cell, SolverKey
from semrsm_bench.report.formatting import (
    NOTHING,
    complexity_text,
    format_chance_corrected,
    format_percent,
    format_seconds,
    plural,
)
from semrsm_bench.report.notes import PARTIAL, UNDEFINED, Cells, failure_text, is_partial, panel_notes

STUB = ("Complexity", "Algorithm", "b")
AFFINITY_NAME = "affinity x @ y.T"
PAPER_GROUP = "the paper"


@dataclass(frozen=True)
class Group:
    """Columns under one heading."""

    title: str
    columns: tuple[str, ...]
    beside: bool = False
    """Stands beside the group before it and is not parted from it."""


@dataclass(frozen=True)
class Line:
    """One line: the stub, then for each group its entries, or one text that spans the group."""

    category: str
    stub: tuple[str, str, str]
    entries: tuple[tuple[str, ...] | str, ...]


@dataclass(frozen=True)
class Panel:
    """A table without its format."""

    title: str
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Arranges the cells of a run.

    Attributes
    ----------
    cells : mapping of (block, solver) to Cell
    affinity : mapping of block to Interval
        Median time of the affinity, s.
    catalogue : Catalogue
    with_paper : bool
        Adds the paper's own figures beside ours.
    end_to_end : bool
        T is the solve plus the affinity where a solver needs one.
    """

    cells: Cells
    affinity: Mapping[BlockKey, Interval]
    catalogue: Catalogue
    with_paper: bool = False
    end_to_end: bool = False

    @property
    def time_title(self) -> str:
        """Heading of the time column."""
        return "T + affinity" if self.end_to_end else "T"

    def per_layer(self, blocks: Sequence[BlockKey]) -> list[Panel]:
        """One panel per layer, its centrings side by side: narrow enough for a terminal."""
        grouped: dict[tuple[str, int, str, int], list[BlockKey]] = defaultdict(list)
        for block in blocks:
            grouped[block.model, block.size, block.layer, block.channels].append(block)
        # The paper's runtimes appear to be those of raw features, so its figures stand beside the first centring, none.
        return [
            self._panel(_layer_title(same[0]), same, [f"centring {b.centring}" for b in same], [0])
            for same in grouped.values()
        ]

    def per_centring(self, blocks: Sequence[BlockKey]) -> list[Panel]:
        """One panel per model and centring, its sizes side by side: the paper's Table 5."""
        grouped: dict[tuple[str, str], list[BlockKey]] = defaultdict(list)
        for block in blocks:
            grouped[block.model, block.centring].append(block)
        panels = []
        for same in grouped.values():
            several = len({b.size for b in same}) < len(same)
            titles = [f"S = {b.size}" + (f", {b.layer}" if several and b.layer else "") for b in same]
            title = ", ".join(x for x in (same[0].model, f"centring {same[0].centring}") if x)
            panels.append(self._panel(title, same, titles, list(range(len(same)))))
        return panels

    def _panel(
        self, title: str, blocks: Sequence[BlockKey], titles: Sequence[str], paper_after: Sequence[int]
    ) -> Panel:
        """`paper_after` are the positions in `blocks` behind which the paper's figures for that size stand."""
        columns = ("k/k_opt %", "c", self.time_title)
        usual = {block: self.usual_pairs(block) for block in blocks}
        solvers = {solver for block, solver in self.cells if block in blocks}
        ordered = self.catalogue.order(solver for _, solver in self.cells if solver in solvers)
        if self.with_paper:
            ordered += self._only_in_paper(solvers, blocks)
            ordered = self.catalogue.order(ordered)
        sources: list[tuple[BlockKey, bool]] = []
        groups: list[Group] = []
        for i, block in enumerate(blocks):
            sources.append((block, False))
            groups.append(Group(f"{titles[i]}, {plural(usual[block], 'pair')}", columns))
            if self.with_paper and i in paper_after and any(block.size in sizes for sizes in paper.TABLE_5.values()):
                sources.append((block, True))
                groups.append(Group(PAPER_GROUP, ("k/k_opt %", "T"), beside=True))
        lines = [
            Line(
                category=CATEGORIES.get(solver.kind, solver.kind or "Other"),
                stub=(
                    complexity_text(self.catalogue.complexity(solver)),
                    self.catalogue.display_name(solver),
                    solver.block_size or NOTHING,
                ),
                entries=tuple(
                    _paper_entries(solver, block.size)
                    if from_paper
                    else self.entries(self.cells.get((block, solver)), usual[block])
                    for block, from_paper in sources
                ),
            )
            for solver in ordered
        ]
        if any(math.isfinite(self.affinity[b].value) for b in blocks if b in self.affinity):
            entries = [
                (NOTHING, NOTHING)
                if from_paper
                else (NOTHING, NOTHING, _time(self.affinity.get(block, Interval(math.nan, math.nan, math.nan))))
                for block, from_paper in sources
            ]
            lines.append(Line("Shared input", (complexity_text("O(S^2 C)"), AFFINITY_NAME, NOTHING), tuple(entries)))
        return Panel(
            title, tuple(groups), tuple(lines), tuple(panel_notes(self.cells, blocks, ordered, usual, self.catalogue))
        )

    def usual_pairs(self, block: BlockKey) -> int:
        """How many pairs most solvers of a block rest on."""
        counts = Counter(cell.ok for (b, _), cell in self.cells.items() if b == block and cell.ok)
        return max(counts, key=lambda n: (counts[n], n)) if counts else 0

    def _only_in_paper(self, solvers: Iterable[SolverKey], blocks: Sequence[BlockKey]) -> list[SolverKey]:
        measured = {solver.name for solver in solvers}
        kinds = {"identity": "baseline", "ortools": "exact", "scipy": "exact", "lapjv": "exact"}
        return [
            SolverKey(
                name, kinds.get(name, "approximate"), (("b", name.rpartition("-")[2]),) if name not in kinds else ()
            )
            for name, sizes in paper.TABLE_5.items()
            if name not in measured and any(block.size in sizes for block in blocks)
        ]

    def entries(self, cell: Cell | None, usual: int) -> tuple[str, ...] | str:
        """Quality, c and time of a cell as printed, with their marks; for a cell without figures why there are none."""
        if cell is None:
            return "not run"
        if not cell.ok:
            return failure_text(cell)
        if cell.undefined:
            quality = UNDEFINED
        elif cell.quality_is_bound:
            quality = f"≥ {format_percent(cell.quality.value, lower_bound=True)}"
        else:
            quality = format_percent(cell.quality.value, _margin(cell.quality))
        if cell.chance_corrected_is_bound:
            c = f"≥ {format_chance_corrected(cell.chance_corrected.value, lower_bound=True)}"
        else:
            c = format_chance_corrected(cell.chance_corrected.value, _margin(cell.chance_corrected))
        time = _time(cell.total_seconds if self.end_to_end else cell.seconds)
        return quality, c, f"{time} {PARTIAL}" if is_partial(cell, usual) else time


def _layer_title(block: BlockKey) -> str:
    source = " ".join(x for x in (block.model, block.layer) if x)
    channels = f", C = {block.channels}" if block.channels else ""
    return f"S = {block.size}{channels}" + (f" ({source})" if source else "")


def _margin(interval: Interval) -> float:
    """The farther end of the interval: an asymmetric one is never printed narrower than it is."""
    return max(interval.high - interval.value, interval.value - interval.low)


def _time(interval: Interval) -> str:
    return format_seconds(interval.value, _margin(interval))


def _paper_entries(solver: SolverKey, size: int) -> tuple[str, ...]:
    figure = paper.paper_figure(solver.name, size)
    return (NOTHING, NOTHING) if figure is None else (format_percent(figure.quality), format_seconds(figure.seconds))
