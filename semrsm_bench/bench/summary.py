"""Rows to figures: one summary for each method and cell, with intervals from draws that all methods of a cell share.

Runs of several machines are side by side: a column for each, ratios between them, never an average over them.
"""

from __future__ import annotations

import math
import string
from collections import Counter, UserDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.results import load_environment, load_rows
from semrsm_bench.core import stats
from semrsm_bench.core.row import cell_key, natural
from semrsm_bench.core.stats import UNKNOWN, Floats, Interval, Resampling, interval_of
from semrsm_bench.core.task import Result, Task
from semrsm_bench.tasks.registry import get_task

# A bootstrap over so few units is too narrow; the jackknife is shown beside it.
FEW_UNITS = 30
# So few have less than 40 different draws: not one for each 2.5 %.
TOO_FEW_UNITS = 4

Row = Mapping[str, Any]
Legend = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Summary:
    """One method in one cell. Scores are by the name of the task's `Score`, numbers that are unknown NaN."""

    task: str
    method: str
    kind: str
    category: str
    options: Mapping[str, Any]  # bound to the method's name
    place: Mapping[str, Any]  # what the cell's cases share
    # Cases that were tried, and those that were observed; 0 cases where a single row speaks for the whole cell.
    cases: int = 0
    ok: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)  # rows by status
    message: str = ""  # message of the commonest failure
    units: int = 0  # how many the cell's intervals resample
    unit: str = ""  # and what they are
    scores: Mapping[str, Interval] = field(default_factory=dict)
    jackknife: Mapping[str, Interval] = field(default_factory=dict)  # beside a bootstrap of few units
    bounds: Mapping[str, float] = field(default_factory=dict)  # certified, of scores that are not known themselves
    # With several seeds: what the scores are with each, apart from intervals, which are of the means over seeds.
    seeds: Mapping[str, Floats] = field(default_factory=dict)
    worst: Mapping[str, float] = field(default_factory=dict)  # worst of the cases, in the direction of the score
    undefined: Mapping[str, int] = field(default_factory=dict)  # observed cases in which a score has no value
    chance: float = math.nan  # the first score of a method that knows nothing
    # Medians over cases: the call (a pair of it, see `Task.time_per`), with what it shares with other methods, and that alone.
    seconds: Interval = UNKNOWN
    total_seconds: Interval = UNKNOWN
    shared_seconds: float = math.nan
    peak_bytes: float = math.nan
    program_seconds: float = math.nan  # what a program says of its own time; not checked
    replicates: Mapping[str, Floats] = field(default_factory=dict, repr=False)  # (1 + B,): the scores in every draw

    @property
    def failure(self) -> str:
        """The commonest status besides ok, "" where there is none; a skip counts only where nothing else failed."""
        bad = {status: n for status, n in self.counts.items() if status != "ok"}
        return max(bad, key=lambda s: (s != "skipped", bad[s])) if bad else ""

    @property
    def status(self) -> str:
        """``ok`` where anything was observed, else the failure."""
        return "ok" if self.ok else self.failure or "not run"


class KeptArrays(UserDict[str, NDArray[Any]]):
    """Arrays beside a row, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def data(self) -> dict[str, NDArray[Any]]:  # type: ignore[override]
        """All of them."""
        try:
            with np.load(self._path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        except (FileNotFoundError, ValueError, EOFError, BadZipFile) as error:
            what = "gone" if isinstance(error, FileNotFoundError) else "damaged"
            raise ValueError(f"{self._path}: the arrays of a row are {what}; run the task again") from None


def results_of(rows: Sequence[Row], folder: Path | None = None) -> list[Result]:
    """Rows that are ok, as `Task.aggregate` takes them; ``folder`` is the run's, where arrays are."""
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


def shown_seconds(row: Row, task: Task | None, name: str = "seconds") -> float | None:
    """A time of a row as it is shown: of the call, or of one of the pairs that a call does; None where the row does not say."""
    seconds: float | None = row[name]
    if seconds is None or task is None or not task.time_per:
        return seconds
    pairs: int | None = row["raw"].get("pairs")
    return seconds / pairs if pairs else None


