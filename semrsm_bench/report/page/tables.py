"""The tables of the page, to sort and filter: a line for each method in each cell, difference, failure, published figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.row import FAULTS, cell_key
from semrsm_bench.core.stats import Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import NOUNS, MethodKey
from semrsm_bench.report.escape import complexity_text
from semrsm_bench.report.formatting import NOTHING, format_p, format_score, format_seconds, plurals
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.notes import case_noun, failure_text, score_text
from semrsm_bench.report.paper import printed_tables, published
from semrsm_bench.report.places import Place, axes, label
from semrsm_bench.report.results import TaskResults

_SEVERITY = (*FAULTS, "timeout", "memory", "skipped")
_FILTERED = ("Kind", "Status")
_THEIRS = "the paper's "


class Entry(NamedTuple):
    """What a cell shows. One with a number stands to the right, and sorts by it; ``best`` is where a first click puts the best."""

    text: str
    number: float | None = None
    best: str = "asc"

    @property
    def order(self) -> str:
        """The number as JavaScript reads it; one that is unknown sorts last."""
        known = self.number is not None and math.isfinite(self.number)
        return str(self.number) if known else "-Infinity" if self.best == "desc" else "Infinity"


# By heading.
PageRow = Mapping[str, Entry]


@dataclass(frozen=True)
class PageTable:
    """Rows with the same headings, those of ``filtered`` with a choice of their values, those of ``shaded`` from a paper."""

    caption: str
    rows: Sequence[PageRow]
    note: str = ""
    filtered: Sequence[str] = ()
    shaded: Sequence[str] = ()


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

    def _place(self, place: Place) -> dict[str, Entry]:
        titles = {"size": "S", "model": "Network"}
        return {
            titles.get(key, key.replace("_", " ").capitalize()): Entry(f"{place[key]:,}", place[key])
            if key == "size"
            else Entry(str(place.get(key, NOTHING)))
            for key in self.keys
        }

    def _method(self, name: str) -> dict[str, Entry]:
        return {NOUNS.get(self.results.task.kind, "Method"): Entry(name)}

    def _cases(self, text: str, count: float) -> dict[str, Entry]:
        return {plurals(case_noun(self.results.task.unit)).capitalize(): Entry(text, count, "desc")}

    def _table(self, caption: str, rows: Sequence[PageRow], note: str = "", shaded: Sequence[str] = ()) -> PageTable:
        return PageTable(
            caption, rows, note, (*_FILTERED, *self._place(next(iter(self.results.places.values())))), shaded
        )

    def methods(self) -> PageTable:
        """Every method in every cell, with the figures that the verb ``table`` prints."""
        results, shared = self.results, MethodKey.shared_by(self.results.task.kind)
        rows = []
        for cell, place in results.places.items():
            rows += [self._row(place, m, results.cells[cell, m]) for m in results.methods if (cell, m) in results.cells]
            if self.layout.is_timed and cell in results.shared:
                row = self._row(place, shared, shared.summary(place, {"seconds": results.shared[cell]}))
                rows.append({**row, **self._cases(NOTHING, -math.inf)})
        first = next(iter(results.places.values()))
        where = label([key for key in first if key not in self.keys and key != "channels"], first)
        return self._table(f"Every method{f': {where}' if where else ''}", rows)

    def _row(self, place: Place, method: MethodKey, summary: Summary) -> dict[str, Entry]:
        results, catalogue = self.results, self.results.catalogue
        row = self._method(catalogue.display_name(method))
        if len({m.category for m in results.methods}) > 1:
            row["Kind"] = Entry(method.category_title)
        row |= self._place(place) | {score.title: _score(score, summary) for score in self.layout.scores()}
        if self.layout.is_timed:
            row["T"] = _time(summary.seconds)
            if results.shared:
                row["T + affinity"] = _time(summary.total_seconds)
        of = "" if summary.cases <= summary.ok else f" of {summary.cases:,}"
        row |= self._cases(f"{summary.ok:,}{of}", summary.ok) | {"Status": Entry(_status(summary))}
        if any(catalogue.complexity(m) for m in results.methods):
            row["Complexity"] = Entry(complexity_text(catalogue.complexity(method)))
        return row

    def differences(self) -> PageTable | None:
        """Every method against the task's reference; None where there is nothing to compare."""
        found, score = self.layout.differences, self.results.task.scores[0]
        if not found:
            return None
        names = {(cell, m.name): self.results.catalogue.display_name(m) for cell, m in self.results.cells}
        rows = []
        for d in found:
            value, *ends = (format_score(score, x, signed=True) for x in d.interval)
            rows.append(
                {
                    **self._method(names[cell_key(d.place), d.method]),
                    **self._place(d.place),
                    f"Δ {score.title}": Entry(value, d.interval.value, _direction(score)),
                    "95 % interval": Entry(" to ".join(ends)),
                    "p": Entry(format_p(d.p), d.p),
                }
            )
        caption = f"{score.title} minus that of {self.results.task.reference}"
        return self._table(caption, rows, self.layout.differences_note)

    def failures(self) -> PageTable | None:
        """Every reason for which something was not observed, with where it was; faults first. None where all is well."""
        reasons: dict[tuple[MethodKey, str, str], dict[str, set[str]]] = {}
        for row in self.results.rows:
            if row["status"] != "ok":
                cells = reasons.setdefault((MethodKey.of_row(row), row["status"], row["message"]), {})
                cells.setdefault(cell_key(row["cell"]), set()).update({row["case"]} - {""})
        if not reasons:
            return None
        order = self.results.methods
        rows = []
        for reason in sorted(reasons, key=lambda r: (_SEVERITY.index(r[1]), order.index(r[0]))):
            method, status, message = reason
            count = sum(map(len, reasons[reason].values()))
            rows.append(
                {
                    **self._method(self.results.catalogue.display_name(method)),
                    "Status": Entry(status),
                    "Reason": Entry(message or NOTHING),
                    "Where": Entry(self._where(reasons[reason])),
                    **self._cases(f"{count:,}" if count else NOTHING, count),
                }
            )
        return self._table("What was not observed, and why", rows)

    def _where(self, cells: Mapping[str, Any]) -> str:
        places = self.results.places
        if len(cells) == len(places):
            return "everywhere"
        return "; ".join(label(self.keys, place) for cell, place in places.items() if cell in cells)

    def paper(self) -> list[PageTable]:
        """What papers print of the same methods and sizes, beside ours, or of other networks."""
        return [*self._beside(), *self._apart()]

    def _beside(self) -> Iterator[PageTable]:
        """Published figures of the same methods at the same sizes; beside each size stands the first cell that has it."""
        figures, results = published(self.results.task.name), self.results
        cells = {p["size"]: cell for cell, p in reversed(results.places.items()) if figures and figures.at(p)}
        rows = []
        for cell in (cell for cell in results.places if cell in cells.values()):
            assert figures is not None
            place, measured = results.places[cell], {m.name: s for (c, m), s in results.cells.items() if c == cell}
            theirs = figures.at(place)
            scores = [score for score in results.task.scores if any(score.name in s.scores for s in theirs.values())]
            for method, printed in theirs.items():
                ours = measured.get(method.name)
                time = _time(ours.seconds) if ours and ours.ok else Entry(_status(ours), math.inf)
                row = {**self._method(method.name), **self._place(place)}
                row |= {f"{_THEIRS}{score.title}": _score(score, printed) for score in scores}
                row |= {f"{_THEIRS}T": _time(printed.seconds)}
                rows.append({**row, **{f"our {s.title}": _score(s, ours) for s in scores}, "our T": time})
        if rows and figures:
            shaded = [title for title in rows[0] if title.startswith(_THEIRS)]
            yield self._table("The paper's figures beside this run", rows, figures.sentence, shaded)

    def _apart(self) -> Iterator[PageTable]:
        """Tables of papers as they print them: networks down."""
        plain = Score("", "")
        for title, figures in printed_tables(self.results.task.name):
            values = {(figure.row, ", ".join(figure.parts)): figure.value for figure in figures}
            heads = list(dict.fromkeys(head for _, head in values))
            rows = [
                {"Network": Entry(name)}
                | {h: Entry(format_score(plain, v := values.get((name, h), math.nan)), v) for h in heads}
                for name in dict.fromkeys(name for name, _ in values)
            ]
            yield PageTable(title, rows, shaded=heads)


def _direction(score: Score) -> str:
    return "desc" if score.best == "max" else "asc"


def _score(score: Score, summary: Summary | None) -> Entry:
    if summary is None or not summary.ok:
        return Entry(NOTHING, math.nan, _direction(score))
    value = summary.scores[score.name].value if score.name in summary.scores else math.nan
    value = value if math.isfinite(value) else summary.bounds.get(score.name, math.nan)
    return Entry(score_text(score, summary), value, _direction(score))


def _time(interval: Interval) -> Entry:
    return Entry(format_seconds(interval.value, interval.margin), interval.value)


def _status(summary: Summary | None) -> str:
    if summary is None or not summary.ok:
        return failure_text(summary)
    return "ok" if not summary.failure else f"ok, some {summary.failure}"
