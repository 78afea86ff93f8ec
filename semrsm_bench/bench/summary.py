"""Rows to figures: one summary for each method and cell, with intervals from draws that all methods of a cell share."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.row import cell_key
from semrsm_bench.core.stats import (
    UNKNOWN,
    Floats,
    Interval,
    bootstrap_draws,
    holm,
    interval_of,
    jackknife_draws,
    row_weights,
    two_sided_p,
    weighted_median,
)
from semrsm_bench.core.task import Result, Task

# A cell is no contest where so many of its methods lie so close to the best; fewer methods say nothing either way.
_MOST, _CLOSE, _FEWEST_IN_A_CONTEST = 0.9, 0.02, 3
# Fields of a row of which repeats have a median.
_REPEATED = ("seconds", "shared_seconds", "peak_bytes")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """One method in one cell.

    Attributes
    ----------
    task, method, kind, category : str
    options, place : mapping
        Bound to the method's name; what the cell's cases share.
    cases, ok : int
        Cases that were tried, and those that were observed; 0 cases where a single row speaks for the whole cell.
    counts : mapping of status to number of rows
    message : str
        Why, in the words of the commonest failure.
    scores : mapping of str to Interval
        By name of the task's `Score`.
    bounds : mapping of str to float
        Certified bounds of scores that are not known themselves.
    worst : mapping of str to float
        Of the cases, in the direction of the score.
    undefined : mapping of str to int
        Observed cases in which a score has no value.
    seconds, total_seconds : Interval
        Medians over cases: the call, and with what it shares with other methods.
    shared_seconds : float
        Median, NaN where nothing is shared.
    peak_bytes : float
    replicates : mapping of str to ndarray, (1 + B,)
        The scores in every draw.
    """

    task: str
    method: str
    kind: str
    category: str
    options: Mapping[str, Any]
    place: Mapping[str, Any]
    cases: int = 0
    ok: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    message: str = ""
    scores: Mapping[str, Interval] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    worst: Mapping[str, float] = field(default_factory=dict)
    undefined: Mapping[str, int] = field(default_factory=dict)
    seconds: Interval = UNKNOWN
    total_seconds: Interval = UNKNOWN
    shared_seconds: float = math.nan
    peak_bytes: float = math.nan
    replicates: Mapping[str, Floats] = field(default_factory=dict, repr=False)

    @property
    def failure(self) -> str:
        """The commonest status besides ok, "" where there is none; a skip counts only where nothing else failed."""
        bad = {status: n for status, n in self.counts.items() if status != "ok"}
        return max(bad, key=lambda s: (s != "skipped", bad[s])) if bad else ""

    @property
    def status(self) -> str:
        """``ok`` where anything was observed, else the failure."""
        return "ok" if self.ok else self.failure or "not run"


class KeptArrays(Mapping[str, NDArray[Any]]):
    """Arrays beside a row, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        try:
            with np.load(self._path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        except FileNotFoundError:
            raise FileNotFoundError(f"{self._path}: the arrays of a row are gone; run the task again") from None

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def results_of(rows: Sequence[Row], folder: Path | None = None) -> list[Result]:
    """Rows that are ok, as `Task.aggregate` takes them; ``folder`` is the run's, where arrays lie."""
    return [
        Result(
            str(row["case"]),
            row["cell"],
            {kind: tuple(ids) for kind, ids in row["units"].items()},
            row["scores"],
            row["raw"],
            KeptArrays(folder / row["arrays"]) if folder is not None and row["arrays"] else {},
        )
        for row in rows
        if row["status"] == "ok"
    ]


def summarise(rows: Sequence[Row], task: Task, folder: Path | None = None, *, seed: int = 0) -> list[Summary]:
    """One summary for each method and cell of a task, cell by cell in the task's order, methods as they came.

    Parameters
    ----------
    rows : sequence of mapping
        From `semrsm_bench.bench.results.load_rows`; those of other tasks are left out.
    task : Task
    folder : Path, optional
        Of the run.
    seed : int
        Of the draws.
    """
    order: dict[str, int] = {}
    cells: dict[str, list[Row]] = {}
    for row in rows:
        order.setdefault(row["method"], len(order))
        if row["task"] == task.name:
            cells.setdefault(cell_key(row["cell"]), []).append(row)
    found: list[Summary] = []
    for cell in sorted(cells.values(), key=lambda part: task.cell_order(part[0]["cell"])):
        # The draws go by position: rows in another order, as resumed runs have them, must give the same interval.
        cell = sorted(cell, key=lambda row: (_natural(row["case"]), row["repeat"]))
        units = list(dict.fromkeys(unit for row in cell for unit in row["units"].get(task.unit, ())))
        jackknife = task.resampling == "jackknife"
        draws = jackknife_draws(len(units)) if jackknife else bootstrap_draws(len(units), seed=seed)
        methods: dict[tuple[str, str], list[Row]] = {}
        for row in cell:
            methods.setdefault((row["method"], str(sorted(row["options"].items()))), []).append(row)
        parts = sorted(methods.values(), key=lambda part: order[part[0]["method"]])
        found += [_summary(task, part, draws, units, folder) for part in parts]
    return found


def _natural(text: str) -> list[Any]:
    """Sort key in which 10 comes after 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def _summary(task: Task, rows: Sequence[Row], draws: Floats, units: Sequence[str], folder: Path | None) -> Summary:
    good = _once_a_case([row for row in rows if row["status"] == "ok"])
    bad = [row for row in rows if row["status"] != "ok"]
    faults = Counter(row["status"] for row in bad if row["status"] != "skipped")
    worst = faults.most_common(1)[0][0] if faults else "skipped"
    results = results_of(good, folder)
    replicates = task.aggregate(results, draws, units) if results else {}
    weights = row_weights([r.units.get(task.unit, ()) for r in results], draws, units)
    seconds, shared, peaks = (_numbers(good, name) for name in _REPEATED)
    first = rows[0]
    return Summary(
        task=task.name,
        method=str(first["method"]),
        kind=str(first["kind"]),
        category=str(first["category"]),
        options=first["options"],
        place=first["cell"],
        cases=len({row["case"] for row in rows if row["case"]}),
        ok=len(good),
        counts=dict(Counter(str(row["status"]) for row in rows)),
        message=next((str(row["message"]) for row in bad if row["status"] == worst or not faults), ""),
        scores={name: interval_of(values, task.resampling) for name, values in replicates.items()},
        bounds=task.bounds(results) if results else {},
        worst=_worst(task, results),
        undefined={s.name: sum(r.scores.get(s.name, 0.0) is None for r in results) for s in task.scores},
        seconds=_median_interval(seconds, weights),
        total_seconds=_median_interval(seconds + np.nan_to_num(shared), weights),
        shared_seconds=_median(shared),
        peak_bytes=_median(peaks),
        replicates=replicates,
    )


def _once_a_case(rows: Sequence[Row]) -> list[Row]:
    """Repeats of a case as one row: its scores are the first one's, its times the medians."""
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(str(row["case"]), []).append(row)
    return [{**part[0], **{name: _median(_numbers(part, name)) for name in _REPEATED}} for part in cases.values()]


def _numbers(rows: Sequence[Row], name: str) -> Floats:
    """A field of rows, NaN where it is unknown."""
    return np.array([math.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else math.nan


def _median_interval(values: Floats, weights: Floats) -> Interval:
    known = ~np.isnan(values)
    return interval_of(weighted_median(values[known], weights[:, known])) if known.any() else UNKNOWN


def _worst(task: Task, results: Sequence[Result]) -> dict[str, float]:
    found = {}
    for score in task.scores:
        values = [v for r in results if (v := r.scores.get(score.name)) is not None]
        if values:
            found[score.name] = min(values) if score.best == "max" else max(values)
    return found


@dataclass(frozen=True)
class Difference:
    """A method's score minus that of another in the same cell, in the same draws.

    Attributes
    ----------
    place : mapping
    score, method, reference : str
    interval : Interval
    p : float
        Two-sided, corrected by Holm's method over all that were made together.
    """

    place: Mapping[str, Any]
    score: str
    method: str
    reference: str
    interval: Interval
    p: float


def differences(summaries: Sequence[Summary], score: str, reference: str, how: Any = "bootstrap") -> list[Difference]:
    """Every method of every cell against a reference method, with paired intervals.

    Parameters
    ----------
    summaries : sequence of Summary
        From `summarise`: cells share their draws.
    score, reference : str
    how : {"bootstrap", "jackknife"}
        How the replicates were made.
    """
    known = {cell_key(s.place): s for s in summaries if s.method == reference and score in s.replicates}
    made = []
    for summary in summaries:
        other = known.get(cell_key(summary.place))
        if other is None or summary.method == reference or score not in summary.replicates:
            continue
        made.append((summary, summary.replicates[score] - other.replicates[score]))
    corrected = holm([two_sided_p(replicates) for _, replicates in made])
    return [
        Difference(s.place, score, s.method, reference, interval_of(replicates, how), p)
        for (s, replicates), p in zip(made, corrected)
    ]


def not_a_contest(summaries: Sequence[Summary], task: Task) -> dict[str, str]:
    """Cells in which the first score hardly tells methods apart, by `cell_key`, each with the reason.

    There the best baseline reaches half of the median method's score, corrected for chance, or 90 % of the methods lie within .02
    of the best. Baselines, and exact solvers, which reach the end of the scale by definition, are no methods in this sense.
    """
    score = task.scores[0]
    end = score.high if score.best == "max" else score.low
    chance = score.chance if score.chance is not None else (score.low if score.best == "max" else score.high)
    if not math.isfinite(end - chance):
        return {}
    cells: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for summary in summaries:
        value = summary.scores.get(score.name, UNKNOWN).value
        if not math.isnan(value):
            kinds = cells.setdefault(cell_key(summary.place), {"baseline": [], "method": []})
            if summary.category != "exact":
                kind = "baseline" if summary.category == "baseline" else "method"
                kinds[kind].append(((value - chance) / (end - chance), summary.method))
    found = {}
    for cell, kinds in cells.items():
        values = [value for value, _ in kinds["method"]]
        if len(values) < _FEWEST_IN_A_CONTEST:
            continue
        share, name = max(kinds["baseline"], default=(-math.inf, ""))
        close = sum(value >= max(values) - _CLOSE for value in values)
        if share >= np.median(values) / 2:
            found[cell] = f"the baseline {name} reaches half of the median method's {score.title}"
        elif close >= _MOST * len(values):
            found[cell] = f"{close} of {len(values)} methods lie within {_CLOSE:g} of the best {score.title}"
    return found
