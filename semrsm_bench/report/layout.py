"""Results -> panels of text: methods down, cells across, notes under them. Knows no output format."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from semrsm_bench.bench.summary import Difference, Summary, differences
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import UNKNOWN, Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import NOUNS, MethodKey
from semrsm_bench.report.escape import complexity_text
from semrsm_bench.report.formatting import NOTHING, format_p, format_score, format_seconds, plural, plurals
from semrsm_bench.report.notes import PARTIAL, case_noun, failure_text, is_partial, panel_notes, score_text
from semrsm_bench.report.paper import Printed, Published, printed_tables, published
from semrsm_bench.report.places import axes, label
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Look, looks

PAPER_GROUP = "the paper"
COMPLEXITY = "Complexity"
BLOCK_SIZE = "b"


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under one heading; one that stands ``beside`` the group before it is not parted from it."""

    title: str
    columns: tuple[str, ...]
    beside: bool = False


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
    groups: tuple[ColumnGroup, ...]
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
        """Headings of the columns before the groups; those that are empty throughout are left out."""
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

    @cached_property
    def differences(self) -> list[Difference]:
        """Every method minus the task's reference, in its first score; empty where the task names none."""
        task = self.results.task
        if not task.reference:
            return []
        return differences(self.results.summaries, task.scores[0].name, task.reference, task.resampling)

    @property
    def differences_note(self) -> str:
        """What stands under the differences."""
        return (
            "Differences: paired, in the same draws, with 95 % intervals; p: two-sided, corrected by Holm's method for all "
            f"{len(self.differences)} of them."
        )

    @property
    def caption(self) -> str:
        """What the columns of the table mean."""
        task, shared = self.results.task, bool(self.results.shared)
        sentences = ["; ".join(filter(None, map(_meaning, self.scores())))]
        if self.is_timed:
            time = f"{self.time_title}: median time per {case_noun(task.unit)}"
            if shared and self.end_to_end:
                time += " of the call and of the affinity, where a method needs one"
            elif shared:
                time += " of the call alone; the affinity stands in a line of its own"
            sentences.append(time)
        if task.unit:
            sentences.append(f"±: the farther end of a 95 % {task.resampling} interval over {plurals(task.unit)}")
        return f"{'. '.join(filter(None, sentences))}."

    def sheets(self, wide: bool = False) -> list[Sheet]:
        """Cells by panels: the innermost key that varies lies across.

        Where the task names a key that stands side by side in a terminal, ``wide``, for paper, has panels for its values instead.
        """
        task, places, keys = self.results.task, self.results.places, self.results.keys
        varying = axes(list(places.values()), keys)
        if task.beside and task.beside in keys:
            apart = {task.beside, task.across[0]} if wide else {k for k in keys if k != task.beside}
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

    def title(self, sheet: Sheet) -> str:
        """What the cells of a sheet share, in words."""
        return label(sheet.keys, self.results.places[sheet.cells[0]])

    def cell_title(self, sheet: Sheet, cell: str) -> str:
        """What tells a cell of a sheet from the others, in words."""
        return label([k for k in sheet.across if k != "channels"], self.results.places[cell])

    def group_title(self, sheet: Sheet, cell: str) -> str:
        """Heading of a cell of a sheet: what tells it apart, and how many units it rests on."""
        count = plural(self.results.usual_units(cell), self.results.task.unit or "case")
        return ", ".join(filter(None, (self.cell_title(sheet, cell), count)))

    def cases(self, sheet: Sheet) -> str:
        """How many units, or cases, stand behind the cells of a sheet: ``3 to 12 pairs``."""
        unit = self.results.task.unit or "case"
        counts = {n for cell in sheet.cells if (n := self.results.usual_units(cell))} or {0}
        return plural(min(counts), unit) if len(counts) == 1 else f"{min(counts)} to {plural(max(counts), unit)}"

    def panels(self, wide: bool = False) -> list[Panel]:
        """All panels of the task's table, then those of `differences`, then what a paper prints of other networks."""
        sheets = self.sheets(wide)
        printed = printed_tables(self.results.task.name) if self.with_paper else []
        return [
            *map(self._panel, sheets),
            *self._difference_panels(sheets),
            *(_printed_panel(title, figures) for title, figures in printed),
        ]

    def _panel(self, sheet: Sheet) -> Panel:
        results = self.results
        methods = [m for m in results.methods if any((c, m) in results.cells for c in sheet.cells)]
        theirs = self._published(sheet.cells)
        names = {m.name for m in methods}
        methods = results.catalogue.order([*methods, *(m for at in theirs.values() for m in at if m.name not in names)])
        usual = {c: results.usual_cases(c) for c in sheet.cells}
        scores = self.scores(sheet.cells)
        groups: list[ColumnGroup] = []
        entries: dict[MethodKey, list[tuple[str, ...] | str]] = {m: [] for m in methods}
        shared: list[tuple[str, ...]] = []
        for cell in sheet.cells:
            heads = (*(score.title for score in scores), *((self.time_title,) if self.is_timed else ()))
            groups.append(ColumnGroup(self.group_title(sheet, cell), heads))
            shared.append((*(NOTHING,) * len(scores), _time(results.shared.get(cell, UNKNOWN))))
            for method in methods:
                entries[method].append(self._entries(results.cells.get((cell, method)), usual[cell], scores))
            if cell in theirs:
                here = {m.name: s for m, s in theirs[cell].items()}
                printed = [s for s in results.task.scores if any(s.name in one.scores for one in here.values())]
                groups.append(ColumnGroup(PAPER_GROUP, (*(s.title for s in printed), "T"), beside=True))
                shared.append((NOTHING,) * (len(printed) + 1))
                for method in methods:
                    found = here.get(method.name)
                    texts = (*(score_text(s, found) for s in printed), _time(found.seconds)) if found else ()
                    entries[method].append(texts or shared[-1])
        lines = [Line(m.category_title, self._stub_of(m), tuple(entries[m])) for m in methods]
        if self.is_timed and any(c in results.shared for c in sheet.cells):
            key = MethodKey.shared_by(results.task.kind)
            lines.append(Line(key.category_title, self._stub_of(key), tuple(shared)))
        notes = panel_notes(results, sheet.cells, self.distinguishing(sheet), usual)
        return Panel(self.title(sheet), self.stub, tuple(groups), tuple(lines), tuple(notes))

    def _stub_of(self, method: MethodKey) -> tuple[str, ...]:
        catalogue = self.results.catalogue
        values = {COMPLEXITY: complexity_text(catalogue.complexity(method)), BLOCK_SIZE: method.block_size or NOTHING}
        return tuple(values.get(head, catalogue.display_name(method)) for head in self.stub)

    def _entries(self, summary: Summary | None, usual: int, scores: Iterable[Score]) -> tuple[str, ...] | str:
        """Scores and time of a cell as printed, with their marks; for a cell without figures why there are none."""
        if summary is None or not summary.ok:
            return failure_text(summary)
        found = [score_text(score, summary) for score in scores]
        if self.is_timed:
            found.append(_time(summary.total_seconds if self.end_to_end else summary.seconds))
        if is_partial(summary, usual):
            found[-1] += f" {PARTIAL}"
        return tuple(found)

    def _published(self, cells: Iterable[str]) -> dict[str, Mapping[MethodKey, Summary]]:
        """What a paper prints for cells, beside the first cell that it fits."""
        found: dict[str, Mapping[MethodKey, Summary]] = {}
        for cell in cells if self.published else ():
            assert self.published is not None
            here = self.published.at(self.results.places[cell])
            if here and here not in found.values():
                found[cell] = here
        return found

    def _difference_panels(self, sheets: Sequence[Sheet]) -> list[Panel]:
        found = {(cell_key(d.place), d.method): d for d in self.differences}
        task, score = self.results.task, self.results.task.scores[0]
        panels = []
        for sheet in sheets:
            cells = [c for c in sheet.cells if any(c == other for other, _ in found)]
            groups = tuple(ColumnGroup(self.group_title(sheet, c), (f"Δ {score.title}", "p")) for c in cells)
            lines = [
                Line(
                    method.category_title,
                    (self.results.catalogue.display_name(method),),
                    tuple(_difference(score, found.get((c, method.name))) for c in cells),
                )
                for method in self.results.methods
                if any((c, method.name) in found for c in cells)
            ]
            if lines:
                title = ", ".join(filter(None, (self.title(sheet), f"differences from {task.reference}")))
                stub = tuple(head for head in self.stub if head not in (COMPLEXITY, BLOCK_SIZE))
                panels.append(Panel(title, stub, groups, tuple(lines)))
        return [*panels[:-1], *(replace(panel, notes=(self.differences_note,)) for panel in panels[-1:])]


