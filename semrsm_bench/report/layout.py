"""Results -> panels of text: methods down, cells across, notes under them. No output format is known here."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from semrsm_bench.bench.contest import (
    ALPHA,
    Difference,
    ToldApart,
    beyond_baselines,
    differences,
    is_ranked,
    told_apart,
    without_baselines,
)
from semrsm_bench.bench.summary import TOO_FEW_UNITS
from semrsm_bench.core.registry import registry_of
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import UNKNOWN, Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import AFFINITY, NOUNS, MethodKey
from semrsm_bench.report.formatting import (
    NOTHING,
    complexity_text,
    format_p,
    format_score,
    format_seconds,
    plural,
    plurals,
)
from semrsm_bench.report.notes import PARTIAL, failure_text, is_partial, panel_notes, score_text
from semrsm_bench.report.paper import Printed, PrintedFigures, printed_tables, published
from semrsm_bench.report.places import Place, axes, label
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Look, looks, short

COMPLEXITY = "Complexity"
BLOCK_SIZE = "b"
RANK = "#"
SAYS = "T says"
BEYOND = Score("beyond_baseline", "beyond baseline", low=-math.inf)


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under one heading; one that is ``beside`` the group before it is not parted from it."""

    title: str
    columns: tuple[str, ...]
    beside: bool = False


@dataclass(frozen=True)
class Line:
    """One line: the stub, then for each group its entries, or one text that spans the group."""

    category: str
    stub: tuple[str, ...]
    entries: tuple[tuple[str, ...] | str, ...]


