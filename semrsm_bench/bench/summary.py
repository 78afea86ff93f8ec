"""Rows to figures: one summary for each method and cell, with intervals from draws that all methods of a cell share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
        self._arrays: dict[str, NDArray[Any]] | None = None

    def _read(self) -> dict[str, NDArray[Any]]:
        if self._arrays is None:
            try:
                with np.load(self._path, allow_pickle=False) as content:
                    self._arrays = {name: content[name] for name in content.files}
            except FileNotFoundError:
                raise FileNotFoundError(f"{self._path}: the arrays of a row are gone; run the task again") from None
        return self._arrays

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def results_of(rows: Sequence[Mapping[str, Any]], folder: Path | None = None) -> list[Result]:
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


def summarise(
    rows: Sequence[Mapping[str, Any]], task: Task, folder: Path | None = None, *, seed: int = 0
) -> list[Summary]:
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
    cells: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["task"] == task.name:
            cells.setdefault(cell_key(row["cell"]), []).append(row)
    found: list[Summary] = []
    for cell in sorted(cells.values(), key=lambda part: task.cell_order(part[0]["cell"])):
        # The draws go by position: rows in another order, as resumed runs have them, must give the same interval.
        cell = sorted(cell, key=lambda row: (_natural(row["case"]), row["repeat"]))
        units = list(dict.fromkeys(unit for row in cell for unit in row["units"].get(task.unit, ())))
        draws = (
            jackknife_draws(len(units)) if task.resampling == "jackknife" else bootstrap_draws(len(units), seed=seed)
        )
        methods: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for row in cell:
            methods.setdefault((row["method"], str(sorted(row["options"].items()))), []).append(row)
        found += [_summary(task, part, draws, units, folder) for part in methods.values()]
    order = {row["method"]: i for i, row in reversed(list(enumerate(rows)))}
    places = {cell_key(s.place): i for i, s in reversed(list(enumerate(found)))}
    return sorted(found, key=lambda s: (places[cell_key(s.place)], order[s.method]))


def _natural(text: str) -> list[Any]:
    """Sort key in which 10 comes after 9."""
    import re

    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def _summary(
    task: Task, rows: Sequence[Mapping[str, Any]], draws: Floats, units: Sequence[str], folder: Path | None
) -> Summary:
    good = _once_a_case([row for row in rows if row["status"] == "ok"])
    counts = Counter(str(row["status"]) for row in rows)
    results = results_of(good, folder)
    replicates = task.aggregate(results, draws, units) if results else {}
    scores = {name: interval_of(values, task.resampling) for name, values in replicates.items()}
    weights = row_weights([r.units.get(task.unit, ()) for r in results], draws, units)
    bad = [row for row in rows if row["status"] != "ok"]
    faults = [row for row in bad if row["status"] != "skipped"]
    worst_status = Counter(r["status"] for r in faults).most_common(1)[0][0] if faults else "skipped"
    told = [r["message"] for r in bad if r["status"] == worst_status or (good and not faults)]
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
        counts=dict(counts),
        message=str(told[0]) if told else "",
        scores=scores,
        bounds=task.bounds(results) if results else {},
        worst=_worst(task, results),
        undefined={s.name: sum(r.scores.get(s.name, 0.0) is None for r in results) for s in task.scores},
        seconds=_median(good, weights, lambda row: row["seconds"]),
        total_seconds=_median(
            good,
            weights,
            lambda row: None if row["seconds"] is None else row["seconds"] + (row["shared_seconds"] or 0.0),
        ),
        shared_seconds=_plain_median([row["shared_seconds"] for row in good]),
        peak_bytes=_plain_median([row["peak_bytes"] for row in good]),
        replicates=replicates,
    )


def _once_a_case(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Repeats of a case as one row: its scores are the first one's, its times the medians."""
    cases: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        cases.setdefault(str(row["case"]), []).append(row)
    timed = ("seconds", "shared_seconds", "peak_bytes")
    return [
        part[0]
        if len(part) == 1
        else {**part[0], **{name: _none(_plain_median([r[name] for r in part])) for name in timed}}
        for part in cases.values()
    ]


def _none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _median(rows: Sequence[Mapping[str, Any]], weights: Floats, value: Any) -> Interval:
    values = [value(row) for row in rows]
    known = [i for i, v in enumerate(values) if v is not None]
    if not known:
        return UNKNOWN
    sample = np.array([values[i] for i in known], dtype=np.float64)
    return interval_of(weighted_median(sample, weights[:, known]))


def _plain_median(values: Sequence[Any]) -> float:
    known = [float(v) for v in values if v is not None]
    return float(np.median(known)) if known else math.nan


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
