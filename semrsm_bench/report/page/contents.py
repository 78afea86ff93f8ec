"""What the page says besides its plots: tables with something to sort by, failures with their reasons, published figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.row import FAULTS, cell_key
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import NOUNS, SHARED, MethodKey, shared_name
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
from semrsm_bench.report.places import Place, axes, label
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


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Contents:
    """The tables of one task."""

    results: TaskResults

    @cached_property
    def layout(self) -> Layout:
        """As the verb ``table`` prints it."""
        return Layout(self.results)

    @cached_property
    def scores(self) -> list[Score]:
        """Scores that any cell has."""
        return self.layout.scores()

    @cached_property
    def keys(self) -> list[str]:
        """Keys of cells that have a column of their own; what follows from the layer needs none but S."""
        places = list(self.results.places.values())
        across = self.results.task.across
        ordered = [*across, *dict.fromkeys(k for place in places for k in place if k not in across)]
        return [key for axis in axes(places, ordered) for key in axis if key == axis[0] or key in ("size", "layer")]

    @property
    def shared_place(self) -> str:
        """What all cells share, in words; "" where they share nothing."""
        place = next(iter(self.results.places.values()))
        return label([key for key in place if key not in self.keys and key != "channels"], place)

    def _place_columns(self) -> tuple[Column, ...]:
        titles = {"size": "S", "model": "Network"}
        return tuple(
            Column(titles.get(k, k.replace("_", " ").capitalize()), number=k == "size", filtered=True)
            for k in self.keys
        )

    def _place_entries(self, place: Place) -> tuple[Entry, ...]:
        return tuple(
            Entry(f"{place[key]:,}", place[key]) if key == "size" else Entry(str(place.get(key, NOTHING)))
            for key in self.keys
        )

    @property
    def _noun(self) -> str:
        return NOUNS.get(self.results.task.kind, "Method")

    def table(self) -> PageTable:
        """Every method in every cell in a line of its own, with the figures that the verb ``table`` prints."""
        results, catalogue = self.results, self.results.catalogue
        timed = self.layout.is_timed
        several = len({method.category for method in results.methods}) > 1
        complex_ones = any(catalogue.complexity(method) for method in results.methods)
        times = ("T", *(("T + affinity",) if results.shared else ())) if timed else ()
        columns = (
            Column(self._noun),
            *((Column("Kind", filtered=True),) if several else ()),
            *self._place_columns(),
            *(_score_column(score) for score in self.scores),
            *(Column(title, number=True) for title in times),
            Column(plurals(case_noun(results.task.unit)).capitalize(), number=True, best="desc"),
            Column("Status", filtered=True),
            *((Column("Complexity"),) if complex_ones else ()),
        )
        rows = []
        for cell, place in results.places.items():
            for method in results.methods:
                summary = results.cells.get((cell, method))
                if summary is None:
                    continue
                rows.append(
                    (
                        Entry(catalogue.display_name(method)),
                        *((Entry(method.category_title),) if several else ()),
                        *self._place_entries(place),
                        *self._scores(summary),
                        *(_time(t) for t in (summary.seconds, summary.total_seconds)[: len(times)]),
                        _cases(summary),
                        Entry(_status(summary)),
                        *((Entry(complexity_text(catalogue.complexity(method))),) if complex_ones else ()),
                    )
                )
            shared = results.shared.get(cell)
            if shared and timed:
                kind = results.task.kind
                rows.append(
                    (
                        Entry(shared_name(kind)),
                        *((Entry("Shared input"),) if several else ()),
                        *self._place_entries(place),
                        *(Entry(NOTHING, _last(score)) for score in self.scores),
                        _time(shared),
                        Entry(NOTHING, math.inf),
                        Entry(NOTHING, -math.inf),
                        Entry("ok"),
                        *((Entry(complexity_text(SHARED.get(kind, ("", ""))[1])),) if complex_ones else ()),
                    )
                )
        where = self.shared_place
        return PageTable(f"Every method{f': {where}' if where else ''}", columns, tuple(rows))

    def _scores(self, summary: Summary) -> Iterator[Entry]:
        for score in self.scores:
            found = summary.scores.get(score.name)
            value = found.value if found is not None else math.nan
            value = value if math.isfinite(value) else summary.bounds.get(score.name, math.nan)
            order = value if math.isfinite(value) else _last(score)
            yield Entry(score_text(score, summary) if summary.ok else NOTHING, order)

    def differences(self) -> PageTable | None:
        """Every method against the task's reference; None where there is nothing to compare."""
        found, task = self.layout.differences, self.results.task
        if not found:
            return None
        score = task.scores[0]
        methods = {(cell_key(s.place), s.method): MethodKey.of(s) for s in self.results.summaries}
        columns = (
            Column(self._noun),
            *self._place_columns(),
            Column(f"Δ {score.title}", number=True, best="desc" if score.best == "max" else "asc"),
            Column("95 % interval"),
            Column("p", number=True),
        )
        rows = tuple(
            (
                Entry(self.results.catalogue.display_name(methods[cell_key(d.place), d.method])),
                *self._place_entries(d.place),
                Entry(format_score(score, d.interval.value, signed=True), _known(d.interval.value, _last(score))),
                Entry(" to ".join(format_score(score, end, signed=True) for end in d.interval[1:])),
                Entry(format_p(d.p), _known(d.p, math.inf)),
            )
            for d in found
        )
        note = f"Paired, in the same draws; p: two-sided, corrected by Holm's method for all {len(found)} of them."
        return PageTable(f"{score.title} minus that of {task.reference}", columns, rows, note)

    def failures(self) -> PageTable | None:
        """Every reason for which something was not observed, with where it was; faults first. None where all is well."""
        reasons: dict[tuple[MethodKey, str, str], dict[str, set[str]]] = {}
        methods = {(cell, m.name, str(s.options)): m for (cell, m), s in self.results.cells.items()}
        for row in self.results.rows:
            if row["status"] != "ok":
                cell = cell_key(row["cell"])
                method = methods[cell, str(row["method"]), str(row["options"])]
                cases = reasons.setdefault((method, row["status"], row["message"]), {}).setdefault(cell, set())
                cases |= {row["case"]} - {""}
        if not reasons:
            return None
        columns = (
            Column(self._noun),
            Column("Status", filtered=True),
            Column("Reason"),
            Column("Where"),
            Column(plurals(case_noun(self.results.task.unit)).capitalize(), number=True, best="desc"),
        )
        order = {method: i for i, method in enumerate(self.results.methods)}
        rows = []
        for (method, status, message), found in sorted(
            reasons.items(), key=lambda item: (_SEVERITY.index(item[0][1]), order[item[0][0]])
        ):
            count = sum(map(len, found.values()))
            rows.append(
                (
                    Entry(self.results.catalogue.display_name(method)),
                    Entry(status),
                    Entry(message or NOTHING),
                    Entry(self._where(found)),
                    Entry(f"{count:,}" if count else NOTHING, count),
                )
            )
        return PageTable("What was not observed, and why", columns, tuple(rows))

    def _where(self, cells: Mapping[str, Any]) -> str:
        places = self.results.places
        if len(cells) == len(places):
            return "everywhere"
        return "; ".join(label(self.keys, place) for cell, place in places.items() if cell in cells)

    def paper(self) -> list[PageTable]:
        """What papers print of the same methods and sizes, beside ours, or of other networks."""
        beside = self._beside()
        return [*([beside] if beside else []), *self._printed()]

    def _beside(self) -> PageTable | None:
        """Published figures of the same methods at the same sizes; beside each size stands the first cell that has it."""
        task, figures = self.results.task, published(self.results.task.name)
        if figures is None:
            return None
        places: dict[int, str] = {}
        for cell, place in self.results.places.items():
            if figures.at(place):
                places.setdefault(int(place["size"]), cell)
        if not places:
            return None
        there = {name for cell in places.values() for v in figures.at(self.results.places[cell]).values() for name in v}
        scores = [score for score in task.scores if score.name in there]
        columns = (
            Column(self._noun),
            *self._place_columns(),
            *(_score_column(score, "the paper's ", paper=True) for score in scores),
            Column("the paper's T", number=True, paper=True),
            *(_score_column(score, "our ") for score in scores),
            Column("our T", number=True),
        )
        rows = []
        for cell in places.values():
            place = self.results.places[cell]
            measured = {m.name: s for (c, m), s in self.results.cells.items() if c == cell}
            for name, printed in figures.at(place).items():
                ours = measured.get(name)
                mine = {s.name: e for s, e in zip(self.scores, self._scores(ours))} if ours else {}
                seconds = printed.get("seconds", math.nan)
                rows.append(
                    (
                        Entry(name),
                        *self._place_entries(place),
                        *(_printed_score(score, printed) for score in scores),
                        Entry(format_seconds(seconds), _known(seconds, math.inf)),
                        *(mine.get(score.name, Entry(NOTHING, _last(score))) for score in scores),
                        _time(ours.seconds) if ours and ours.ok else Entry(_status(ours), math.inf),
                    )
                )
        return PageTable("The paper's figures beside this run", columns, tuple(rows), figures.sentence)

    def _printed(self) -> Iterator[PageTable]:
        """Tables of papers as they print them: networks down."""
        for title, figures in printed_tables(self.results.task.name):
            heads = list(dict.fromkeys(", ".join(figure.parts) for figure in figures))
            values = {(figure.row, ", ".join(figure.parts)): figure.value for figure in figures}
            rows = tuple(
                (
                    Entry(row),
                    *(
                        Entry(format_number(v), v)
                        if (v := values.get((row, head))) is not None
                        else Entry(NOTHING, math.inf)
                        for head in heads
                    ),
                )
                for row in dict.fromkeys(figure.row for figure in figures)
            )
            yield PageTable(title, (Column("Network"), *(Column(h, number=True, paper=True) for h in heads)), rows)


def _score_column(score: Score, before: str = "", *, paper: bool = False) -> Column:
    title = f"{before}{score.title}"
    return Column(title, number=True, best="desc" if score.best == "max" else "asc", paper=paper)


def _printed_score(score: Score, printed: Mapping[str, float]) -> Entry:
    value = printed.get(score.name, math.nan)
    return Entry(format_score(score, value), _known(value, _last(score)))


def _last(score: Score) -> float:
    """What sorts behind every value in the direction of the score."""
    return -math.inf if score.best == "max" else math.inf


def _known(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _time(interval: Any) -> Entry:
    return Entry(format_seconds(interval.value, interval.margin), _known(interval.value, math.inf))


def _cases(summary: Summary) -> Entry:
    told = f"{summary.ok:,}" if summary.cases <= summary.ok else f"{summary.ok:,} of {summary.cases:,}"
    return Entry(told, summary.ok)


def _status(summary: Summary | None) -> str:
    if summary is None:
        return "not run"
    if not summary.ok:
        return failure_text(summary)
    return "ok" if not summary.failure else f"ok, some {summary.failure}"
