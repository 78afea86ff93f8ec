"""Figures of methods from three kinds of files: this package's runs, asv's results and pytest-benchmark's JSON."""

from __future__ import annotations

import ast
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.bench.results import (
    LATEST,
    ROWS_FILE,
    find_run,
    list_runs,
    load_environment,
    load_rows,
    read_json,
    read_rows,
)
from semrsm_bench.bench.summary import results_of
from semrsm_bench.core.registry import UnknownNameError
from semrsm_bench.core.row import resume_key
from semrsm_bench.core.task import Score, Task
from semrsm_bench.tasks.registry import get_task

_ASV_TIMES = ("time_solve", "track_solve_seconds")
_ASV_GAP = "track_gap_percent"


class CellKey(NamedTuple):
    """A method at one place of a task.

    Attributes
    ----------
    method : str
    size : int
        S; 0 where a task has none.
    place : str
        What else tells the cell from others: the centring, with the layer where one S stands for several.
    task : str
    """

    method: str
    size: int
    place: str
    task: str = "matching"


@dataclass
class Figures:
    """What a file knows about one cell; several entries of one case stand beside each other.

    Attributes
    ----------
    seconds : dict of pair, or case, to list of float
        Samples of the call alone.
    gaps : dict of pair, or case, to list of float
        How far the task's first score lies from its best, 1 - c; the pair "" stands for a figure over pairs that the file does
        not tell apart.
    failures : dict of pair, or case, to str
        Why a figure is missing: status and message, or that it is null.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    gaps: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether there is any figure."""
        return bool(self.seconds or self.gaps)

    def add(self, what: str, unit: str, values: Iterable[Any]) -> None:
        """Enter "seconds" or "gaps" of a case; what is no finite number is a failure."""
        for value in values:
            if isinstance(value, (int, float)) and math.isfinite(value):
                getattr(self, what).setdefault(unit, []).append(float(value))
            else:
                self.failures.setdefault(unit, f"{what} {'null' if value is None else value}")


@dataclass(frozen=True)
class Measurements:
    """One side of a comparison.

    Attributes
    ----------
    name : str
        Where it comes from, in words.
    machine, data : str
        What identifies them, "" where the file does not say.
    cells : dict of CellKey to Figures
    notices : tuple of str
        What could not be read, and which rows do not count.
    source : str
        "run", "asv" or "pytest-benchmark"; only files of one kind name their cases alike.
    """

    name: str
    machine: str
    data: str
    cells: dict[CellKey, Figures]
    notices: tuple[str, ...] = ()
    source: str = ""


def read_measurements(source: str | Path, results: Path = Path("results")) -> Measurements:
    """Figures of methods, from whichever kind of file they are in.

    Parameters
    ----------
    source : str or path
        A run (folder, ``rows.jsonl``, id, or "latest"), an asv result (file, or ``FOLDER@COMMIT``), or what pytest-benchmark
        wrote with ``--benchmark-json``.
    results : Path
        Folder in which runs are looked up by id.

    Raises
    ------
    FileNotFoundError, ValueError
        There is nothing there, or nothing that can be read.
    """
    path = Path(source)
    if path.is_file():
        return _read_run(path) if path.name == ROWS_FILE else _read_file(path)
    for folder in (results / source, path):
        if (folder / ROWS_FILE).is_file():
            return _read_run(folder)
    if str(source) == LATEST:
        return _read_run(find_run(results))
    if path.is_dir():
        if list(path.rglob("benchmarks.json")) or list(path.rglob("machine.json")):
            return _read_asv(_asv_file(path, ""))
        if runs := list_runs(path):
            return _read_run(runs[-1])
        raise FileNotFoundError(f"{source}: the folder holds neither a run ({ROWS_FILE}) nor results of asv")
    above, _, commit = str(source).rpartition("@")
    if above and Path(above).is_dir():
        return _read_asv(_asv_file(Path(above), commit))
    there = ", ".join(run.name for run in list_runs(results)[-8:]) or "none"
    raise FileNotFoundError(f"{source}: there is no file, folder or run of this name; runs in {results}: {there}")


def _read_file(path: Path) -> Measurements:
    content = read_json(path)
    if "benchmarks" in content and "machine_info" in content:
        return _read_pytest(path, content)
    if "result_columns" in content:
        return _read_asv(path)
    raise ValueError(
        f"{path} is neither a run's {ROWS_FILE}, nor an asv result, nor a file of pytest-benchmark (--benchmark-json)"
    )


def _read_run(path: Path) -> Measurements:
    rows = load_rows(path)
    folder = path.parent if path.is_file() else path
    try:
        environment = load_environment(folder)
    except FileNotFoundError:
        environment = {}
    parts: dict[CellKey, list[Mapping[str, Any]]] = {}
    for row, key in zip(rows, _keys(rows)):
        parts.setdefault(key, []).append(row)
    tasks = {name: _task(name) for name in dict.fromkeys(str(row["task"]) for row in rows)}
    notices = [f"task {n!r} is not known here: only its times are compared" for n, t in tasks.items() if t is None]
    notices += _replaced(read_rows(path), rows)
    return Measurements(
        f"run {folder.name}",
        str((environment.get("cpu") or {}).get("model", "")),
        ",".join(sorted({str(row["data_sha256"]) for row in rows if row["data_sha256"]})),
        {key: _figures(part, tasks[key.task], folder) for key, part in parts.items()},
        tuple(notices),
        "run",
    )


