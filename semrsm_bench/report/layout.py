"""Results -> panels of text: which columns stand side by side, what the notes under them say. Knows no output format."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from semrsm_bench.bench.summary import Difference, Summary, differences
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import UNKNOWN, Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import NOUNS, MethodKey
from semrsm_bench.report.formatting import (
    NOTHING,
    complexity_text,
    format_p,
    format_score,
    format_seconds,
    plural,
)
from semrsm_bench.report.notes import PARTIAL, UNDEFINED, failure_text, is_partial, panel_notes, undefined_cases
from semrsm_bench.report.paper import Printed, Published, printed_tables, published
from semrsm_bench.report.places import Place, axes, label
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Look, looks

PAPER_GROUP = "the paper"
COMPLEXITY = "Complexity"
BLOCK_SIZE = "b"


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
    stub: tuple[str, ...]
    entries: tuple[tuple[str, ...] | str, ...]


@dataclass(frozen=True)
class Panel:
    """A table without its format; ``stub`` holds the headings of the columns that say which method it is."""

    title: str
    stub: tuple[str, ...]
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """Cells that are shown together: the keys that they share, those that tell them apart, and the cells in order."""

    keys: tuple[str, ...]
    across: tuple[str, ...]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Arranges the results of a task.

    ``with_paper`` adds published figures beside ours; ``end_to_end``: T is the call plus what several methods share and is timed
    apart, such as the affinity of a solver.
    """

    results: TaskResults
    with_paper: bool = False
    end_to_end: bool = False

    @property
    def time_title(self) -> str:
        """Heading of the time column."""
        return "T + affinity" if self.end_to_end and self.results.shared else "T"

    def scores(self, cells: Container[str] | None = None) -> list[Score]:
        """Scores that any method has in these cells; default: in any cell."""
        here = [s for (cell, _), s in self.results.cells.items() if cells is None or cell in cells]
        scores = self.results.task.scores
        return [score for score in scores if any(score_text(score, s) != NOTHING for s in here)] or list(scores[:1])

    @cached_property
    def is_timed(self) -> bool:
        """Whether any call was timed."""
        return any(math.isfinite(s.seconds.value) for s in self.results.summaries)

    @cached_property
    def stub(self) -> tuple[str, ...]:
        """Headings of the columns before them; those that are empty throughout are left out."""
        methods, catalogue = self.results.methods, self.results.catalogue
        first = (COMPLEXITY,) if any(catalogue.complexity(m) for m in methods) else ()
        last = (BLOCK_SIZE,) if any(m.block_size for m in methods) else ()
        return (*first, NOUNS.get(self.results.task.kind, "Method"), *last)

    @cached_property
    def looks(self) -> dict[MethodKey, Look]:
        """How figures show its methods."""
        return looks(self.results.methods)

    @cached_property
    def published(self) -> Published | None:
        """Figures of a paper on the same task."""
        return published(self.results.task.name) if self.with_paper else None

    def sheets(self, wide: bool = False) -> list[Sheet]:
        """Cells by panels: the innermost key that varies lies across.

        Where the task names a key that stands side by side in a terminal, ``wide``, for paper, has panels for its values instead.
        """
        task, places = self.results.task, self.results.places
        keys = self.results.keys
        varying = axes(list(places.values()), keys)
        beside = task.beside
        if beside and beside in keys:
            apart = {beside, task.across[0]} if wide else {k for k in keys if k != beside}
            panel = tuple(k for k in keys if k in apart)
            across = tuple(k for k in keys if k not in apart)
        else:
            across = varying[-1] if varying else ()
            panel = tuple(k for k in keys if k not in across)
        grouped: dict[tuple[str, ...], list[str]] = {}
        for cell, place in places.items():
            grouped.setdefault(tuple(str(place.get(k, "")) for k in panel), []).append(cell)
        return [Sheet(panel, across, tuple(cells)) for cells in grouped.values()]

    def distinguishing(self, sheet: Sheet) -> tuple[str, ...]:
        """The fewest keys that tell the cells of a sheet apart; none for a single one."""
        return tuple(axis[0] for axis in axes([self.results.places[c] for c in sheet.cells], sheet.across))

    def panels(self, wide: bool = False) -> list[Panel]:
        """All panels of the task's table, then those of `differences`, then what a paper prints of other networks."""
        sheets = self.sheets(wide)
        printed = printed_tables(self.results.task.name) if self.with_paper else []
        return [
            *(self._panel(sheet) for sheet in sheets),
            *self._difference_panels(sheets),
            *(_printed_panel(title, figures) for title, figures in printed),
        ]

    def title(self, sheet: Sheet) -> str:
        """What the cells of a sheet share, in words."""
        return label(sheet.keys, self.results.places[sheet.cells[0]])

    def group_title(self, sheet: Sheet, cell: str) -> str:
        """Heading of a cell of a sheet: what tells it apart, and how many units it rests on."""
        count = plural(self.results.usual_units(cell), self.results.task.unit or "case")
        told = label([k for k in sheet.across if k != "channels"], self.results.places[cell])
        return f"{told}, {count}" if told else count

    def _panel(self, sheet: Sheet) -> Panel:
        results = self.results
        methods = [m for m in results.methods if any((c, m) in results.cells for c in sheet.cells)]
        places = {c: results.places[c] for c in sheet.cells}
        beside = self._paper_columns(places)
        if self.published and beside:
            only = [m for m in self.published.methods(places.values()) if m.name not in {o.name for o in methods}]
            methods = results.catalogue.order([*methods, *only])
        usual = {c: results.usual_cases(c) for c in sheet.cells}
        scores = self.scores(sheet.cells)
        heads = (*(score.title for score in scores), *((self.time_title,) if self.is_timed else ()))
        # Each group of columns with the entries of all methods, and those of what they share.
        groups: list[tuple[Group, list[tuple[str, ...] | str], tuple[str, ...]]] = []
        for cell, place in places.items():
            ours = [self.entries(results.cells.get((cell, m)), usual[cell], scores) for m in methods]
            time = _time(results.shared.get(cell, UNKNOWN))
            groups.append((Group(self.group_title(sheet, cell), heads), ours, (*(NOTHING,) * len(scores), time)))
            if printed := beside.get(cell):
                theirs = [self._paper_entries(method, place, printed) for method in methods]
                group = Group(PAPER_GROUP, tuple(printed.values()), beside=True)
                groups.append((group, [*theirs], (NOTHING,) * len(printed)))
        rows = zip(methods, zip(*(entries for _, entries, _ in groups)))
        lines = [Line(method.category_title, self.stub_of(method), entries) for method, entries in rows]
        if self.is_timed and any(c in results.shared for c in sheet.cells):
            shared = MethodKey.shared_by(results.task.kind)
            lines.append(Line(shared.category_title, self.stub_of(shared), tuple(times for _, _, times in groups)))
        notes = panel_notes(results, sheet.cells, self.distinguishing(sheet), usual)
        return Panel(self.title(sheet), self.stub, tuple(g for g, _, _ in groups), tuple(lines), tuple(notes))

    def stub_of(self, method: MethodKey) -> tuple[str, ...]:
        """What stands before the entries of a method."""
        values = {
            COMPLEXITY: complexity_text(self.results.catalogue.complexity(method)),
            BLOCK_SIZE: method.block_size or NOTHING,
        }
        return tuple(values.get(head, self.results.catalogue.display_name(method)) for head in self.stub)

    def entries(
        self, summary: Summary | None, usual: int, scores: Sequence[Score] | None = None
    ) -> tuple[str, ...] | str:
        """Scores and time of a cell as printed, with their marks; for a cell without figures why there are none."""
        if summary is None:
            return "not run"
        if not summary.ok:
            return failure_text(summary)
        told = [score_text(score, summary) for score in (self.scores() if scores is None else scores)]
        if self.is_timed:
            told.append(_time(summary.total_seconds if self.end_to_end else summary.seconds))
        if is_partial(summary, usual):
            told[-1] += f" {PARTIAL}"
        return tuple(told)

    def _paper_columns(self, places: Mapping[str, Place]) -> dict[str, dict[str, str]]:
        """For each cell beside which published figures stand: their names and headings; the same ones never stand twice."""
        found: dict[str, dict[str, str]] = {}
        if self.published is None:
            return found
        seen: list[Any] = []
        titles = {**{s.name: s.title for s in self.results.task.scores}, "seconds": "T"}
        for cell, place in places.items():
            figures = self.published.at(place)
            if figures and figures not in seen:
                seen.append(figures)
                there = {name for values in figures.values() for name in values}
                found[cell] = {name: title for name, title in titles.items() if name in there}
        return found

    def _paper_entries(self, method: MethodKey, place: Place, names: Iterable[str]) -> tuple[str, ...]:
        assert self.published is not None
        figures = self.published.at(place).get(method.name, {})
        told = {s.name: format_score(s, figures[s.name]) for s in self.results.task.scores if s.name in figures}
        told |= {"seconds": format_seconds(figures["seconds"])} if "seconds" in figures else {}
        return tuple(told.get(name, NOTHING) for name in names)

    @cached_property
    def differences(self) -> list[Difference]:
        """Every method minus the task's reference, in its first score; empty where the task names none."""
        task = self.results.task
        if not task.reference:
            return []
        return differences(self.results.summaries, task.scores[0].name, task.reference, task.resampling)

    def _difference_panels(self, sheets: Sequence[Sheet]) -> list[Panel]:
        found: dict[tuple[str, str], Difference] = {(cell_key(d.place), d.method): d for d in self.differences}
        if not found:
            return []
        task, score = self.results.task, self.results.task.scores[0]
        stub = tuple(head for head in self.stub if head not in (COMPLEXITY, BLOCK_SIZE))
        panels = []
        for sheet in sheets:
            cells = [c for c in sheet.cells if any(c == other for other, _ in found)]
            groups = tuple(Group(self.group_title(sheet, c), (f"Δ {score.title}", "p")) for c in cells)
            lines = []
            for method in (m for m in self.results.methods if any((c, m.name) in found for c in cells)):
                here = [found.get((c, method.name)) for c in cells]
                entries = (
                    (format_score(score, *d.interval, signed=True), format_p(d.p)) if d else (NOTHING,) * 2
                    for d in here
                )
                lines.append(
                    Line(method.category_title, (self.results.catalogue.display_name(method),), tuple(entries))
                )
            if lines:
                title = ", ".join(filter(None, (self.title(sheet), f"differences from {task.reference}")))
                panels.append(Panel(title, stub, groups, tuple(lines)))
        note = (
            f"Differences: paired, in the same draws, with 95 % intervals; p: two-sided, corrected by Holm's method for all "
            f"{len(found)} of them."
        )
        return [*panels[:-1], *(replace(p, notes=(*p.notes, note)) for p in panels[-1:])]


