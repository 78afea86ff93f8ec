"""Figures of two runs, asv results or pytest-benchmark files side by side: what changed beyond noise, in both directions."""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from semrsm_bench.bench import results as run_files
from semrsm_bench.bench.results import ENVIRONMENT_FILE, KEPT_FILE, ROWS_FILE, load_environment, load_rows, read_json
from semrsm_bench.bench.summary import results_of, shown_seconds
from semrsm_bench.core.registry import UnknownNameError
from semrsm_bench.core.row import resume_key
from semrsm_bench.core.stats import Interval, exceeds, mean_interval, median_interval
from semrsm_bench.core.task import Score, Task
from semrsm_bench.tasks.registry import get_task

_ASV_TIME, _ASV_GAP = "track_solve_seconds", "track_gap_percent"

Row = Mapping[str, Any]


class CellKey(NamedTuple):
    """A method at one place of a task: S (0 where a task has none), and what else tells the cell from others.

    ``layer``, of matching, is one of a model: only runs know it.
    """

    method: str
    size: int
    place: str
    task: str = "matching"
    layer: str = ""

    @property
    def where(self) -> str:
        """Place and layer in words."""
        return " ".join(
            filter(None, (self.place if self.task == "matching" else f"{self.task}: {self.place}", self.layer))
        )


@dataclass
class Figures:
    """What a file knows about one cell, by pair or case; "" stands for a figure over pairs that the file does not tell apart.

    Samples of the call alone; gaps between the task's first score and its best, such as 1 - c; why a figure is missing. Several
    entries of one case are beside each other.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    gaps: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether there is any figure."""
        return bool(self.seconds or self.gaps)

    def add(self, what: str, unit: str, values: Iterable[Any]) -> None:
        """Enter "seconds" or "gaps" of a case; what is no finite number, and a time that is not positive, is a failure."""
        for value in values:
            if isinstance(value, (int, float)) and math.isfinite(value) and (what == "gaps" or value > 0):
                getattr(self, what).setdefault(unit, []).append(float(value))
            else:
                self.failures.setdefault(unit, f"{what} {'null' if value is None else value}")


@dataclass(frozen=True)
class Measurements:
    """One side of a comparison: its name in words, what identifies machine and data ("" where the file does not say), its figures.

    Notices say what could not be read and which rows do not count. Only files of one source ("run", "asv" or "pytest-benchmark")
    name their cases alike.
    """

    name: str
    machine: str
    data: str
    cells: dict[CellKey, Figures]
    notices: tuple[str, ...] = ()
    source: str = ""

    @property
    def oddities(self) -> list[str]:
        """What the file gives for a figure and is none, such as NaN or a time of 0, by cell; null means that there is none."""
        odd = {
            key: {why for why in figures.failures.values() if re.match(r"(seconds|gaps) (?!null)", why)}
            for key, figures in self.cells.items()
        }
        return [f"{k.method} at S={k.size} ({k.where}): left out, {', '.join(sorted(w))}" for k, w in odd.items() if w]


def read_measurements(source: str | Path, results: Path = Path("results")) -> Measurements:
    """Figures of methods from a run (its folder, ``rows.jsonl``, or id in ``results``, or "latest"), an asv result (a file, a
    folder, or ``FOLDER@COMMIT``), or a file that pytest-benchmark wrote.
    """
    path = Path(source)
    if path.is_file() and path.name not in (ROWS_FILE, KEPT_FILE):
        return _read_other(path)
    for place in (results / source, path):
        run = place.parent if place.is_file() else place
        if run_files.rows_file(run):
            return _read_run(run)
    above, _, commit = str(source).rpartition("@")
    if path.is_dir() or (above and Path(above).is_dir()):
        return _read_other(_asv_file(path, "") if path.is_dir() else _asv_file(Path(above), commit))
    try:
        return _read_run(run_files.find_run(results, source))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{source}: there is no such file or folder, and {error}") from None


def _read_other(path: Path) -> Measurements:
    """What another program wrote, with one kind of error for all that may be laid out otherwise in it."""
    content = read_json(path)
    try:
        if "benchmarks" in content and "machine_info" in content:
            return _read_pytest(path, content)
        if "result_columns" in content:
            return _read_asv(path, content)
    except (TypeError, KeyError, AttributeError, IndexError, SyntaxError) as error:
        raise ValueError(f"{path} is not laid out as expected: {type(error).__name__}: {error}") from None
    raise ValueError(f"{path} is neither a run's {ROWS_FILE}, nor an asv result, nor a file of pytest-benchmark")