# A group with its entries by line.
Column = tuple[ColumnGroup, Mapping[Any, tuple[str, ...] | str]]


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

    ``with_paper``: a paper's figures beside ours; ``end_to_end``: T includes the affinity; ``with_told_apart``: a panel for each
    cell that says which methods differ; ``best``: of the cell that stands for the task alone the first score, with no more than
    so many of the methods that it ranks.
    """

    results: TaskResults
    with_paper: bool = False
    end_to_end: bool = False
    with_told_apart: bool = False
    best: int | None = None

    @property
    def total_time_label(self) -> str:
        """The text beside an axis of times end to end."""
        return f"time per {self.results.timed}{', affinity included' if self.results.shared else ''}"

    def scores(self, cells: Container[str] | None = None) -> list[Score]:
        """Scores that any method has in these cells; default: in any cell."""
        here = [s for (cell, _), s in self.results.cells.items() if cells is None or cell in cells]
        scores = self.results.task.scores
        if self.best is not None:
            return list(scores[:1])
        return [score for score in scores if any(score_text(score, s) != NOTHING for s in here)] or list(scores[:1])

    @cached_property
    def time_title(self) -> str:
        """Heading of the time column, "" where no call was timed."""
        timed = any(math.isfinite(s.seconds.value) for s in self.results.summaries)
        return "" if not timed else "T + affinity" if self.end_to_end and self.results.shared else "T"

    @cached_property
    def says(self) -> bool:
        """Whether a program says what time it took, which is in a column of its own."""
        return any(math.isfinite(s.program_seconds) for s in self.results.summaries)

    @cached_property
    def stub(self) -> tuple[str, ...]:
        """Headings of the columns before the groups; those that are empty throughout are left out."""
        methods, catalogue = self.results.methods, self.results.catalogue
        first = (COMPLEXITY,) if self.time_title and any(catalogue.complexity(m) for m in methods) else ()
        last = (BLOCK_SIZE,) if any(m.block_size for m in methods) else ()
        return (*first, NOUNS.get(self.results.task.kind, "Method"), *last)

    @cached_property
    def looks(self) -> dict[MethodKey, Look]:
        """How figures show its methods."""
        return looks(self.results.methods)

    @cached_property
    def names(self) -> dict[MethodKey, str]:
        """How figures name them, and what they share."""
        return {m: short(self.results.catalogue.display_name(m)) for m in (*self.results.methods, AFFINITY)}

    def published_at(self, place: Place) -> PrintedFigures:
        """What a paper prints for a cell."""
        figures = published(self.results.task.name) if self.with_paper else {}
        return figures.get(int(place.get("size") or 0), {})

    @cached_property
    def differences(self) -> list[Difference]:
        """Every method minus the task's reference, in its first score; empty where the task names none."""
        task = self.results.task
        if not task.reference:
            return []
        return differences(self.results.summaries, task.scores[0].name, task.reference, task.resampling)

    @cached_property
    def told_apart(self) -> list[ToldApart]:
        """Of each cell which of its methods differ, in the order of the table."""
        found = {cell_key(cell.place): cell for cell in told_apart(self.results.summaries, self.results.task)}
        return [found[cell] for cell in self.results.places if cell in found]

    @cached_property
    def beyond(self) -> dict[tuple[str, MethodKey], Interval]:
        """The first score beyond the strongest baseline of the cell; see `beyond_baselines`."""
        return dict(zip(self.results.cells, beyond_baselines([*self.results.cells.values()], self.results.task)))

    @cached_property
    def shows_beyond(self) -> bool:
        """Whether tables have a column for it; a quality is corrected for chance as it is."""
        known = any(math.isfinite(beyond.value) for beyond in self.beyond.values())
        return known and self.results.task.scores[0].style != "quality"

    @cached_property
    def cell_names(self) -> dict[str, str]:
        """Cells as machines name them: the values of the task's own keys, or of all where cells share those."""
        for keys in (self.results.task.across, self.results.keys):
            names = {
                cell: ", ".join(str(place[key]) for key in keys if place.get(key) not in ("", None))
                for cell, place in self.results.places.items()
            }
            if len(set(names.values())) == len(names):
                break
        return names

    @property
    def differences_note(self) -> str:
        """The note under the differences."""
        return (
            "Differences: paired, in the same draws, with 95 % intervals; p: two-sided, corrected by Holm's method for all "
            f"{len(self.differences)} of them."
        )

    @property
    def caption(self) -> str:
        """What the columns of the table mean."""
        task = self.results.task
        meanings = []
        for score in self.scores():
            # What it means, its direction where lower is better, and its value by chance.
            facts = [f"= {score.meaning}"] if score.meaning else []
            facts += ["lower is better"] if score.best == "min" else []
            facts += [f"chance {format_score(score, score.chance)}"] if score.chance else []
            if facts:
                meanings.append(f"{score.title}{' ' if score.meaning else ': '}{', '.join(facts)}")
        if self.shows_beyond:
            end = "1" if task.scores[0].best == "max" and task.scores[0].high == 1 else "the end of the scale"
            meanings.append(f"{BEYOND.title} = (value - b)/({end} - b), b the strongest baseline's")
        sentences = ["; ".join(meanings)]
        if self.time_title:
            call = " of the call alone; the affinity has a line of its own"
            if self.end_to_end:
                call = " of the call and of the affinity, where a method needs one"
            sentences.append(
                f"{self.time_title}: median time per {self.results.timed}{call if self.results.shared else ''}"
            )
        if self.says:
            sentences.append(
                f"T of a program: from the request to the answer, as seen from outside; {SAYS}: its own word, not checked"
            )
        if without_baselines(self.results.summaries, task):
            every = registry_of(task.kind)
            if lost := [name for name in every.names() if every.get(name).category == "baseline"]:
                sentences.append(
                    "Nothing that must lose was measured, so nothing says whether a cell ranks methods: --methods takes "
                    f"{', '.join(lost)}, too"
                )
        if over := self.results.resampled:
            sentences.append(f"±: the farther end of a 95 % {task.resampling} interval over {over}")
        too_few = [s for s in self.results.summaries if 0 < s.units <= TOO_FEW_UNITS]
        # Where cases share units, a bootstrap of these is rather too wide.
        few_units = [s for s in self.results.summaries if s.jackknife and s.unit == (task.case_unit or task.unit)]
        if too_few:
            fewest = min(too_few, key=lambda s: s.units)
            many = f"{plural(fewest.units, fewest.unit)} {'is' if fewest.units == 1 else 'are'} too few"
            sentences.append(f"{many} for an interval that says anything: take {TOO_FEW_UNITS + 1} or more")
        elif few_units:
            fewest = min(few_units, key=lambda s: s.units)
            beside = "--json and the page have the jackknife beside it"
            sentences.append(f"A bootstrap of so few {plurals(fewest.unit)} ({fewest.units}) is too narrow; {beside}")
        return f"{'. '.join(filter(None, sentences))}."

    def sheets(self, wide: bool = False) -> list[Sheet]:
        """Cells by panels: the innermost key that varies is across.

        Where the task names a key whose values are side by side in a terminal, ``wide`` has panels for its values instead.
        """
        task, places, keys = self.results.task, self.results.places, self.results.keys
        varying = axes(list(places.values()), keys)
        across = varying[-1] if varying else ()
        if task.beside and task.beside in keys:
            apart = {task.beside, task.across[0]} if wide else {k for k in keys if k != task.beside}
            across = tuple(k for k in keys if k not in apart)
        panel = tuple(k for k in keys if k not in across)
        grouped: dict[tuple[str, ...], list[str]] = {}
        for cell, place in places.items():
            grouped.setdefault(tuple(str(place.get(k, "")) for k in panel), []).append(cell)
        return [Sheet(panel, across, tuple(cells)) for cells in grouped.values()]

    def together(self) -> list[Sheet]:
        """Wide sheets that differ in the task's first key alone, families of instances, say, as one; none where there is one."""
        first = self.results.task.across[0]
        grouped: dict[tuple[str, ...], tuple[tuple[str, ...], list[Sheet]]] = {}
        for sheet in self.sheets(wide=True):
            place = self.results.places[sheet.cells[0]]
            shared = tuple(key for key in sheet.keys if key != first)
            grouped.setdefault(tuple(str(place.get(key, "")) for key in shared), (shared, []))[1].append(sheet)
        return [
            Sheet(shared, (first, *some[0].across), tuple(cell for sheet in some for cell in sheet.cells))
            for shared, some in grouped.values()
            if len(some) > 1
        ]

    def title(self, sheet: Sheet) -> str:
        """What the cells of a sheet share, in words, and how many a sheet of `together` joins."""
        first, places = self.results.task.across[0], [self.results.places[cell] for cell in sheet.cells]
        joined = len({str(place.get(first, "")) for place in places}) if sheet.across[:1] == (first,) else 1
        return ", ".join(filter(None, (f"all {joined} together" if joined > 1 else "", label(sheet.keys, places[0]))))

    def cell_title(self, sheet: Sheet, cell: str) -> str:
        """What tells a cell of a sheet from the others, in words."""
        return label([k for k in sheet.across if k != "channels"], self.results.places[cell])

    def group_title(self, sheet: Sheet, cell: str) -> str:
        """Heading of a cell of a sheet: what tells it apart, and how many units it rests on."""
        count = plural(self.results.most_units[cell], self.results.counted)
        return ", ".join(filter(None, (self.cell_title(sheet, cell), count)))

    def cases(self, sheet: Sheet) -> str:
        """How many units, or cases, are behind the cells of a sheet: ``3 to 12 pairs``."""
        counts = {n for cell in sheet.cells if (n := self.results.most_units[cell])} or {0}
        least = f"{min(counts)} to " if len(counts) > 1 else ""
        return least + plural(max(counts), self.results.counted)

    def panels(self, wide: bool = False) -> list[Panel]:
        """All panels of the task's table, then those of `differences`, then what a paper prints of other networks."""
        sheets = self.sheets(wide)
        if self.best is not None:
            leading = self.results.leading
            return [
                self.panel(Sheet((*one.keys, *one.across), (), (leading,))) for one in sheets if leading in one.cells
            ]
        printed = printed_tables(self.results.task.name) if self.with_paper else []
        others = [printed_panel(title, figures) for title, figures in printed]
        apart = self._told_apart_panels() if self.with_told_apart else []
        return [*map(self.panel, sheets), *self._difference_panels(sheets), *apart, *others]

    def panel(self, sheet: Sheet) -> Panel:
        """Scores and times of every method in the cells of a sheet."""
        results = self.results
        # What a paper prints is beside the first cell that it fits.
        theirs: dict[str, PrintedFigures] = {}
        for cell in sheet.cells:
            printed = self.published_at(results.places[cell])
            if printed and printed not in theirs.values():
                theirs[cell] = printed
        methods = [m for m in results.methods if any((c, m) in results.cells for c in sheet.cells)]
        if self.best is not None:
            methods = self._best(sheet.cells[0], methods)
        names = {m.name for m in methods}
        methods = results.catalogue.order([*methods, *(m for at in theirs.values() for m in at if m.name not in names)])
        scores = self.scores(sheet.cells)
        heads = [*(score.title for score in scores), *filter(None, [self.time_title]), *([SAYS] if self.says else [])]
        if self.shows_beyond:
            heads.insert(1, BEYOND.title)
        columns: list[Column] = []
        for cell in sheet.cells:
            here = {m: self._entries(cell, m, scores) for m in methods}
            times = (time_text(results.shared.get(cell, UNKNOWN)), *([NOTHING] if self.says else []))
            here[AFFINITY] = (*[NOTHING] * (len(heads) - len(times)), *times)
            columns.append((ColumnGroup(self.group_title(sheet, cell), tuple(heads)), here))
            if cell in theirs:
                figures = {m.name: found for m, found in theirs[cell].items()}
                known = [s for s in results.task.scores if any(s.name in found for found in figures.values())]
                group = ColumnGroup("the paper", (*(s.title for s in known), "T"), beside=True)
                columns.append((group, {m: printed_entries(known, figures.get(m.name, {})) for m in methods}))
        if self.time_title and any(c in results.shared for c in sheet.cells):
            methods = [*methods, AFFINITY]
        telling = [axis[0] for axis in axes([results.places[c] for c in sheet.cells], sheet.across)]
        lines = {}
        for m in methods:
            values = {COMPLEXITY: complexity_text(results.catalogue.complexity(m)), BLOCK_SIZE: m.block_size or NOTHING}
            stub = (values.get(head, results.catalogue.display_name(m)) for head in self.stub)
            lines[m] = (m.category_title, tuple(stub))
        return make_panel(self.title(sheet), self.stub, lines, columns, panel_notes(results, sheet.cells, telling))

    def _best(self, cell: str, methods: Sequence[MethodKey]) -> list[MethodKey]:
        """The best of the methods that a cell ranks, undefined ones last, and all that it does not rank or that plugins brought."""
        score = self.results.task.scores[0]
        cost = {}
        for m in methods:
            summary = self.results.cells[cell, m]
            value = summary.scores.get(score.name, UNKNOWN).value
            is_own = str(self.results.catalogue.about(m).get("version", "")).startswith("sha256:")
            if is_ranked(summary) and not is_own:
                cost[m] = math.inf if math.isnan(value) else -value if score.best == "max" else value
        kept = sorted(cost, key=lambda m: cost[m])[: self.best]
        return [m for m in methods if m not in cost or m in kept]

    def _entries(self, cell: str, method: MethodKey, scores: Iterable[Score]) -> tuple[str, ...] | str:
        """Scores and time of a cell as printed, with their marks; for a cell without figures why there are none."""
        summary = self.results.cells.get((cell, method))
        if summary is None or not summary.ok:
            return failure_text(summary)
        found = [score_text(score, summary) for score in scores]
        if self.shows_beyond:
            found.insert(1, format_score(BEYOND, *self.beyond[cell, method]))
        if self.time_title:
            found.append(time_text(summary.total_seconds if self.end_to_end else summary.seconds))
        if self.says:
            found.append(format_seconds(summary.program_seconds))
        if is_partial(summary, self.results.most_cases[cell]):
            found[-1] += f" {PARTIAL}"
        return tuple(found)

    def _difference_panels(self, sheets: Sequence[Sheet]) -> list[Panel]:
        found = {(cell_key(d.place), d.method): d for d in self.differences}
        results, score = self.results, self.results.task.scores[0]
        stub = tuple(head for head in self.stub if head not in (COMPLEXITY, BLOCK_SIZE))
        panels = []
        for sheet in sheets:
            columns: list[Column] = []
            for cell in sheet.cells:
                here = {m: d for m in results.methods if (d := found.get((cell, m.name)))}
                texts = {m: (format_score(score, *d.interval, signed=True), format_p(d.p)) for m, d in here.items()}
                if texts:
                    columns.append((ColumnGroup(self.group_title(sheet, cell), (f"Δ {score.title}", "p")), texts))
            compared = [m for m in results.methods if any(m in texts for _, texts in columns)]
            lines = {m: (m.category_title, (results.catalogue.display_name(m),)) for m in compared}
            title = ", ".join(filter(None, (self.title(sheet), f"differences from {results.task.reference}")))
            if lines:
                panels.append(make_panel(title, stub, lines, columns))
        return [*panels[:-1], *(replace(panel, notes=(self.differences_note,)) for panel in panels[-1:])]

    def told_apart_lines(self, cell: ToldApart) -> dict[MethodKey, tuple[int, str, str]]:
        """Of each method its place, how many it is told apart from, and the places of those from which it is not."""
        names = {m.name: m for (key, m) in self.results.cells if key == cell_key(cell.place)}
        lines = {}
        for i, name in enumerate(cell.methods, start=1):
            alike = [cell.methods.index(other) + 1 for other in cell.alike(name)]
            others = len(cell.methods) - 1
            lines[names[name]] = (i, f"{others - len(alike)} of {others}", _ranges(alike) or NOTHING)
        return lines

    def told_apart_title(self, cell: ToldApart) -> str:
        """How many pairs of its methods a cell tells apart, in words."""
        which = label([k for k in self.results.keys if k != "channels"], cell.place)
        return f"{which + ': ' if which else ''}{100 * cell.share:.0f} % of {plural(len(cell.pairs), 'pair')} of methods told apart"

    @property
    def told_apart_note(self) -> str:
        """What told apart means."""
        score, units = self.results.task.scores[0], self.results.resampled or "cases"
        return (
            f"Told apart: the paired difference in {score.title} excludes 0, p < {ALPHA:g} by Student's t over {units}, "
            "corrected by Holm's method for all pairs of the cell. Baselines and exact solvers take no part."
        )

    def _told_apart_panels(self) -> list[Panel]:
        results, score = self.results, self.results.task.scores[0]
        panels = []
        for cell in self.told_apart:
            lines = self.told_apart_lines(cell)
            stubs = {m: ("", (str(place), results.catalogue.display_name(m))) for m, (place, *_) in lines.items()}
            found = {m: results.cells[cell_key(cell.place), m] for m in lines}
            columns = {m: (score_text(score, found[m]), *texts) for m, (_, *texts) in lines.items()}
            group = ColumnGroup("", (score.title, "told apart from", f"not from {RANK}"))
            stub = (RANK, NOUNS.get(results.task.kind, "Method"))
            panels.append(make_panel(self.told_apart_title(cell), stub, stubs, [(group, columns)]))
        return [*panels[:-1], *(replace(panel, notes=(self.told_apart_note,)) for panel in panels[-1:])]


