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

Row = Mapping[str, Any]


class CellKey(NamedTuple):
    """A method at one place of a task: S (0 where a task has none), and what else tells the cell from others."""

    method: str
    size: int
    place: str
    task: str = "matching"


@dataclass
class Figures:
    """What a file knows about one cell, by pair or case; "" stands for a figure over pairs that the file does not tell apart.

    Samples of the call alone; gaps between the task's first score and its best, such as 1 - c; why a figure is missing. Several
    entries of one case stand beside each other.
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


def read_measurements(source: str | Path, results: Path = Path("results")) -> Measurements:
    """Figures of methods from a run (its folder, ``rows.jsonl``, or id in ``results``, or "latest"), an asv result (a file, a
    folder, or ``FOLDER@COMMIT``), or a file that pytest-benchmark wrote.
    """
    path = Path(source)
    if path.is_file() and path.name != ROWS_FILE:
        content = read_json(path)
        if "benchmarks" in content and "machine_info" in content:
            return _read_pytest(path, content)
        if "result_columns" in content:
            return _read_asv(path)
        raise ValueError(
            f"{path} is neither a run's {ROWS_FILE}, nor an asv result, nor a file of pytest-benchmark (--benchmark-json)"
        )
    for place in (results / source, path):
        if (place if place.name == ROWS_FILE else place / ROWS_FILE).is_file():
            return _read_run(place)
    if str(source) == LATEST:
        return _read_run(find_run(results))
    above, _, commit = str(source).rpartition("@")
    if path.is_dir() or (above and Path(above).is_dir()):
        return _read_asv(_asv_file(path, "") if path.is_dir() else _asv_file(Path(above), commit))
    there = ", ".join(run.name for run in list_runs(results)[-8:]) or "none"
    raise FileNotFoundError(f"{source}: there is no file, folder or run of this name; runs in {results}: {there}")


def _read_run(path: Path) -> Measurements:
    rows = load_rows(path)
    folder = path.parent if path.is_file() else path
    try:
        environment = load_environment(folder)
    except FileNotFoundError:
        environment = {}
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
    every = read_rows(path)
    gone = Counter(map(resume_key, every)) - Counter(map(resume_key, rows))
    if names := sorted(
        {f"{row['method']} on {row['case'] or row['task']}" for row in every if resume_key(row) in gone}
    ):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        notices.append(f"{gone.total()} rows were replaced by later ones: {', '.join(names[:3])}{more}")
    return Measurements(
        f"run {folder.name}",
        str((environment.get("cpu") or {}).get("model", "")),
        ",".join(sorted({str(row["data_sha256"]) for row in rows if row["data_sha256"]})),
        {key: _figures(part, tasks[key.task], folder) for key, part in parts.items()},
        tuple(notices),
        "run",
    )


def _keys(rows: Sequence[Row]) -> list[CellKey]:
    """The cell of each row. Layer and options are named only where cells would be the same without."""
    layers: dict[Any, set[str]] = {}
    options: dict[Any, set[str]] = {}
    facts = []
    for row in rows:
        cell, method = row["cell"], (row["task"], row["method"])
        place = (row["task"], cell.get("size"), cell.get("centring"))
        layer, given = f"{cell.get('model', '')}/{cell.get('layer', '')}", json.dumps(row["options"], sort_keys=True)
        layers.setdefault(place, set()).add(layer)
        options.setdefault(method, set()).add(given)
        facts.append((row, layers[place], layer, options[method], given))
    keys = []
    for row, layers_there, layer, options_there, given in facts:
        cell = row["cell"]
        if row["task"] == "matching":  # which other files know too, and name its cells by S and centring
            words = [str(cell.get("centring", "")), *([layer] if len(layers_there) > 1 else [])]
        else:
            words = [str(value) for key, value in cell.items() if key not in ("size", "channels")]
        words += [given] if len(options_there) > 1 else []
        keys.append(CellKey(str(row["method"]), int(cell.get("size") or 0), " ".join(words), str(row["task"])))
    return keys


def _figures(rows: Sequence[Row], task: Task | None, folder: Path) -> Figures:
    figures = Figures()
    for row in rows:
        unit = str((row["units"].get("pair") or [row["case"]])[0])
        if row["status"] != "ok":
            figures.failures.setdefault(unit, f"{row['status']}: {row['message']}")
            continue
        figures.add("seconds", unit, [row["seconds"]])
        if task is not None and (score := task.scores[0]).name in row["scores"]:
            figures.add("gaps", unit, [_gap(score, row["scores"][score.name])])
    if task is not None and figures.seconds and not any(task.scores[0].name in row["scores"] for row in rows):
        # A score over many rows, as it stands, and no draws of units.
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
        raise ValueError(
            f"{path}: no benchmark in it says solver, size and centring in extra_info; make it with `make pytest-benchmark`"
        )
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
        raise FileNotFoundError(
            f"{folder} holds no run ({ROWS_FILE}) and no asv result {commit or 'at all'}; there are {there}"
        )
    return max(found, key=lambda p: int(read[p].get("date", 0)))


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
            value, samples, *around = (
                next(iter((record.get(name) or [])[index : index + 1]), None)
                for name in ("result", "samples", "stats_q_25", "stats_q_75")
            )
            if benchmark == _ASV_GAP:
                figures.add("gaps", "", [None if value is None else value / 100])
            else:  # without samples, quartiles around the median span about the same
                known = [v for v in around if v is not None and value is not None]
                figures.add("seconds", "", samples or [*known, value])
    if not cells:
        raise ValueError(f"{path} holds no {', '.join((*_ASV_TIMES, _ASV_GAP))} over solver, size and centring")
    machine = str((content.get("params") or {}).get("cpu", ""))
    return Measurements(f"asv {str(content.get('commit_hash', path.stem))[:8]}", machine, "", cells, (), "asv")
