"""Figures of solvers from three kinds of files: this package's runs, asv's results and pytest-benchmark's JSON."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from semrsm_bench.bench.results import (
    ENVIRONMENT_FILE,
    FAULTS,
    ROWS_FILE,
    find_run,
    load_environment,
    load_rows,
    read_json,
)

# Solver, S, centring, and the layer where one S stands for several.
CellKey = tuple[str, int, str, str]


@dataclass
class Figures:
    """What a file knows about one cell.

    Attributes
    ----------
    seconds : dict of pair to list of float
        Samples of the solve alone.
    gaps : dict of pair to float
        1 - c; the pair "" stands for a mean over pairs that the file does not tell apart.
    failure : str
        Why there is nothing: status and message; "" otherwise.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    gaps: dict[str, float] = field(default_factory=dict)
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
    """

    name: str
    machine: str
    data: str
    cells: dict[CellKey, Figures]


def read_measurements(source: str | Path, results: Path = Path("results")) -> Measurements:
    """Figures of solvers, from whichever kind of file they are in.

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
    places = rows.groupby("size", sort=False)[["model", "layer"]].apply(lambda part: len(part.drop_duplicates()))
    cells: dict[CellKey, Figures] = {}
    for row in rows.to_dict("records"):
        place = f"{row['model']}/{row['layer']}" if places[row["size"]] > 1 else ""
        figures = cells.setdefault((row["solver"], int(row["size"]), row["centring"], place), Figures())
        if row["status"] != "ok":
            if row["status"] in (*FAULTS, "timeout", "memory"):
                figures.failure = figures.failure or f"{row['status']}: {row['message']}"
            continue
        if _finite(row["seconds"]):
            figures.seconds.setdefault(row["pair"], []).append(float(row["seconds"]))
        if _finite(row["chance_corrected"]):
            figures.gaps[row["pair"]] = 1.0 - float(row["chance_corrected"])
    cpu = environment.get("cpu") or {}
    data = ",".join(sorted({str(value) for value in rows["data_sha256"] if value}))
    return Measurements(f"run {folder.name}", str(cpu.get("model", "")), data, cells)


def _read_pytest(path: Path, content: Mapping[str, Any]) -> Measurements:
    cells: dict[CellKey, Figures] = {}
    data = ""
    for entry in content["benchmarks"]:
        extra = entry.get("extra_info") or {}
        if not {"solver", "size", "centring"} <= extra.keys():
            continue
        stats = entry.get("stats") or {}
        samples = [float(v) for v in stats.get("data") or [stats.get("median", math.nan)] if _finite(v)]
        gaps = {str(k): float(v) for k, v in (extra.get("gap_of_pair") or {}).items() if _finite(v)}
        if not gaps and _finite(extra.get("gap")):
            gaps = {"": float(extra["gap"])}
        key = (str(extra["solver"]), int(extra["size"]), str(extra["centring"]), "")
        cells[key] = Figures({str(extra.get("pair", "")): samples} if samples else {}, gaps)
        data = str(extra.get("data_sha256", data))
    if not cells:
        raise ValueError(
            f"{path}: no benchmark in it says solver, size and centring in extra_info; make it with `make pytest-benchmark`"
        )
    cpu = ((content.get("machine_info") or {}).get("cpu") or {}).get("brand_raw", "")
    return Measurements(f"pytest-benchmark {path.name}", str(cpu), data, cells)


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
        if benchmark not in ("time_solve", "track_gap_percent") or not isinstance(values, list):
            continue
        record = dict(zip(columns, values))
        for key, index in _asv_cells(record):
            result = (record.get("result") or [])[index : index + 1]
            if not result or not _finite(result[0]):
                continue
            figures = cells.setdefault(key, Figures())
            if benchmark == "track_gap_percent":
                figures.gaps[""] = float(result[0]) / 100
            else:
                figures.seconds[""] = _asv_samples(record, index, float(result[0]))
    if not cells:
        raise ValueError(f"{path} holds no time_solve or track_gap_percent over solver, size and centring")
    machine = (content.get("params") or {}).get("cpu", "")
    return Measurements(f"asv {str(content.get('commit_hash', path.stem))[:8]}", str(machine), "", cells)


def _asv_cells(record: Mapping[str, Any]) -> Iterator[tuple[CellKey, int]]:
    params = record.get("params") or []
    if len(params) != 3:
        return
    values = [[ast.literal_eval(v) for v in axis] for axis in params]
    for index, (solver, size, centring) in enumerate(itertools.product(*values)):
        yield (str(solver), int(size), str(centring), ""), index


def _asv_samples(record: Mapping[str, Any], index: int, value: float) -> list[float]:
    """The samples where asv kept them, else quartiles around the median, which span about the same."""
    samples = (record.get("samples") or [])[index : index + 1]
    if samples and samples[0]:
        return [float(v) for v in samples[0]]
    around = [(record.get(f"stats_{q}") or [])[index : index + 1] for q in ("q_25", "q_75")]
    return [*(float(v[0]) for v in around if v and _finite(v[0])), value]


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not pd.isna(value) and math.isfinite(value)


def describe(content: Measurements) -> str:
    """One line about a side."""
    return f"{content.name}: {len(content.cells)} cells" + (f", {content.machine}" if content.machine else "")
