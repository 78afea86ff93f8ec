"""What the page says besides its plots: tables with something to sort by, failures with their reasons, published figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.row import FAULTS, cell_key
from semrsm_bench.core.stats import Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import NOUNS, MethodKey
from semrsm_bench.report.formatting import (
    NOTHING,
    complexity_text,
    format_number,
    format_p,
    format_score,
    format_seconds,
    plurals,
)
from semrsm_bench.report.layout import Layout, score_text
from semrsm_bench.report.notes import case_noun, failure_text
from semrsm_bench.report.paper import printed_tables, published
from semrsm_bench.report.places import axes, label
from semrsm_bench.report.results import TaskResults

_SEVERITY = (*FAULTS, "timeout", "memory", "skipped")


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


# A column, and its entry in a row.
Shown = tuple[Column, Callable[[Any], Entry]]


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""

    @classmethod
    def of(cls, caption: str, rows: Iterable[Any], shown: Iterable[Shown], note: str = "") -> PageTable:
        """The table of these rows."""
        columns, entries = zip(*shown)
        return cls(caption, columns, tuple(tuple(entry(row) for entry in entries) for row in rows), note)


@dataclass(frozen=True)
class Contents:
    """The tables of one task. Rows that say where they are have their place first."""

    results: TaskResults

    @cached_property
    def layout(self) -> Layout:
        """As the verb ``table`` prints it."""
        return Layout(self.results)

    @cached_property
    def keys(self) -> list[str]:
        """Keys of cells that have a column of their own; what follows from the layer needs none but S."""
        groups = axes(list(self.results.places.values()), self.results.keys)
        return [key for axis in groups for key in axis if key == axis[0] or key in ("size", "layer")]

    def _places(self) -> Iterator[Shown]:
        def entry(key: str) -> Callable[[Any], Entry]:
            if key == "size":
                return lambda row: Entry(f"{row[0][key]:,}", row[0][key])
            return lambda row: Entry(str(row[0].get(key, NOTHING)))

        for key in self.keys:
            title = {"size": "S", "model": "Network"}.get(key, key.replace("_", " ").capitalize())
            yield Column(title, number=key == "size", filtered=True), entry(key)

    def _method(self, method: Callable[[Any], str]) -> Shown:
        return Column(NOUNS.get(self.results.task.kind, "Method")), lambda row: Entry(method(row))

    def _cases(self, entry: Callable[[Any], Entry]) -> Shown:
        noun = plurals(case_noun(self.results.task.unit)).capitalize()
        return Column(noun, number=True, best="desc"), entry

    def table(self) -> PageTable:
        """Every method in every cell in a line of its own, with the figures that the verb ``table`` prints."""
        results, catalogue, layout = self.results, self.results.catalogue, self.layout
        kind, shared = results.task.kind, MethodKey.shared_by(results.task.kind)
        rows = []
        for cell, place in results.places.items():
            rows += [(place, m, results.cells[cell, m]) for m in results.methods if (cell, m) in results.cells]
            if layout.is_timed and cell in results.shared:
                facts: dict[str, Any] = {"options": {}, "place": place, "ok": 1, "seconds": results.shared[cell]}
                rows.append((place, shared, Summary(results.task.name, shared.name, kind, shared.category, **facts)))
        shown = [self._method(lambda row: catalogue.display_name(row[1]))]
        if len({method.category for method in results.methods}) > 1:
            shown.append((Column("Kind", filtered=True), lambda row: Entry(row[1].category_title)))
        shown += [*self._places(), *(_score(score, lambda row: row[2]) for score in layout.scores())]
        if layout.is_timed:
            shown.append(_time("T", lambda row: row[2].seconds))
            if results.shared:
                shown.append(_time("T + affinity", lambda row: row[2].total_seconds))
        shown.append(self._cases(lambda row: Entry(NOTHING, -math.inf) if row[1] == shared else _counted(row[2])))
        shown.append((Column("Status", filtered=True), lambda row: Entry(_status(row[2]))))
        if any(catalogue.complexity(method) for method in results.methods):
            shown.append((Column("Complexity"), lambda row: Entry(complexity_text(catalogue.complexity(row[1])))))
        first = next(iter(results.places.values()))
        where = label([key for key in first if key not in self.keys and key != "channels"], first)
        return PageTable.of(f"Every method{f': {where}' if where else ''}", rows, shown)

    def differences(self) -> PageTable | None:
        """Every method against the task's reference; None where there is nothing to compare."""
        found, task, catalogue = self.layout.differences, self.results.task, self.results.catalogue
        if not found:
            return None
        score = task.scores[0]
        names = {(cell, method.name): catalogue.display_name(method) for cell, method in self.results.cells}

        def interval(row: Any) -> Entry:
            return Entry(" to ".join(format_score(score, end, signed=True) for end in row[1].interval[1:]))

        def value(row: Any) -> Entry:
            change = row[1].interval.value
            return Entry(format_score(score, change, signed=True), _known(change, _last(score)))

        shown = [
            self._method(lambda row: names[cell_key(row[0]), row[1].method]),
            *self._places(),
            (Column(f"Δ {score.title}", number=True, best="desc" if score.best == "max" else "asc"), value),
            (Column("95 % interval"), interval),
            (Column("p", number=True), lambda row: Entry(format_p(row[1].p), _known(row[1].p, math.inf))),
        ]
        note = f"Paired, in the same draws; p: two-sided, corrected by Holm's method for all {len(found)} of them."
        rows = [(difference.place, difference) for difference in found]
        return PageTable.of(f"{score.title} minus that of {task.reference}", rows, shown, note)

    def failures(self) -> PageTable | None:
        """Every reason for which something was not observed, with where it was; faults first. None where all is well."""
        reasons: dict[tuple[MethodKey, str, str], dict[str, set[str]]] = {}
        for row in self.results.rows:
            if row["status"] != "ok":
                cells = reasons.setdefault((MethodKey.of_row(row), row["status"], row["message"]), {})
                cells.setdefault(cell_key(row["cell"]), set()).update({row["case"]} - {""})
        if not reasons:
            return None
        order = {method: i for i, method in enumerate(self.results.methods)}
        rows = [
            (*reason, found, sum(map(len, found.values())))
            for reason, found in sorted(reasons.items(), key=lambda r: (_SEVERITY.index(r[0][1]), order[r[0][0]]))
        ]
        shown = [
            self._method(lambda row: self.results.catalogue.display_name(row[0])),
            (Column("Status", filtered=True), lambda row: Entry(row[1])),
            (Column("Reason"), lambda row: Entry(row[2] or NOTHING)),
            (Column("Where"), lambda row: Entry(self._where(row[3]))),
            self._cases(lambda row: Entry(f"{row[4]:,}" if row[4] else NOTHING, row[4])),
        ]
        return PageTable.of("What was not observed, and why", rows, shown)

    def _where(self, cells: Mapping[str, Any]) -> str:
        places = self.results.places
        if len(cells) == len(places):
            return "everywhere"
        return "; ".join(label(self.keys, place) for cell, place in places.items() if cell in cells)

    def paper(self) -> list[PageTable]:
        """What papers print of the same methods and sizes, beside ours, or of other networks."""
        return [*self._beside(), *self._printed()]

    def _beside(self) -> Iterator[PageTable]:
        """Published figures of the same methods at the same sizes; beside each size stands the first cell that has it."""
        figures, results = published(self.results.task.name), self.results
        if figures is None:
            return
        cells = {place["size"]: cell for cell, place in reversed(results.places.items()) if figures.at(place)}
        rows = []
        for cell in (cell for cell in results.places if cell in cells.values()):
            measured = {m.name: s for (c, m), s in results.cells.items() if c == cell}
            place = results.places[cell]
            rows += [(place, name, values, measured.get(name)) for name, values in figures.at(place).items()]
        if not rows:
            return
        scores = [score for score in results.task.scores if any(score.name in values for _, _, values, _ in rows)]

        def our_time(row: Any) -> Entry:
            ours = row[3]
            return _seconds(ours.seconds) if ours and ours.ok else Entry(_status(ours), math.inf)

        shown = [
            self._method(lambda row: str(row[1])),
            *self._places(),
            *(_printed(score) for score in scores),
            _time("the paper's T", lambda row: Interval(*(row[2].get("seconds", math.nan),) * 3), paper=True),
            *(_score(score, lambda row: row[3], "our ") for score in scores),
            (Column("our T", number=True), our_time),
        ]
        yield PageTable.of("The paper's figures beside this run", rows, shown, figures.sentence)

    def _printed(self) -> Iterator[PageTable]:
        """Tables of papers as they print them: networks down."""
        for title, figures in printed_tables(self.results.task.name):
            values = {(figure.row, ", ".join(figure.parts)): figure.value for figure in figures}
            heads = dict.fromkeys(head for _, head in values)
            columns = (Column("Network"), *(Column(head, number=True, paper=True) for head in heads))
            rows = [
                (Entry(row), *(_plain(values.get((row, head), math.nan)) for head in heads))
                for row in dict.fromkeys(row for row, _ in values)
            ]
            yield PageTable(title, columns, tuple(rows))


