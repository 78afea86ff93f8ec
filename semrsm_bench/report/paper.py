"""Figures that papers print, shown beside ours and never mixed with them. They are data: ``papers.csv``.

Columns: paper, table, row, column, value, note. A row is a network, or our name of a method. A column joins with slashes what the
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

from semrsm_bench.report.catalogue import MethodKey

WALD, KORNBLITH, RESI = "Wald et al. 2024", "Kornblith et al. 2019", "Klabunde et al. 2025"
# Tables of the same methods at the same sizes as ours, and those whose networks and pictures are others.
_BESIDE: Mapping[str, str] = {"matching": "5"}
_APART: Mapping[str, tuple[tuple[str, str], ...]] = {
    "outputs": ((WALD, "1"), (WALD, "4")),
    "retrieval": ((WALD, "2"), (WALD, "3")),
    "layers": ((KORNBLITH, "2"),),
}
# Figures by method, each by the name of a score, or "seconds".
PrintedFigures = Mapping[MethodKey, Mapping[str, float]]


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


def printed(*place: str) -> tuple[Printed, ...]:
    """All figures, or those of a paper and one of its tables, in the order in which they are printed."""
    return tuple(p for p in _lines() if not math.isnan(p.value) and p[: len(place)] == place)


def note_on(paper: str, table: str = "", column: str = "") -> str:
    """``caption`` or ``conditions`` of a table of a paper; its reference without a table."""
    return next(p.note for p in _lines() if math.isnan(p.value) and p[:4] == (paper, table, "", column))


@cache
def published(task: str) -> Mapping[int, PrintedFigures]:
    """What a paper prints of the methods of a task at the same sizes as ours, by S; empty where it does not."""
    from semrsm_bench.solvers import get_solver

    found: dict[int, dict[MethodKey, dict[str, float]]] = {}
    for p in printed(WALD, _BESIDE[task]) if task in _BESIDE else ():
        (score, size), solver = p.parts, get_solver(p.row)
        key = MethodKey.of(p.row, "solver", solver.category, solver.options)
        found.setdefault(int(size), {}).setdefault(key, {})[score] = p.value
    return found


def published_note(task: str) -> str:
    """Where the figures of `published` come from."""
    conditions = f"its own figures, copied, not measured here: {note_on(WALD, _BESIDE[task], 'conditions')}"
    return f"The paper's columns are {conditions}; source: {note_on(WALD)}, appendix F.1, Table {_BESIDE[task]}."


def printed_tables(task: str) -> list[tuple[str, tuple[Printed, ...]]]:
    """Tables of papers about the same question, on other networks and pictures: a title and the figures."""
    return [
        (f"{paper}, Table {t}: {note_on(paper, t, 'caption')} ({note_on(paper, t, 'conditions')})", printed(paper, t))
        for paper, t in _APART.get(task, ())
    ]