def summarise(rows: Sequence[Row], task: Task, folder: Path | None = None) -> list[Summary]:
    """One summary for each method and cell of a task, cell by cell in the task's order, methods as they came.

    Rows of other tasks are left out; ``folder`` is the run's.
    """
    order: dict[str, int] = {}
    cells: dict[str, list[Row]] = {}
    for row in rows:
        order.setdefault(row["method"], len(order))
        if row["task"] == task.name:
            cells.setdefault(cell_key(row["cell"]), []).append(row)
    found: list[Summary] = []
    for cell in sorted(cells.values(), key=lambda part: task.cell_order(part[0]["cell"])):
        cell, units, unit = resampled(cell, task)
        few = task.resampling == "jackknife" or 1 < len(units) <= FEW_UNITS
        draws = stats.bootstrap_draws(len(units)), stats.jackknife_draws(len(units)) if few else None
        methods: dict[tuple[str, str], list[Row]] = {}
        for row in cell:
            methods.setdefault((row["method"], str(sorted(row["options"].items()))), []).append(row)
        parts = sorted(methods.values(), key=lambda part: order[part[0]["method"]])
        # Most methods have the same cases.
        weigh = cache(partial(stats.row_weights, draws=draws[0], units=units))
        found += [replace(_summary(task, part, *draws, weigh, units, folder), unit=unit) for part in parts]
    return found


def resampled(rows: Sequence[Row], task: Task) -> tuple[list[Row], list[str], str]:
    """The rows in the order of their cases, each with only the units that its intervals resample; those units, and their kind.

    They are the task's, or the cases themselves where no two of other units share one (`Task.case_unit`).
    """
    # The draws go by position: rows in another order, as resumed runs have them, must give the same interval.
    rows = sorted(rows, key=lambda row: (natural(row["case"]), row["repeat"]))
    # A pair of one image, with itself, counts as often as the image; the same pair in several cells is one.
    ids = [{name: tuple(dict.fromkeys(found)) for name, found in row["units"].items()} for row in rows]
    once = {(each.get(task.case_unit), each.get(task.unit, ())) for each in ids}
    counts = Counter(unit for _, units in once for unit in units)
    kind = task.case_unit if task.case_unit and max(counts.values(), default=0) < 2 else task.unit
    found: list[Row] = [{**row, "units": {task.unit: each.get(kind, ())}} for row, each in zip(rows, ids)]
    return found, list(dict.fromkeys(unit for row in found for unit in row["units"][task.unit])), kind


def shared_time(rows: Sequence[Row], task: Task) -> Interval:
    """Median over cases of the time of what methods share, s, from rows of one cell; `UNKNOWN` where none was timed."""
    rows, units, _ = resampled([row for row in rows if row["shared_seconds"] is not None], task)
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    weights = stats.row_weights(
        [part[0]["units"][task.unit] for part in cases.values()], stats.bootstrap_draws(len(units)), units
    )
    return _median_interval(
        np.array([_median(row["shared_seconds"] for row in part) for part in cases.values()]), weights
    )


