"""Rows of a run -> what tables, figures and pages show of each task: its cells, its methods, and a summary where they meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.contest import one_sided, without_ranking
from semrsm_bench.bench.results import load_environment, load_rows
from semrsm_bench.bench.summary import Summary, results_of, shared_time, summarise
from semrsm_bench.core.escape import clean, cleaned
from semrsm_bench.core.registry import UnknownNameError
from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import Interval
from semrsm_bench.core.task import Result, Task
from semrsm_bench.report.catalogue import Catalogue, MethodKey
from semrsm_bench.report.formatting import plurals
from semrsm_bench.report.places import Place, rank

Row = Mapping[str, Any]
Where = Mapping[str, Sequence[str]]


class NothingMeasuredError(ValueError):
    """The run holds no row to report on."""


@dataclass(frozen=True)
class TaskResults:
    """One task of one run: its rows, oldest first, their summaries, the run's environment (may be empty) and folder.

    Cells go by the keys of `cell_key`.
    """

    task: Task
    rows: Sequence[Row]
    summaries: Sequence[Summary]
    environment: Mapping[str, Any]
    folder: Path | None = None

    @property
    def run(self) -> str:
        """Id of the run; "" where the rows name none."""
        return next((str(row["run_id"]) for row in self.rows if row["run_id"]), "")

    @property
    def noun(self) -> str:
        """What one case is called."""
        return self.task.case_unit or "case"

    @property
    def counted(self) -> str:
        """What is counted beside a cell: its cases where they have a name, else its units."""
        return self.task.case_unit or self.task.unit or "case"

    @cached_property
    def resampled(self) -> str:
        """What its intervals resample, in words: ``images``; "" for nothing."""
        task, found = self.task, {s.unit for s in self.summaries if s.units}
        cases = plurals(task.case_unit)
        if len(found) > 1:
            return f"{plurals(task.unit)}, and over {cases} where no {task.unit} is in two of them"
        return cases if found == {task.case_unit} else plurals(task.unit) if task.unit else ""

    @cached_property
    def checks(self) -> dict[str, str]:
        """Its cells that are no contest, with the reason; see `without_ranking`."""
        return without_ranking(self.summaries, self.task)

    @cached_property
    def one_sided(self) -> dict[str, str]:
        """Its cells where one number of each side does well, with which; see `semrsm_bench.bench.contest.one_sided`."""
        return one_sided(self.summaries, self.task)

    @property
    def timed(self) -> str:
        """What a time is of, in words."""
        return self.task.time_per or self.noun

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is known of its methods."""
        return Catalogue(self.environment)

    @cached_property
    def keys(self) -> list[str]:
        """All keys of cells, the task's own first."""
        return list(dict.fromkeys([*self.task.across, *(key for s in self.summaries for key in s.place)]))

    @cached_property
    def places(self) -> dict[str, Place]:
        """What the cases of each cell share, in the order of the table."""
        found = {cell_key(s.place): s.place for s in self.summaries}

        def order(item: tuple[str, Place]) -> tuple[Any, ...]:
            ranks = [rank(item[1].get(key, "")) for key in self.keys]
            return ranks[:1], self.task.cell_order(item[1]), ranks

        return dict(sorted(found.items(), key=order))

    @property
    def leading(self) -> str:
        """The cell that stands for the task, the first of equal ones."""
        return max(self.places, key=self.leads)

    def leads(self, cell: str) -> tuple[bool, int]:
        """Sort key of cells: the one that stands for the task is last."""
        place = self.places[cell]
        return self.task.leading.items() <= place.items(), int(place.get("size") or 0)

    @cached_property
    def cells(self) -> dict[tuple[str, MethodKey], Summary]:
        """The summaries by cell and method."""
        return {(cell_key(s.place), MethodKey.of(s.method, s.kind, s.category, s.options)): s for s in self.summaries}

    @cached_property
    def methods(self) -> list[MethodKey]:
        """The lines of the table, in its order."""
        return self.catalogue.order(method for _, method in self.cells)

    @cached_property
    def observed(self) -> dict[str, list[Row]]:
        """The rows that are ok, by cell, in the order of their cases."""
        found: dict[str, list[Row]] = {cell: [] for cell in self.places}
        for row in sorted((r for r in self.rows if r["status"] == "ok"), key=lambda row: rank(row["case"])):
            found[cell_key(row["cell"])].append(row)
        return found

    @cached_property
    def found(self) -> list[tuple[Row, Result]]:
        """The rows that are ok, as they came, with their arrays."""
        rows = [row for row in self.rows if row["status"] == "ok"]
        return list(zip(rows, results_of(rows, self.folder), strict=True))

    @cached_property
    def shared(self) -> dict[str, Interval]:
        """Median time of the affinity, which solvers share, s, over the cases of each cell where any was timed."""
        observed = self.observed if self.task.kind == "solver" else {}
        found = {cell: shared_time(rows, self.task) for cell, rows in observed.items()}
        return {cell: time for cell, time in found.items() if not math.isnan(time.value)}

    @cached_property
    def most_cases(self) -> dict[str, int]:
        """How many cases of a cell any method rests on, at most: others had too few for their budget, or failed."""
        return {cell: max((s.ok for (c, _), s in self.cells.items() if c == cell), default=0) for cell in self.places}

    @cached_property
    def most_units(self) -> dict[str, int]:
        """How many there are of what is `counted` in those cases; the number of cases where they name none."""
        found = {}
        for cell, rows in self.observed.items():
            units: dict[MethodKey, set[str]] = {}
            for row in rows:
                units.setdefault(MethodKey.of_row(row), set()).update(row["units"].get(self.counted, ()))
            found[cell] = max(map(len, units.values()), default=0) or self.most_cases[cell]
        return found

    def case_values(self, score: str) -> dict[tuple[str, MethodKey], NDArray[np.float64]]:
        """One value per case (the median of its repeats), in the order of the cases; unknown ones are left out."""
        found: dict[tuple[str, MethodKey], list[Row]] = {}
        for cell, rows in self.observed.items():
            for row in rows:
                found.setdefault((cell, MethodKey.of_row(row)), []).append(row)
        values = {key: _by_case(rows, lambda row: row["scores"].get(score)) for key, rows in found.items()}
        return {key: sample for key, sample in values.items() if len(sample)}