def _read_run(folder: Path) -> Measurements:
    rows = load_rows(folder)
    environment = load_environment(folder) if (folder / ENVIRONMENT_FILE).is_file() else {}
    parts: dict[CellKey, list[Row]] = {}
    for row, key in zip(rows, _keys(rows)):
        parts.setdefault(key, []).append(row)
    tasks: dict[str, Task | None] = dict.fromkeys(str(row["task"]) for row in rows)
    notices = []
    for name in tasks:
        try:
            tasks[name] = get_task(name)
        except UnknownNameError:
            notices.append(f"task {name!r} is not known here: only its times are compared")
    every = run_files.read_rows(folder)
    gone = Counter(map(resume_key, every)) - Counter(map(resume_key, rows))
    for row in rows:  # a run that measured again while it lasted, where the machine was off its level, did so by itself
        if row["replaces"]:
            gone.pop(resume_key(row), None)
    names = sorted({f"{row['method']} on {row['case'] or row['task']}" for row in every if resume_key(row) in gone})
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        notices.append(f"{gone.total()} rows were replaced by later ones: {', '.join(names[:3])}{more}")
    return Measurements(
        f"run {folder.name}",
        _machine(environment.get("cpu") or {}),
        ",".join(sorted({str(row["data_sha256"]) for row in rows if row["data_sha256"]})),
        {key: _figures(part, tasks[key.task], folder) for key, part in parts.items()},
        tuple(notices),
        "run",
    )


def _machine(cpu: Mapping[str, Any]) -> str:
    """The processor and how many of its cores there are."""
    return ", ".join(filter(None, (str(cpu.get("model") or ""), f"{n} cores" if (n := cpu.get("logical")) else "")))


def _keys(rows: Sequence[Row]) -> list[CellKey]:
    """The cell of each row. Options are named only where cells would be the same without."""
    options: dict[Any, set[str]] = {}
    texts = [json.dumps(row["options"], sort_keys=True) for row in rows]
    for row, text in zip(rows, texts):
        options.setdefault((row["task"], row["method"]), set()).add(text)
    keys = []
    for row, text in zip(rows, texts):
        cell, layer = row["cell"], ""
        if row["task"] == "matching":
            words, layer = [str(cell.get("centring", ""))], f"{cell.get('model', '')}/{cell.get('layer', '')}"
        else:
            words = [str(value) for key, value in cell.items() if key not in ("size", "channels")]
        words += [text] if len(options[row["task"], row["method"]]) > 1 else []
        keys.append(CellKey(str(row["method"]), int(cell.get("size") or 0), " ".join(words), str(row["task"]), layer))
    return keys


def _figures(rows: Sequence[Row], task: Task | None, folder: Path) -> Figures:
    figures = Figures()
    for row in rows:
        unit = str((row["units"].get("pair") or [row["case"]])[0])
        if row["status"] != "ok":
            figures.failures.setdefault(unit, f"{row['status']}: {row['message']}")
            continue
        figures.add("seconds", unit, [shown_seconds(row, task)])
        if task is not None and (score := task.scores[0]).name in row["scores"]:
            figures.add("gaps", unit, [_gap(score, row["scores"][score.name])])
    if task is not None and figures.seconds and not any(task.scores[0].name in row["scores"] for row in rows):
        # A score over many rows, as it is, and no draws of units.
        results = results_of(rows, folder)
        units = list(dict.fromkeys(unit for r in results for unit in r.units.get(task.unit, ())))
        values = task.aggregate(results, np.ones((1, len(units))), units).get(task.scores[0].name)
        if values is not None:
            figures.add("gaps", "", [_gap(task.scores[0], float(values[0]))])
    return figures


def _gap(score: Score, value: float | None) -> float | None:
    if value is None:
        return None
    best = score.high if score.best == "max" else score.low
    return abs(best - value) if math.isfinite(best) else -value if score.best == "max" else value


def _read_pytest(path: Path, content: Mapping[str, Any]) -> Measurements:
    cells: dict[CellKey, Figures] = {}
    data: set[str] = set()
    for entry in content["benchmarks"]:
        extra = entry.get("extra_info") or {}
        if not {"solver", "size", "centring"} <= extra.keys():
            continue
        key = CellKey(str(extra["solver"]), int(extra["size"]), str(extra["centring"]))
        figures, pair = cells.setdefault(key, Figures()), str(extra.get("pair", ""))
        stats = entry.get("stats") or {}
        figures.add("seconds", pair, stats.get("data") or [stats.get("median")])
        for unit, gap in (extra.get("gap_of_pair") or {pair: extra.get("gap")}).items():
            figures.add("gaps", str(unit), [gap])
        data |= {str(extra["data_sha256"])} if extra.get("data_sha256") else set()
    if not cells:
        raise ValueError(f"{path}: no benchmark in it says solver, size and centring in extra_info")
    cpu = ((content.get("machine_info") or {}).get("cpu") or {}).get("brand_raw", "")
    name = f"pytest-benchmark {path.name}"
    return Measurements(name, str(cpu), ",".join(sorted(data)), cells, (), "pytest-benchmark")


