"""Figures that papers print, to stand beside ours and never among them. They are data: ``papers.csv``.

Columns: paper, table, row, column, value, note. A row is a network, or our name of a solver. A column joins with slashes what the
figure is of: score, kernel, matching ("identity" is the paper's spatio-semantic), size of the database or S.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.places import Place

WALD = "Wald et al. 2024"
REFERENCES = MappingProxyType(
    {
        WALD: (
            "T. Wald, C. Ulrich, G. Köhler, D. Zimmerer, S. Denner, M. Baumgartner, F. Isensee, P. Jaini, K. H. Maier-Hein: "
            "Decoupling Semantic Similarity from Spatial Alignment for Neural Networks (NeurIPS 2024)"
        )
    }
)
_CLASSIFIERS = "classifiers of ImageNet-1k from Huggingface, last hidden layer"
# What a table shows, and under which conditions.
CAPTIONS: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {
        (WALD, "1"): ("Pearson correlation of similarity with divergence", f"{_CLASSIFIERS}; 2,000 images"),
        (WALD, "2"): ("F1@1 on EgoObjects", "2,000 queries; semantic by Batch-Optimal"),
        (WALD, "3"): ("IoU@1 on Cityscapes", "500 queries, database of 2,975; semantic by Batch-Optimal"),
        (WALD, "4"): ("correlation of similarity with divergence", f"{_CLASSIFIERS}; 20,000 samples by its caption"),
        (WALD, "5"): (
            "quality and time of matchings",
            "mean (not median) time per pair on one core of an unnamed CPU, ResNet-101 on Tiny-ImageNet, affinity computed "
            "beforehand, 1,000 pairs by its caption (10,000 by its text), centring not stated",
        ),
    }
)
# Tables whose networks and pictures are not ours, by task; those of Table 5 stand beside ours, method by method.
_APART = {"outputs": ("1", "4"), "retrieval": ("2", "3")}

# Names of scores, and "seconds".
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Printed:
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
def printed(table: str = "", paper: str = "") -> tuple[Printed, ...]:
    """All figures, or those of one table or paper, in the order in which they are printed; KeyError where there are none."""
    text = (files("semrsm_bench.report") / "papers.csv").read_text(encoding="utf-8")
    rows = [Printed(**{**row, "value": float(row["value"])}) for row in csv.DictReader(text.splitlines())]  # type: ignore[arg-type]
    found = tuple(p for p in rows if table in ("", p.table) and paper in ("", p.paper))
    if not found:
        raise KeyError(f"no figures of table {table} of {paper or 'any paper'}")
    return found


@dataclass(frozen=True)
class Published:
    """Figures that a paper prints for methods and sizes of ours: by S, by method; with their source and conditions."""

    figures: Mapping[int, Mapping[str, Figures]]
    source: str
    conditions: str

    def at(self, place: Place) -> Mapping[str, Figures]:
        """What is printed for a cell, by method."""
        return self.figures.get(int(place.get("size") or 0), {})

    def methods(self, places: Iterable[Place]) -> list[MethodKey]:
        """Methods that have a figure for any of these cells."""
        from semrsm_bench.solvers import get_solver

        solvers = [get_solver(name) for name in dict.fromkeys(name for place in places for name in self.at(place))]
        return [MethodKey.of(s.name, "solver", s.category, s.options) for s in solvers]

    @property
    def sentence(self) -> str:
        """For the foot of a table."""
        return f"The paper's columns are {self.conditions}; source: {self.source}."


@cache
def published(task: str) -> Published | None:
    """Figures that stand beside those of a task; None where none are of the same methods at the same sizes."""
    if task != "matching":
        return None
    figures: dict[int, dict[str, dict[str, float]]] = {}
    for figure in printed("5", WALD):
        score, size = figure.parts
        figures.setdefault(int(size), {}).setdefault(figure.row, {})[score] = figure.value
    conditions = f"its own figures, copied, not measured here: {CAPTIONS[WALD, '5'][1]}"
    return Published(figures, f"{REFERENCES[WALD]}, appendix F.1, Table 5", conditions)


def printed_tables(task: str) -> list[tuple[str, tuple[Printed, ...]]]:
    """Tables of a paper about the same question, on other networks and pictures: a title and the figures."""
    return [
        (f"{WALD}, Table {name}: {CAPTIONS[WALD, name][0]} ({CAPTIONS[WALD, name][1]})", printed(name, WALD))
        for name in _APART.get(task, ())
    ]