def _summary(
    task: Task,
    rows: Sequence[Row],
    drawn: Floats,
    left_out: Floats | None,
    weigh: Callable[[tuple[tuple[str, ...], ...]], Floats],
    units: Sequence[str],
    folder: Path | None,
) -> Summary:
    """Of a method in a cell, with the draws of a bootstrap and, where units are few, of a jackknife.

    ``weigh`` gives the weights in the bootstrap of cases with these units.
    """
    cases: dict[str, list[Row]] = {}
    for row in (row for row in rows if row["status"] == "ok"):
        cases.setdefault(str(row["case"]), []).append(row)
    # Each repeat is a measurement of all cases: scores are means over repeats, the rest are medians.
    by_repeat: dict[int, list[Row]] = {}
    for row in (row for part in cases.values() for row in part):
        by_repeat.setdefault(row["repeat"], []).append(row)
    repeats = [results_of(part, folder) for part in by_repeat.values()]
    results = [result for repeat in repeats for result in repeat]
    seconds, shared = (
        np.array([_median(shown_seconds(row, task, name) for row in part) for part in cases.values()], dtype=np.float64)
        for name in ("seconds", "shared_seconds")
    )
    peaks, said = (
        np.array([_median(row[name] for row in part) for part in cases.values()], dtype=np.float64)
        for name in ("peak_bytes", "program_seconds")
    )
    if task.kind != "solver":  # what one of them prepares serves no other: it is part of its time
        seconds, shared = seconds + np.nan_to_num(shared), np.full(len(shared), math.nan)
    bad = [row for row in rows if row["status"] != "ok"]
    faults = Counter(row["status"] for row in bad if row["status"] != "skipped")
    commonest = faults.most_common(1)[0][0] if faults else "skipped"
    values = {s.name: [v for r in results if (v := r.scores.get(s.name)) is not None] for s in task.scores}
    jackknife = _replicates(task, repeats, left_out, units) if left_out is not None else {}
    is_bootstrap = task.resampling == "bootstrap"
    replicates = _replicates(task, repeats, drawn, units) if is_bootstrap else jackknife
    by_seed: dict[int, list[list[Result]]] = {}
    for part, repeat in zip(by_repeat.values(), repeats):
        by_seed.setdefault(part[0]["seed"], []).append(repeat)
    of_seeds = [_replicates(task, part, drawn[:1], units) for part in by_seed.values()] if len(by_seed) > 1 else []
    # Times are medians, for which a jackknife is no interval.
    weights = weigh(tuple(part[0]["units"][task.unit] for part in cases.values()))
    call = _median_interval(seconds, weights)
    first = rows[0]
    return Summary(
        task=task.name,
        method=str(first["method"]),
        kind=str(first["kind"]),
        category=str(first["category"]),
        options=first["options"],
        place=first["cell"],
        cases=len({row["case"] for row in rows if row["case"]}),
        ok=len(cases),
        counts=dict(Counter(str(row["status"]) for row in rows)),
        message=next((str(row["message"]) for row in bad if row["status"] == commonest), ""),
        units=len(units),
        scores={name: _interval(task, name, drawn, task.resampling) for name, drawn in replicates.items()},
        jackknife={
            name: _interval(task, name, drawn, "jackknife") for name, drawn in jackknife.items() if is_bootstrap
        },
        seeds={s.name: np.array([f[s.name][0] for f in of_seeds if s.name in f]) for s in task.scores if of_seeds},
        bounds=task.bounds(results) if results else {},
        worst={s.name: (min if s.best == "max" else max)(known) for s in task.scores if (known := values[s.name])},
        undefined={
            s.name: sum(any(row["scores"].get(s.name, 0.0) is None for row in part) for part in cases.values())
            for s in task.scores
        },
        chance=next((task.by_chance(result.raw) for result in results), math.nan),
        seconds=call,
        total_seconds=call if np.isnan(shared).all() else _median_interval(seconds + np.nan_to_num(shared), weights),
        shared_seconds=_median(shared),
        peak_bytes=_median(peaks),
        program_seconds=_median(said),
        replicates=replicates,
    )


def _replicates(
    task: Task, repeats: Sequence[Sequence[Result]], draws: Floats, units: Sequence[str]
) -> dict[str, Floats]:
    """The scores in every draw, means over the repeats of a measurement."""
    made: dict[str, list[tuple[Floats, int]]] = {}
    for repeat in repeats:
        for name, drawn in task.aggregate(repeat, draws, units).items():
            made.setdefault(name, []).append((drawn, len(repeat)))
    return {name: np.average([d for d, _ in part], axis=0, weights=[n for _, n in part]) for name, part in made.items()}


def _interval(task: Task, name: str, replicates: Floats, how: Resampling) -> Interval:
    ends = next(((s.low, s.high) for s in task.scores if s.name == name), (-math.inf, math.inf))
    return interval_of(replicates, how).within(*ends)