def _ranges(places: Sequence[int]) -> str:
    """Whole numbers in order as text: ``2–5, 7``."""
    starts = [p for p in places if p - 1 not in places]
    ends = [p for p in places if p + 1 not in places]
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in zip(starts, ends))


def make_panel(
    title: str,
    stub: tuple[str, ...],
    lines: Mapping[Any, tuple[str, tuple[str, ...]]],
    columns: Sequence[Column],
    notes: Iterable[str] = (),
) -> Panel:
    """A panel of lines, each given by its category and stub; those without entries in a group have dashes there."""
    groups = tuple(group for group, _ in columns)
    found = (
        Line(category, head, tuple(here.get(key, (NOTHING,) * len(group.columns)) for group, here in columns))
        for key, (category, head) in lines.items()
    )
    return Panel(title, stub, groups, tuple(found), tuple(notes))


def printed_panel(title: str, figures: Sequence[Printed]) -> Panel:
    """A table of a paper as it prints it: networks or methods down, the last part of the columns under the others."""
    values: dict[str, dict[str, dict[str, str]]] = {}
    for figure in figures:
        group = values.setdefault(", ".join(figure.parts[:-1]), {})
        group.setdefault(figure.parts[-1], {})[figure.row] = f"{figure.value:.3f}".replace("-", "−")
    rows = dict.fromkeys(figure.row for figure in figures)
    columns: list[Column] = [
        (ColumnGroup(head, tuple(group)), {row: tuple(group[c].get(row, NOTHING) for c in group) for row in rows})
        for head, group in values.items()
    ]
    return make_panel(title, ("",), {row: ("The paper", (row,)) for row in rows}, columns)


def printed_entries(scores: Iterable[Score], figures: Mapping[str, float]) -> tuple[str, ...]:
    """Scores and time of a method as a paper prints them."""
    found = [format_score(score, figures.get(score.name, math.nan)) for score in scores]
    return (*found, format_seconds(figures.get("seconds", math.nan)))


def time_text(interval: Interval) -> str:
    """A time with the farther end of its interval."""
    return format_seconds(interval.value, interval.margin)