def _asv_file(folder: Path, commit: str) -> Path:
    """The newest result of a commit; "": of any."""
    machines = [file.parent for file in folder.rglob("machine.json")]
    files = [file for machine in machines for file in machine.glob("*.json") if file.name != "machine.json"]
    read = {file: read_json(file) for file in files if file.name.startswith(commit[:8])}
    found = [file for file, content in read.items() if str(content.get("commit_hash", "")).startswith(commit)]
    if not found:
        there = ", ".join(sorted({p.name.split("-")[0] for p in files})) or "none"
        raise FileNotFoundError(f"{folder} holds no run and no asv result {commit or 'at all'}; there are {there}")
    return max(found, key=lambda p: int(read[p].get("date", 0)))


def _read_asv(path: Path, content: Mapping[str, Any]) -> Measurements:
    cells: dict[CellKey, Figures] = {}
    for name, values in content["results"].items():
        benchmark = name.rsplit(".", 1)[-1]
        if benchmark not in (_ASV_TIME, _ASV_GAP) or not isinstance(values, list):
            continue
        record = dict(zip(content["result_columns"], values))
        axes = [[ast.literal_eval(v) for v in axis] for axis in record.get("params") or []]
        for index, cell in enumerate(itertools.product(*axes)) if len(axes) == 3 else ():
            figures = cells.setdefault(CellKey(str(cell[0]), int(cell[1]), str(cell[2])), Figures())
            value = record["result"][index] if record["result"] else None
            if benchmark == _ASV_GAP:
                figures.add("gaps", "", [None if value is None else value / 100])
            else:
                figures.add("seconds", "", [value])
    if not cells:
        raise ValueError(f"{path} holds no {_ASV_TIME}, {_ASV_GAP} over solver, size and centring")
    machine = str((content.get("params") or {}).get("cpu", ""))
    return Measurements(f"asv {str(content.get('commit_hash', path.stem))[:8]}", machine, "", cells, (), "asv")


Metric = Literal["time", "gap"]
Samples = Mapping[str, Sequence[float]]
# A limit that makes a comparison fail: a factor on the time, or a rise of the gap as a fraction.
Rule = tuple[Metric, float]
# Two runs of the same code differ by this much even where each of them is steady: the machine's clock moves between them.
TIME_NOISE = 1.10
GAP_NOISE = 0.0005


@dataclass(frozen=True)
class Change:
    """One metric of one cell on both sides: median seconds and their factor, or mean gaps 1 - c and their difference."""

    cell: CellKey
    metric: Metric
    before: float
    after: float
    change: Interval
    paired: bool  # worked out pair by pair

    @property
    def verdict(self) -> Literal["worse", "better", "same"]:
        """Whether it is beyond noise: the interval excludes no change, and the change is not a trifle."""
        none, up, down = (1.0, TIME_NOISE, 1 / TIME_NOISE) if self.metric == "time" else (0.0, GAP_NOISE, -GAP_NOISE)
        if self.change.low > none and self.change.value > up:
            return "worse"
        return "better" if self.change.high < none and self.change.value < down else "same"


@dataclass(frozen=True)
class RunComparison:
    """Two sides: a change for each cell and metric that both have, and the cells with figures that only one of them knows.

    Cells with figures before that lack some of them now are lost, each with the reason: failed, null, NaN or absent. Notices say
    what limits the comparison.
    """

    before: Measurements
    after: Measurements
    changes: list[Change]
    lost: dict[CellKey, str]
    only_before: list[CellKey]
    only_after: list[CellKey]
    notices: list[str]

    def broken(self, rules: Iterable[Rule]) -> list[Change]:
        """Changes that are worse beyond noise and beyond the limit of a rule."""
        limits = list(rules)
        worse = [change for change in self.changes if change.verdict == "worse"]
        return [c for c in worse if any(c.metric == m and exceeds(c.change.value, limit) for m, limit in limits)]

    def nothing_for(self, rules: Iterable[Rule]) -> list[str]:
        """What no cell has on both sides: "figure", or the metrics of rules that thus judge nothing."""
        there = {change.metric for change in self.changes}
        return [metric for metric in dict(rules) if metric not in there] if there else ["figure"]

    def missing(self, allowed: Container[str] = ()) -> dict[CellKey, str]:
        """What is lost, without the methods that may be missing; "all" allows it for any."""
        return {} if "all" in allowed else {k: why for k, why in self.lost.items() if k.method not in allowed}