def _median(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _median_interval(values: Floats, weights: Floats) -> Interval:
    known = ~np.isnan(values)
    return interval_of(stats.weighted_median(values[known], weights[:, known])) if known.any() else UNKNOWN


@dataclass(frozen=True)
class MergedLine:
    """One method in one cell (``place``), by the first score of its task, on all machines that have it.

    Of each run, by label: ``cases``, ``status``, ``seconds`` and ``score`` with their ``_low`` and ``_high``; for all but the first
    ``time_ratio``, seconds over those of the first run; with a reference method ``speedup``, how many times faster than it on the
    same machine. Unknown numbers are NaN.
    """

    task: str
    method: str
    place: Mapping[str, Any]
    score: str
    runs: dict[str, dict[str, Any]]


def _label_runs(runs: Sequence[Path]) -> Legend:
    """Labels A, B, ... and what they stand for; ValueError where runs cannot be side by side."""
    if not 2 <= len(runs) <= len(string.ascii_uppercase):
        raise ValueError(f"merge lays 2 to {len(string.ascii_uppercase)} runs side by side, got {len(runs)}")
    if len({run.resolve() for run in runs}) != len(runs):
        raise ValueError("the same run is named twice")
    legend: Legend = {}
    digests: dict[str, tuple[str, str]] = {}
    for label, run in zip(string.ascii_uppercase, runs):
        found = load_environment(run)
        for entry in found.get("data", []):
            sha256, first = digests.setdefault(entry["name"], (entry["sha256"], run.name))
            if sha256 != entry["sha256"]:
                raise ValueError(
                    f"{first} and {run.name} measured different data, both called {entry['name']!r}: "
                    "their figures do not belong side by side"
                )
        legend[label] = {"run_id": found.get("run_id", run.name), "cpu": found.get("cpu", {}).get("model", "unknown")}
        legend[label] |= {name: found.get(name) for name in ("os", "python", "commit", "dirty")}
    return legend


def merge_runs(runs: Sequence[Path], *, relative_to: str | None = None) -> tuple[list[MergedLine], Legend]:
    """Summaries of the runs in these folders beside one another, task by task and cell by cell; and what the labels stand for.

    With ``relative_to`` every method is set in proportion to that one, which compares between machines where seconds do not.
    """
    legend = _label_runs(runs)
    # Task and cell, then method, then label: tasks and cells are in the order in which the runs have them.
    cells: dict[tuple[str, str], dict[str, dict[str, Summary]]] = {}
    for label, run in zip(legend, runs):
        rows = load_rows(run)
        for name in dict.fromkeys(str(row["task"]) for row in rows):
            for summary in summarise(rows, get_task(name), run):
                side = cells.setdefault((name, cell_key(summary.place)), {}).setdefault(summary.method, {})
                if label in side:
                    raise ValueError(
                        f"{run.name} has {summary.method!r} with several sets of options in one cell of {name}; "
                        "make a run for each of them"
                    )
                side[label] = summary
    methods = dict.fromkeys(method for there in cells.values() for method in there)
    if relative_to is not None and relative_to not in methods:
        raise ValueError(f"no run has the method {relative_to!r}; there are {', '.join(methods)}")
    tasks = {name: i for i, name in enumerate(dict.fromkeys(name for name, _ in cells))}
    merged = []
    for (name, _), there in cells.items():
        task = get_task(name)
        for method, sides in there.items():
            place = next(iter(sides.values())).place
            line = MergedLine(name, method, place, task.scores[0].name, {})
            for label, summary in sides.items():
                figures: dict[str, Any] = {"cases": summary.cases, "status": summary.status}
                line.runs[label] = figures
                intervals = {"seconds": summary.seconds, "score": summary.scores.get(line.score, UNKNOWN)}
                for figure, interval in intervals.items():
                    figures |= {figure: interval.value, f"{figure}_low": interval.low, f"{figure}_high": interval.high}
                if label != "A":
                    first = sides["A"].seconds.value if "A" in sides else math.nan
                    figures["time_ratio"] = figures["seconds"] / (first or math.nan)
                if relative_to is not None:
                    other = there.get(relative_to, {}).get(label)
                    figures["speedup"] = (other.seconds.value if other else math.nan) / (figures["seconds"] or math.nan)
            merged.append(((tasks[name], task.cell_order(place)), line))
    return [line for _, line in sorted(merged, key=lambda entry: entry[0])], legend