def _replaced(every: Sequence[Mapping[str, Any]], counting: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which rows of a file no longer count."""
    gone = Counter(map(resume_key, every)) - Counter(map(resume_key, counting))
    names = sorted({f"{row['method']} on {row['case'] or row['task']}" for row in every if resume_key(row) in gone})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{gone.total()} rows were replaced by later ones: {', '.join(names[:3])}{more}"] if names else []


def _task(name: str) -> Task | None:
    try:
        return get_task(name)
    except UnknownNameError:
        return None


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[CellKey]:
    """The cell of each row. Layer and options are named only where cells would be the same without."""
    layers: dict[Any, set[Any]] = {}
    options: dict[Any, set[str]] = {}
    places = []
    for row in rows:
        cell, task = row["cell"], str(row["task"])
        place = (task, cell.get("size"), cell.get("centring"))
        layer = f"{cell.get('model', '')}/{cell.get('layer', '')}"
        method = (task, row["method"])
        given = json.dumps(row["options"], sort_keys=True)
        layers.setdefault(place, set()).add(layer)
        options.setdefault(method, set()).add(given)
        places.append((place, layer, method, given))
    keys = []
    for row, (place, layer, method, given) in zip(rows, places):
        cell, matching = row["cell"], row["task"] == "matching"
        # Other files know the task matching too, and name its cells by S and centring.
        words = [str(cell.get("centring", ""))] if matching else []
        words += [layer] if matching and len(layers[place]) > 1 else []
        words += [str(v) for k, v in cell.items() if not matching and k not in ("size", "channels")]
        words += [given] if len(options[method]) > 1 else []
        keys.append(CellKey(str(row["method"]), int(cell.get("size") or 0), " ".join(words), str(row["task"])))
    return keys


def _figures(rows: Sequence[Mapping[str, Any]], task: Task | None, folder: Path) -> Figures:
    figures = Figures()
    score = task.scores[0] if task is not None else None
    for row in rows:
        unit = str((row["units"].get("pair") or [row["case"]])[0])
        if row["status"] != "ok":
            figures.failures.setdefault(unit, f"{row['status']}: {row['message']}")
            continue
        figures.add("seconds", unit, [row["seconds"]])
        if score is not None and score.name in row["scores"]:
            value = row["scores"][score.name]
            figures.add("gaps", unit, [None if value is None else _gap(score, value)])
    if task is not None and score is not None and figures.seconds and not any(score.name in r["scores"] for r in rows):
        # A score over many rows, as it stands, and no draws of units.
        results = results_of(rows, folder)
        units = list(dict.fromkeys(unit for r in results for unit in r.units.get(task.unit, ())))
        values = task.aggregate(results, np.ones((1, len(units))), units).get(score.name)
        if values is not None:
            figures.add("gaps", "", [_gap(score, float(values[0]))])
    return figures


def _gap(score: Score, value: float) -> float:
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
        raise ValueError(
            f"{path}: no benchmark in it says solver, size and centring in extra_info; make it with `make pytest-benchmark`"
        )
    cpu = ((content.get("machine_info") or {}).get("cpu") or {}).get("brand_raw", "")
    name = f"pytest-benchmark {path.name}"
    return Measurements(name, str(cpu), ",".join(sorted(data)), cells, (), "pytest-benchmark")


def _asv_file(folder: Path, commit: str) -> Path:
    files = [p for p in folder.rglob("*.json") if p.name not in ("benchmarks.json", "machine.json")]
    found = [p for p in files if p.name.startswith(commit[:8])] if commit else files
    if commit:
        found = [p for p in found if str(read_json(p).get("commit_hash", "")).startswith(commit)]
    if not found:
        there = ", ".join(sorted({p.name.split("-")[0] for p in files})) or "none"
        raise FileNotFoundError(f"{folder} has no asv result for commit {commit!r}; there are {there}")
    return max(found, key=lambda p: int(read_json(p).get("date", 0)))


def _read_asv(path: Path) -> Measurements:
    content = read_json(path)
    columns = content.get("result_columns")
    if not columns:
        raise ValueError(f"{path} is not an asv result of version 2")
    cells: dict[CellKey, Figures] = {}
    for name, values in content["results"].items():
        benchmark = name.rsplit(".", 1)[-1]
        if benchmark not in (*_ASV_TIMES, _ASV_GAP) or not isinstance(values, list):
            continue
        record = dict(zip(columns, values))
        axes = [[ast.literal_eval(v) for v in axis] for axis in record.get("params") or []]
        for index, cell in enumerate(itertools.product(*axes)) if len(axes) == 3 else ():
            figures = cells.setdefault(CellKey(str(cell[0]), int(cell[1]), str(cell[2])), Figures())
            value = next(iter((record.get("result") or [])[index : index + 1]), None)
            if benchmark == _ASV_GAP:
                figures.add("gaps", "", [None if value is None else value / 100])
            else:
                figures.add("seconds", "", _asv_samples(record, index, value))
    if not cells:
        raise ValueError(f"{path} holds no {', '.join((*_ASV_TIMES, _ASV_GAP))} over solver, size and centring")
    machine = str((content.get("params") or {}).get("cpu", ""))
    return Measurements(f"asv {str(content.get('commit_hash', path.stem))[:8]}", machine, "", cells, (), "asv")


def _asv_samples(record: Mapping[str, Any], index: int, value: Any) -> list[Any]:
    """The samples where asv kept them, else quartiles around the median, which span about the same."""
    samples, *around = ((record.get(n) or [])[index : index + 1] for n in ("samples", "stats_q_25", "stats_q_75"))
    if samples and samples[0]:
        return list(samples[0])
    return [*(v[0] for v in around if v and v[0] is not None and value is not None), value]


def describe(content: Measurements) -> str:
    """One line about a side."""
    return f"{content.name}: {len(content.cells)} cells" + (f", {content.machine}" if content.machine else "")