def _score(score: Score, summary: Callable[[Any], Summary | None], before: str = "") -> Shown:
    def entry(row: Any) -> Entry:
        found = summary(row)
        if found is None:
            return Entry(NOTHING, _last(score))
        value = found.scores[score.name].value if score.name in found.scores else math.nan
        value = value if math.isfinite(value) else found.bounds.get(score.name, math.nan)
        return Entry(score_text(score, found) if found.ok else NOTHING, _known(value, _last(score)))

    return _score_column(score, before), entry


def _printed(score: Score) -> Shown:
    def entry(row: Any) -> Entry:
        value = row[2].get(score.name, math.nan)
        return Entry(format_score(score, value), _known(value, _last(score)))

    return _score_column(score, "the paper's ", paper=True), entry


def _score_column(score: Score, before: str, *, paper: bool = False) -> Column:
    title = f"{before}{score.title}"
    return Column(title, number=True, best="desc" if score.best == "max" else "asc", paper=paper)


def _time(title: str, interval: Callable[[Any], Interval], *, paper: bool = False) -> Shown:
    return Column(title, number=True, paper=paper), lambda row: _seconds(interval(row))


def _seconds(interval: Interval) -> Entry:
    return Entry(format_seconds(interval.value, interval.margin), _known(interval.value, math.inf))


def _plain(value: float) -> Entry:
    return Entry(format_number(value), _known(value, math.inf))


def _last(score: Score) -> float:
    """What sorts behind every value in the direction of the score."""
    return -math.inf if score.best == "max" else math.inf


def _known(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _counted(summary: Summary) -> Entry:
    told = f"{summary.ok:,}" if summary.cases <= summary.ok else f"{summary.ok:,} of {summary.cases:,}"
    return Entry(told, summary.ok)


def _status(summary: Summary | None) -> str:
    if summary is None:
        return "not run"
    if not summary.ok:
        return failure_text(summary)
    return "ok" if not summary.failure else f"ok, some {summary.failure}"
