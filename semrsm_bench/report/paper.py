"""Figures that papers print, to stand beside ours and never among them. They are data: ``papers.csv``.

Columns: paper, table, row, column, value, note. A row is a network, or our name of a solver. A column joins with slashes what the
figure is of: score, kernel, matching ("identity" is the paper's spatio-semantic), size of the database or S. A line without a
value holds a note on the whole table: its caption, its conditions; or on the whole paper: its reference.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.stats import Interval
from semrsm_bench.report.catalogue import MethodKey

WALD = "Wald et al. 2024"
# Tables of the same methods at the same sizes as ours, and those whose networks and pictures are others.
_BESIDE: Mapping[str, str] = {"matching": "5"}
_APART: Mapping[str, tuple[str, ...]] = {"outputs": ("1", "4"), "retrieval": ("2", "3")}


class Printed(NamedTuple):
    """A figure as printed; ``note`` is what must be known of it, or the paper's own name of the row."""

    paper: str
    table: str
    row: str
    column: str
    value: float
    note: str

    @property
    def parts(self) -> tuple[str, ...]:
        """What the column joins."""
        return tuple(self.column.split("/"))


@cache
def _lines() -> tuple[Printed, ...]:
    text = (files("semrsm_bench.report") / "papers.csv").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    return tuple(Printed(**{**row, "value": float(row["value"] or "nan")}) for row in rows)


def printed(table: str = "", paper: str = "") -> tuple[Printed, ...]:
    """All figures, or those of one table or paper, in the order in which they are printed; KeyError where there are none."""
    figures = [p for p in _lines() if not math.isnan(p.value)]
    found = tuple(p for p in figures if table in ("", p.table) and paper in ("", p.paper))
    if not found:
        raise KeyError(f"no figures of table {table} of {paper or 'any paper'}")
    return found


def note_on(paper: str, table: str = "", column: str = "") -> str:
    """``caption`` or ``conditions`` of a table of a paper; its reference without a table."""
    return next(p.note for p in _lines() if math.isnan(p.value) and p[:4] == (paper, table, "", column))


class Published(NamedTuple):
    """What a paper prints for methods and sizes of ours: by S, by method, as summaries that rest on no case of ours."""

    summaries: Mapping[int, Mapping[MethodKey, Summary]]
    sentence: str

    def at(self, place: Mapping[str, Any]) -> Mapping[MethodKey, Summary]:
        """What is printed for a cell."""
        return self.summaries.get(int(place.get("size") or 0), {})


@cache
def published(task: str) -> Published | None:
    """What stands beside the figures of a task; None where none are of the same methods at the same sizes."""
    if task not in _BESIDE:
        return None
    from semrsm_bench.solvers import get_solver

    table = _BESIDE[task]
    figures: dict[int, dict[str, dict[str, Interval]]] = {}
    for p in printed(table, WALD):
        score, size = p.parts
        figures.setdefault(int(size), {}).setdefault(p.row, {})[score] = Interval(p.value, math.nan, math.nan)
    found: dict[int, dict[MethodKey, Summary]] = {}
    for s, methods in figures.items():
        for name, intervals in methods.items():
            solver = get_solver(name)
            key = MethodKey.of(name, "solver", solver.category, solver.options)
            found.setdefault(s, {})[key] = key.summary({"size": s}, intervals)
    conditions = f"its own figures, copied, not measured here: {note_on(WALD, table, 'conditions')}"
    return Published(
        found, f"The paper's columns are {conditions}; source: {note_on(WALD)}, appendix F.1, Table {table}."
    )


def printed_tables(task: str) -> list[tuple[str, tuple[Printed, ...]]]:
    """Tables of a paper about the same question, on other networks and pictures: a title and the figures."""
    return [
        (f"{WALD}, Table {t}: {note_on(WALD, t, 'caption')} ({note_on(WALD, t, 'conditions')})", printed(t, WALD))
        for t in _APART.get(task, ())
    ]
