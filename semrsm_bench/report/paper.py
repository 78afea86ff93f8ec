"""Published figures beside ours: those of Table 5 by method and S, those of other tables, whose networks are not ours, apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.papers import CAPTIONS, REFERENCES, WALD, Printed, printed
from semrsm_bench.report.places import Place

# Tables of Wald et al. that show what a task measures.
TABLES = {"matching": ("5",), "outputs": ("1", "4"), "retrieval": ("2", "3")}

# Names of scores, and "seconds".
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Published:
    """Figures that a paper prints for methods and sizes of ours.

    Attributes
    ----------
    figures : mapping of S to method to figures
    source : str
    conditions : str
        Under which they were measured.
    """

    figures: Mapping[int, Mapping[str, Figures]]
    source: str
    conditions: str

    def at(self, place: Place) -> Mapping[str, Figures]:
        """What is printed for a cell, by method."""
        return self.figures.get(int(place.get("size") or 0), {})

    def methods(self, places: Iterable[Place]) -> list[MethodKey]:
        """Methods that have a figure for any of these cells."""
        from semrsm_bench.solvers import get_solver

        found = {}
        for name in dict.fromkeys(name for place in places for name in self.at(place)):
            solver = get_solver(name)
            options = tuple((option, str(value)) for option, value in solver.options.items())
            found[name] = MethodKey(name, "solver", solver.category, options)
        return list(found.values())

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
    if published(task) is not None:
        return []
    return [
        (f"{WALD}, Table {name}: {CAPTIONS[WALD, name][0]} ({CAPTIONS[WALD, name][1]})", printed(name, WALD))
        for name in TABLES.get(task, ())
    ]
