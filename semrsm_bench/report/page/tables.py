"""The tables of the page, to sort and filter: a line for each method in each cell, difference, failure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from semrsm_bench.bench.profiles import LEVELS
from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.row import METHOD_FAULTS, cell_key
from semrsm_bench.core.stats import UNKNOWN, Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import AFFINITY, NOUNS, MethodKey
from semrsm_bench.report.formatting import NOTHING, complexity_text, format_p, format_score, plurals
from semrsm_bench.report.layout import BEYOND, COMPLEXITY, Layout, time_text
from semrsm_bench.report.notes import failure_text, score_text
from semrsm_bench.report.places import Place, axes, label
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.statistics import STANDING_HEADS, exponent_text, standing_texts, statistics_note, statistics_of

_SEVERITY = (*METHOD_FAULTS, "timeout", "memory", "skipped")


class Entry(NamedTuple):
    """What a cell shows. One with a number is to the right, and sorts by it; ``best`` is where a first click puts the best."""

    text: str
    number: float | None = None
    best: str = "asc"

    @property
    def order(self) -> str:
        """The number as JavaScript reads it; one that is unknown sorts last."""
        known = self.number is not None and math.isfinite(self.number)
        return str(self.number) if known else "-Infinity" if self.best == "desc" else "Infinity"


# Explanations by heading.
PageRow = Mapping[str, Entry]


@dataclass(frozen=True)
class PageTable:
    """Rows with the same headings, those of ``filtered`` with a choice of their values."""

    caption: str
    rows: Sequence[PageRow]
    note: str = ""
    filtered: Sequence[str] = ()


@dataclass(frozen=True)
class PageTables:
    """The tables of one task."""

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

    def _head(self, method: str, place: Place | None = None) -> dict[str, Entry]:
        """The columns that say which method it is, and in which cell."""
        row = {NOUNS.get(self.results.task.kind, "Method"): Entry(method)}
        for key in self.keys if place is not None else ():
            title = {"size": "S", "model": "Network"}.get(key, key.replace("_", " ").capitalize())
            value = (place or {}).get(key, NOTHING)
            row[title] = Entry(f"{value:,}", value) if key == "size" else Entry(str(value))
        return row

    def _cases(self, text: str, count: float) -> dict[str, Entry]:
        return {plurals(self.results.noun).capitalize(): Entry(text, count, "desc")}

    def _table(self, caption: str, rows: Sequence[PageRow], note: str = "") -> PageTable:
        where = list(self._head("", next(iter(self.results.places.values()))))[1:]
        return PageTable(caption, rows, note, ("Kind", "Status", *where))

    def methods(self) -> PageTable:
        """Every method in every cell, with the figures that the verb ``table`` prints."""
        results, catalogue = self.results, self.results.catalogue
        scores, timed = self.layout.scores(), bool(self.layout.time_title)
        several = len({m.category for m in results.methods}) > 1
        jackknifed = any(s.jackknife for s in results.summaries)
        rows = []
        for cell, place in results.places.items():
            for method in (*results.methods, AFFINITY):
                summary, time = results.cells.get((cell, method)), results.shared.get(cell)
                if summary is None and not (method == AFFINITY and timed and time):
                    continue
                row = self._head(catalogue.display_name(method), place)
                if several:
                    row["Kind"] = Entry(method.category_title)
                row |= {score.title: _score(score, summary) for score in scores[:1]}
                if self.layout.shows_beyond:
                    row[BEYOND.title] = _shown(BEYOND, self.layout.beyond.get((cell, method), UNKNOWN))
                if jackknifed:
                    found = summary.jackknife.get(scores[0].name, UNKNOWN) if summary else UNKNOWN
                    row["Jackknife"] = _shown(scores[0], found)
                row |= {score.title: _score(score, summary) for score in scores[1:]}
                if timed:
                    row["T"] = _time(summary.seconds if summary else time)
                    if results.shared:
                        row["T + affinity"] = _time(summary.total_seconds if summary else None)
                count, status = (NOTHING, -math.inf), "ok"
                if summary:
                    # Also where some cases failed; or why there is no figure.
                    some = f"ok, some {summary.failure}" if summary.failure else "ok"
                    status = some if summary.ok else failure_text(summary)
                    of = "" if summary.cases <= summary.ok else f" of {summary.cases:,}"
                    count = (f"{summary.ok:,}{of}", summary.ok)
                row |= {**self._cases(*count), "Status": Entry(status)}
                if COMPLEXITY in self.layout.stub:
                    row[COMPLEXITY] = Entry(complexity_text(catalogue.complexity(method)))
                rows.append(row)
        first = next(iter(results.places.values()))
        where = label([key for key in first if key not in self.keys and key != "channels"], first)
        return self._table(f"Every method{f': {where}' if where else ''}", rows)

    def differences(self) -> PageTable | None:
        """Every method against the task's reference; None where there is nothing to compare."""
        score = self.results.task.scores[0]
        names = {(cell, m.name): self.results.catalogue.display_name(m) for cell, m in self.results.cells}
        rows = []
        for d in self.layout.differences:
            value, *ends = (format_score(score, x, signed=True) for x in d.interval)
            row = self._head(names[cell_key(d.place), d.method], d.place)
            row[f"Δ {score.title}"] = Entry(value, d.interval.value, _direction(score))
            rows.append({**row, "95 % interval": Entry(" to ".join(ends)), "p": Entry(format_p(d.p), d.p)})
        caption = f"{score.title} minus that of {self.results.task.reference}"
        return self._table(caption, rows, self.layout.differences_note) if rows else None

    def told_apart(self) -> PageTable | None:
        """Which methods of a cell differ; None where no cell has two to compare."""
        results, score = self.results, self.results.task.scores[0]
        rows = []
        for cell in self.layout.told_apart:
            key = cell_key(cell.place)
            for method, (place, apart, alike) in self.layout.told_apart_lines(cell).items():
                row = self._head(results.catalogue.display_name(method), cell.place)
                row["Place"] = Entry(str(place), place)
                row[score.title] = _score(score, results.cells[key, method])
                rows.append({**row, "Told apart from": Entry(apart), "Not from places": Entry(alike)})
        titles = "; ".join(map(self.layout.told_apart_title, self.layout.told_apart))
        return self._table("Who is told apart", rows, f"{titles}. {self.layout.told_apart_note}") if rows else None

    def statistics(self) -> PageTable | None:
        """What `semrsm-bench table --statistics` says of solvers at each level; None for other tasks."""
        layout, rows = self.layout, []
        for one in statistics_of(layout):
            for level, method in itertools.product(LEVELS, one.observed):
                found, growth = one.standings[level][method], one.growth[method]
                texts = standing_texts(found)
                numbers = (found.rank.value, found.behind.value, *found.within.values(), found.reached)
                row = self._head(self.results.catalogue.display_name(method))
                row |= {"Cells": Entry(layout.title(one.sheet)), "Level": Entry(level)}
                for head, text, number in zip(STANDING_HEADS, texts, numbers):
                    row[head] = Entry(text, number, "asc" if head in STANDING_HEADS[:2] else "desc")
                rows.append({**row, "p of S^p": Entry(exponent_text(growth), growth.value)})
        note = statistics_note(layout) if rows else ""
        return PageTable("Until a level is reached", rows, note, ("Cells", "Level")) if rows else None

    def failures(self) -> PageTable | None:
        """Every reason for which something was not observed, with where it was; faults first. None where all is well."""
        reasons: dict[tuple[MethodKey, str, str], dict[str, set[str]]] = {}
        for row in self.results.rows:
            if row["status"] != "ok":
                cells = reasons.setdefault((MethodKey.of_row(row), row["status"], row["message"]), {})
                cells.setdefault(cell_key(row["cell"]), set()).update({row["case"]} - {""})
        order, places = self.results.methods, self.results.places
        rows = []
        for reason in sorted(reasons, key=lambda r: (_SEVERITY.index(r[1]), order.index(r[0]))):
            (method, status, message), found = reason, reasons[reason]
            where = "; ".join(label(self.keys, place) for cell, place in places.items() if cell in found)
            count = sum(map(len, found.values()))
            texts = {"Status": status, "Reason": message or NOTHING}
            texts["Where"] = "everywhere" if len(found) == len(places) else where
            rows.append(
                self._head(self.results.catalogue.display_name(method))
                | {title: Entry(text) for title, text in texts.items()}
                | self._cases(f"{count:,}" if count else NOTHING, count)
            )
        return self._table("What was not observed, and why", rows) if rows else None


def _direction(score: Score) -> str:
    return "desc" if score.best == "max" else "asc"


def _score(score: Score, summary: Summary | None) -> Entry:
    if summary is None or not summary.ok:
        return Entry(NOTHING, math.nan, _direction(score))
    value = summary.scores.get(score.name, UNKNOWN).value
    value = value if math.isfinite(value) else summary.bounds.get(score.name, math.nan)
    return Entry(score_text(score, summary), value, _direction(score))


def _shown(score: Score, interval: Interval) -> Entry:
    return Entry(format_score(score, *interval), interval.value, _direction(score))


def _time(interval: Interval | None) -> Entry:
    return Entry(time_text(interval), interval.value) if interval else Entry(NOTHING, math.nan)
