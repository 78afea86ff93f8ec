"""Figures of methods from three kinds of files: this package's runs, asv's results and pytest-benchmark's JSON."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.bench.results import ENVIRONMENT_FILE, ROWS_FILE, find_run, load_environment, load_rows, read_json
from semrsm_bench.bench.summary import results_of
from semrsm_bench.core.registry import UnknownNameError
from semrsm_bench.core.row import FAULTS
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
    """What a file knows about one cell.

    Attributes
    ----------
    seconds : dict of pair, or case, to list of float
        Samples of the call alone.
    gaps : dict of pair, or case, to list of float
        How far the task's first score lies from its best, 1 - c; the pair "" stands for a figure over pairs that the file does
        not tell apart.
    failure : str
        Why there is nothing: status and message; "" otherwise.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    gaps: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""


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
        What could not be read.
    """

    name: str
    machine: str
    data: str
    cells: dict[CellKey, Figures]
    notices: tuple[str, ...] = ()


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
    folder, _, commit = str(source).rpartition("@")
    if folder and Path(folder).is_dir() and not path.exists():
        return _read_asv(_asv_file(Path(folder), commit))
    if path.is_file() and path.name != ROWS_FILE:
        return _read_file(path)
    if path.is_dir() and not (path / ENVIRONMENT_FILE).is_file() and not (path / ROWS_FILE).is_file():
        if list(path.rglob("benchmarks.json")) or list(path.rglob("machine.json")):
            return _read_asv(_asv_file(path, ""))
        return _read_run(find_run(path))
    return _read_run(path if path.name == ROWS_FILE and path.is_file() else find_run(results, source))


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
    layers: dict[tuple[str, Any, Any], set[tuple[Any, Any]]] = {}
    for row in rows:
        layers.setdefault(_place(row), set()).add((row["cell"].get("model"), row["cell"].get("layer")))
    parts: dict[CellKey, list[Mapping[str, Any]]] = {}
    for row in rows:
        parts.setdefault(_key(row, len(layers[_place(row)]) > 1), []).append(row)
    tasks = {name: _task(name) for name in dict.fromkeys(str(row["task"]) for row in rows)}
    cpu = environment.get("cpu") or {}
    return Measurements(
        f"run {folder.name}",
        str(cpu.get("model", "")),
        ",".join(sorted({str(row["data_sha256"]) for row in rows if row["data_sha256"]})),
        {key: _figures(part, tasks[key.task], folder) for key, part in parts.items()},
        tuple(f"task {n!r} is not known here: only its times are compared" for n, t in tasks.items() if t is None),
    )


def _task(name: str) -> Task | None:
    try:
        return get_task(name)
    except UnknownNameError:
        return None


def _place(row: Mapping[str, Any]) -> tuple[str, Any, Any]:
    return str(row["task"]), row["cell"].get("size"), row["cell"].get("centring")


def _key(row: Mapping[str, Any], several: bool) -> CellKey:
    """The cell; of the task matching, which other files know too, named by its layer only where one S stands for several."""
    cell, matching = row["cell"], row["task"] == "matching"
    words = [str(cell.get("centring", ""))] if matching else []
    if several and matching:
        words.append(f"{cell.get('model', '')}/{cell.get('layer', '')}")
    words += [str(v) for k, v in cell.items() if not matching and k not in ("size", "channels")]
    return CellKey(str(row["method"]), int(cell.get("size") or 0), " ".join(words), str(row["task"]))


def _figures(rows: Sequence[Mapping[str, Any]], task: Task | None, folder: Path) -> Figures:
    figures = Figures()
    for row in rows:
        unit = str((row["units"].get("pair") or [row["case"]])[0])
        if row["status"] != "ok":
            if row["status"] in (*FAULTS, "timeout", "memory"):
                figures.failure = figures.failure or f"{row['status']}: {row['message']}"
            continue
        if _finite(row["seconds"]):
            figures.seconds.setdefault(unit, []).append(float(row["seconds"]))
        if task is not None and _finite(value := row["scores"].get(task.scores[0].name)):
            figures.gaps.setdefault(unit, []).append(_gap(task.scores[0], float(value)))
    if task is not None and figures.seconds and not any(task.scores[0].name in row["scores"] for row in rows):
        # A score over many rows, as it stands, and no draws of units.
        results = results_of(rows, folder)
        units = list(dict.fromkeys(unit for r in results for unit in r.units.get(task.unit, ())))
        values = task.aggregate(results, np.ones((1, len(units))), units).get(task.scores[0].name)
        if values is not None and _finite(float(values[0])):
            figures.gaps[""] = [_gap(task.scores[0], float(values[0]))]
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
        stats = entry.get("stats") or {}
        samples = [float(v) for v in stats.get("data") or [stats.get("median", math.nan)] if _finite(v)]
        pair = str(extra.get("pair", ""))
        gaps = {str(k): float(v) for k, v in (extra.get("gap_of_pair") or {}).items() if _finite(v)}
        if not gaps and _finite(extra.get("gap")):
            gaps = {pair: float(extra["gap"])}
        key = CellKey(str(extra["solver"]), int(extra["size"]), str(extra["centring"]))
        figures = cells.setdefault(key, Figures())
        if samples:
            figures.seconds.setdefault(pair, []).extend(samples)
        for unit, gap in gaps.items():
            figures.gaps.setdefault(unit, []).append(gap)
        data |= {str(extra["data_sha256"])} if extra.get("data_sha256") else set()
    if not cells:
        raise ValueError(
            f"{path}: no benchmark in it says solver, size and centring in extra_info; make it with `make pytest-benchmark`"
        )
    cpu = ((content.get("machine_info") or {}).get("cpu") or {}).get("brand_raw", "")
    return Measurements(f"pytest-benchmark {path.name}", str(cpu), ",".join(sorted(data)), cells)


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
        for key, index in _asv_cells(record):
            result = (record.get("result") or [])[index : index + 1]
            if not result or not _finite(result[0]):
                continue
            figures = cells.setdefault(key, Figures())
            if benchmark == _ASV_GAP:
                figures.gaps.setdefault("", []).append(float(result[0]) / 100)
            else:
                figures.seconds.setdefault("", []).extend(_asv_samples(record, index, float(result[0])))
    if not cells:
        raise ValueError(f"{path} holds no {', '.join((*_ASV_TIMES, _ASV_GAP))} over solver, size and centring")
    machine = (content.get("params") or {}).get("cpu", "")
    return Measurements(f"asv {str(content.get('commit_hash', path.stem))[:8]}", str(machine), "", cells)


def _asv_cells(record: Mapping[str, Any]) -> Iterator[tuple[CellKey, int]]:
    params = record.get("params") or []
    if len(params) != 3:
        return
    values = [[ast.literal_eval(v) for v in axis] for axis in params]
    for index, (solver, size, centring) in enumerate(itertools.product(*values)):
        yield CellKey(str(solver), int(size), str(centring)), index


def _asv_samples(record: Mapping[str, Any], index: int, value: float) -> list[float]:
    """The samples where asv kept them, else quartiles around the median, which span about the same."""
    samples = (record.get("samples") or [])[index : index + 1]
    if samples and samples[0]:
        return [float(v) for v in samples[0]]
    around = [(record.get(f"stats_{q}") or [])[index : index + 1] for q in ("q_25", "q_75")]
    return [*(float(v[0]) for v in around if v and _finite(v[0])), value]


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def describe(content: Measurements) -> str:
    """One line about a side."""
    return f"{content.name}: {len(content.cells)} cells" + (f", {content.machine}" if content.machine else "")