def parse_rule(text: str) -> Rule:
    """``gap:0.5%`` (the gap 1 - c may rise by half a percentage point) or ``time:2x`` (a solve may take twice as long)."""
    match = re.fullmatch(r"\s*(gap|time)\s*:\s*(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)\s*([%x]?)\s*", text)
    metric, number, unit = match.groups() if match else ("", "0", "")
    value = float(number) / (100 if unit == "%" else 1)
    if metric == "gap" and unit != "x":
        return "gap", value
    if metric == "time" and (factor := value + (unit == "%")) > 1:
        return "time", factor
    raise ValueError(f"a limit is written gap:0.5% (points that the gap may rise by), time:2x or time:50%: {text!r}")


def compare(before: Measurements, after: Measurements) -> RunComparison:
    """Compare cell by cell; where both sides name the pairs of images, pair by pair."""
    if before.source != after.source:
        before, after = _without_layers(before), _without_layers(after)
    old = {key: figures for key, figures in before.cells.items() if figures.measured}
    changes, lost = [], {}
    for key, figures in old.items():
        new = after.cells.get(key, Figures())
        if why := _lost(figures, new, alike=before.source == after.source):
            lost[key] = why
        if figures.seconds and new.seconds:
            changes.append(_change(key, "time", figures.seconds, new.seconds))
        if figures.gaps and new.gaps:
            changes.append(_change(key, "gap", figures.gaps, new.gaps))
    notices = [f"{side.name}: {text}" for side in (before, after) for text in (*side.notices, *side.oddities)]
    if before.machine and after.machine and before.machine != after.machine:
        notices.append(f"the machines differ ({before.machine}; {after.machine}): compare gaps, not times")
    if before.data and after.data and before.data != after.data:
        notices.append("the two were measured on different data: gaps and times are of different problems")
    if any(not c.paired for c in changes if c.metric == "time"):
        notices.append("some times are not of the same pairs, or of one pair only: their intervals say little")
    notices.append("times of two runs also differ by what else the machine did; `semrsm-bench gate` measures in turns")
    only_before = [key for key in old if key not in after.cells]
    only_after = [key for key, figures in after.cells.items() if figures.measured and key not in before.cells]
    return RunComparison(before, after, changes, lost, only_before, only_after, notices)


def _without_layers(side: Measurements) -> Measurements:
    """The same, cells named as files know them that know no layers; those that would be the same keep theirs."""
    counts = Counter(key._replace(layer="") for key in side.cells)
    names = {key: short if counts[short := key._replace(layer="")] == 1 else key for key in side.cells}
    return replace(side, cells={names[key]: figures for key, figures in side.cells.items()})


def _lost(old: Figures, new: Figures, alike: bool) -> str:
    """Why figures of a cell are missing now; "" where none is. Only files of one kind are held to the same cases."""
    for name, had, has in (("time", old.seconds, new.seconds), ("score", old.gaps, new.gaps)):
        failed = {unit for unit in had if unit in new.failures and unit not in old.failures}
        gone = [unit for unit in had if unit in failed or (unit not in has and (alike or not has))]
        if gone:
            why = [new.failures[unit] for unit in ("", *gone) if unit in new.failures]
            return f"no {name} of {len(gone)} of {len(had)} cases: {[*why, *new.failures.values(), 'absent'][0]}"
    return ""


def _change(key: CellKey, metric: Metric, old: Samples, new: Samples) -> Change:
    """Ratio of median times or difference of mean gaps; pair by pair where that gives an interval."""
    time = (np.median, median_interval, np.log, np.exp)
    gap = (np.mean, mean_interval, np.asarray, np.asarray)
    middle, interval, scale, back = cast("tuple[Callable[..., Any], ...]", time if metric == "time" else gap)
    pairs = [pair for pair in old if pair in new]
    paired = len(pairs) >= (2 if metric == "time" else 1)
    if paired:
        before, after = ([float(middle(side[p])) for p in pairs] for side in (old, new))
        change = interval(scale(after) - scale(before))
        values = float(middle(before)), float(middle(after))
    else:
        a, b = (interval([v for p in (pairs or side) for v in side[p]]) for side in (old, new))
        change = Interval(*(scale(y) - scale(x) for y, x in ((b.value, a.value), (b.low, a.high), (b.high, a.low))))
        values = a.value, b.value
    return Change(key, metric, *values, Interval(*(float(back(v)) for v in change)), paired)