def _printed_panel(title: str, figures: Sequence[Printed]) -> Panel:
    """A table of a paper as it prints it: networks down, the last part of the columns under the others."""
    heads: dict[str, dict[str, None]] = {}
    for figure in figures:
        heads.setdefault(", ".join(figure.parts[:-1]), {})[figure.parts[-1]] = None
    values = {(f.row, ", ".join(f.parts[:-1]), f.parts[-1]): f"{f.value:.3f}".replace("-", "−") for f in figures}
    lines = (
        Line("The paper", (row,), tuple(tuple(values.get((row, h, c), NOTHING) for c in heads[h]) for h in heads))
        for row in dict.fromkeys(figure.row for figure in figures)
    )
    return Panel(
        title, ("Network",), tuple(ColumnGroup(h, tuple(columns)) for h, columns in heads.items()), tuple(lines)
    )


def _difference(score: Score, found: Difference | None) -> tuple[str, str]:
    return (format_score(score, *found.interval, signed=True), format_p(found.p)) if found else (NOTHING, NOTHING)


def _time(interval: Interval) -> str:
    return format_seconds(interval.value, interval.margin)


def _meaning(score: Score) -> str:
    """What a score is, which way is better where that is down, and what chance reaches."""
    facts = [
        f"= {score.meaning}" if score.meaning else "",
        "lower is better" if score.best == "min" else "",
        f"chance {format_score(score, score.chance)}" if score.chance else "",
    ]
    return f"{score.title}{' ' if facts[0] else ': '}{', '.join(filter(None, facts))}" if any(facts) else ""