def _printed_panel(title: str, figures: Sequence[Printed]) -> Panel:
    """A table of a paper as it prints it: networks down, the last part of the columns under the others."""
    heads: dict[str, dict[str, None]] = {}
    values = {}
    for figure in figures:
        *outer, last = figure.parts
        heads.setdefault(", ".join(outer), {})[last] = None
        values[figure.row, (", ".join(outer), last)] = f"{figure.value:.3f}".replace("-", "−")
    groups = tuple(Group(head, tuple(columns)) for head, columns in heads.items())
    lines = tuple(
        Line(
            "The paper",
            (row,),
            tuple(tuple(values.get((row, (g.title, c)), NOTHING) for c in g.columns) for g in groups),
        )
        for row in dict.fromkeys(figure.row for figure in figures)
    )
    return Panel(title, ("Network",), groups, lines)


def score_text(score: Score, summary: Summary) -> str:
    """A score as printed: its value with the farther end of its interval, a bound, or a mark."""
    interval = summary.scores.get(score.name)
    if interval is not None and not math.isnan(interval.value):
        return format_score(score, *interval)
    if score.name in summary.bounds:
        sign = "≥" if score.best == "max" else "≤"
        return f"{sign} {format_score(score, summary.bounds[score.name], bound=True)}"
    return UNDEFINED if undefined_cases(summary, score.name) else NOTHING


def _time(interval: Interval) -> str:
    return format_seconds(interval.value, interval.margin)