def _by_case(rows: Iterable[Row], value: Callable[[Row], float | None]) -> NDArray[np.float64]:
    """One value per case: the median over the rows that have one."""
    cases: dict[str, list[float]] = {}
    for row in rows:
        if (found := value(row)) is not None:
            cases.setdefault(str(row["case"]), []).append(found)
    return np.array([np.median(values) for values in cases.values()])


def collect(
    rows: Sequence[Row],
    environment: Mapping[str, Any],
    *,
    tasks: Iterable[str] = (),
    where: Where | None = None,
    folder: Path | None = None,
) -> list[TaskResults]:
    """The results of one run, task by task: of these tasks, default all, as they come.

    ``where`` leaves only cells in which each key has one of its values. `NothingMeasuredError`: no rows are left; ValueError: no
    such task in the run, a task that is not registered here, or the rows of several runs.
    """
    from semrsm_bench.tasks.registry import TASKS

    if not rows:
        raise NothingMeasuredError("nothing was measured: the run has no rows")
    # Texts from outside are cleaned here; the path of a row's arrays stays as it is.
    there, runs = (list(dict.fromkeys(clean(str(row[key])) for row in rows if row[key])) for key in ("task", "run_id"))
    chosen, where, environment = list(dict.fromkeys(tasks)) or there, where or {}, cleaned(environment)
    rows = [{**cleaned(row), "arrays": row["arrays"]} for row in rows if clean(str(row["task"])) in chosen]
    # An exact solver with a wrong answer has a category of its own, for all its rows.
    wrong = {(row["task"], row["method"]) for row in rows if row["status"] == "wrong"}
    rows = [{**row, "category": "wrong"} if (row["task"], row["method"]) in wrong else row for row in rows]
    if len(runs) > 1:
        raise ValueError(
            f"rows of {len(runs)} runs ({', '.join(map(repr, runs[:4]))}) cannot share a cell; figures of several machines "
            "are laid side by side (semrsm-bench merge), never averaged"
        )
    found = []
    for name in chosen:
        if name not in there:
            raise ValueError(f"this run has no task {name!r}; it has {', '.join(there)}")
        try:
            task = TASKS.get(name)
        except UnknownNameError:
            message = f"this run measured the task {name!r}, which is not known here; bring it with --plugin FILE"
            raise ValueError(message) from None
        here = [r for r in rows if r["task"] == name and all(str(r["cell"].get(k, "")) in where[k] for k in where)]
        if here:
            found.append(TaskResults(task, here, summarise(here, task, folder), environment, folder))
    if not found:
        cells = [row["cell"] for row in rows if row["task"] in chosen]
        values = {key: sorted({str(cell[key]) for cell in cells if key in cell}, key=rank) for key in where}
        wanted = " and ".join(f"{key} {' or '.join(wanted)}" for key, wanted in where.items())
        others = "; ".join(f"{key} {', '.join(known)}" if known else f"no {key}" for key, known in values.items())
        raise NothingMeasuredError(f"there are no rows with {wanted}; this run has {others}")
    return found


def read_results(folder: Path, *, tasks: Iterable[str] = (), where: Where | None = None) -> list[TaskResults]:
    """`collect` for a run's folder."""
    return collect(load_rows(folder), load_environment(folder), tasks=tasks, where=where, folder=folder)
