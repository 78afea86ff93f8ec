"""Rows of a run: their schema, the append-only file they live in, and how they are read back."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

SCHEMA = 1
ROWS_FILE = "rows.jsonl"
ENVIRONMENT_FILE = "environment.json"
RUN_FILE = "run.json"
LATEST = "latest"

Status = Literal["ok", "timeout", "memory", "crashed", "invalid", "error", "skipped"]
STATUSES: tuple[Status, ...] = ("ok", "timeout", "memory", "crashed", "invalid", "error", "skipped")
# A timeout, a memory limit or a skip is an answer about the solver; these three are faults.
FAULTS: tuple[Status, ...] = ("crashed", "invalid", "error")


@dataclass(frozen=True)
class Row:
    """One measurement: one solver on one problem, one repeat. Unknown numbers are None.

    Attributes
    ----------
    schema : int
    run_id, solver, kind, solver_version : str
    options : mapping
        Everything that was passed to the solver's function.
    problem : str
        ``cache/layer/centring/pair``; without a pair where a row speaks for a whole cell (skipped).
    model, layer : str
        Stem of the cache's file, and its layer.
    size, channels : int
        S and C.
    centring : {"none", "channel", "position"}
    pair : str
        ``i-j``, indices of the two images in the cache; "" in a row that speaks for a whole cell.
    repeat : int
    status : str
        One of `STATUSES`.
    seconds, affinity_seconds : float or None
        Median time of the solve alone, and of the affinity it needs (None where the solver forms none).
    k, k_opt, k_rand, k_upper : float or None
        Value of the matching, optimum, mean over all permutations, certified upper bound of the optimum; float64.
    quality, chance_corrected : float or None
        k / k_opt (None where k_opt <= 0) and c = (k - k_rand) / (k_opt - k_rand).
    peak_bytes : int or None
        Memory the solve took beyond its inputs and the affinity.
    message : str
        Why a row is not "ok", in words; empty otherwise.
    matrix_free : bool
        The solver was given no affinity; its end-to-end time is ``seconds`` alone.
    data_sha256 : str
        Of the cache the problem comes from.
    samples : int
        Timed samples behind the medians; each loops the solver until it lasts a millisecond.
    seconds_min, seconds_max : float or None
        Fastest and slowest of those samples.
    wall_seconds : float or None
        What the whole measurement took, warm-up and affinity included; budgets and estimates are made of it.
    optimum_solver : str
        Who found k_opt.
    optimum_certificate : float or None
        Certified ``(upper bound - k_opt) / (k_opt - k_rand)``, verified in float64 from duals.
    info : mapping
        What the solver told about its own work, such as a fallback.
    """

    run_id: str
    solver: str
    options: Mapping[str, Any]
    kind: str
    solver_version: str
    problem: str
    model: str
    layer: str
    size: int
    channels: int
    centring: str
    pair: str
    repeat: int
    status: Status
    seconds: float | None = None
    affinity_seconds: float | None = None
    k: float | None = None
    k_opt: float | None = None
    k_rand: float | None = None
    k_upper: float | None = None
    quality: float | None = None
    chance_corrected: float | None = None
    peak_bytes: int | None = None
    message: str = ""
    matrix_free: bool = False
    data_sha256: str = ""
    samples: int = 0
    seconds_min: float | None = None
    seconds_max: float | None = None
    wall_seconds: float | None = None
    optimum_solver: str = ""
    optimum_certificate: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"a row's status is one of {', '.join(STATUSES)}, got {self.status!r}")

    @property
    def key(self) -> str:
        """What a resumed run recognises the row by."""
        return resume_key(self.solver, self.options, self.problem, self.data_sha256, self.repeat)

    def to_json(self) -> str:
        """One line of JSON without the line break; non-finite numbers become null."""
        return json.dumps({name: plain(getattr(self, name)) for name in COLUMNS}, allow_nan=False)


COLUMNS: tuple[str, ...] = ("schema", *(f.name for f in dataclasses.fields(Row) if f.name != "schema"))
_FLOATS = tuple(f.name for f in dataclasses.fields(Row) if f.type == "float | None")
_DEFAULTS: dict[str, Any] = {
    f.name: None if f.default is dataclasses.MISSING else f.default for f in dataclasses.fields(Row)
} | {"info": {}}


def resume_key(solver: str, options: Mapping[str, Any], problem: str, data_sha256: str, repeat: int) -> str:
    """The identity of a measurement inside a run, as a string."""
    return json.dumps([solver, plain(options), problem, data_sha256, repeat], sort_keys=True)


def plain(value: Any) -> Any:
    """The value as JSON knows it: numpy scalars unpacked, non-finite floats null, anything strange as text."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value)


def read_rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run as mappings, oldest first; a torn last line is left out, as if it had not been measured.

    Raises
    ------
    FileNotFoundError
        No rows there.
    ValueError
        A line inside the file is broken, or a newer version of the package wrote it.
    """
    path = run if run.is_file() else run / ROWS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {run} the folder of a run?")
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            if number == len(lines):
                continue
            raise ValueError(f"{path}: line {number} is not a row ({error}); delete that line to go on") from None
        if int(row.get("schema", 0)) > SCHEMA:
            raise ValueError(
                f"{path}: line {number} has schema {row['schema']}, this version reads up to {SCHEMA}; update it"
            )
        rows.append(row)
    return rows


def load_rows(run: Path) -> pd.DataFrame:
    """The rows of a run as a frame with the columns of `Row`, oldest first; the last of repeated measurements counts.

    Parameters
    ----------
    run : Path
        Folder of a run, or its ``rows.jsonl``.

    Returns
    -------
    DataFrame
        Unknown numbers are NaN; ``peak_bytes`` is a nullable Int64; ``options`` and ``info`` hold mappings.
    """
    rows = read_rows(run)
    by_key = {
        resume_key(r["solver"], r["options"], r["problem"], r.get("data_sha256", ""), r["repeat"]): r for r in rows
    }
    records = [{name: row.get(name, _DEFAULTS[name]) for name in COLUMNS} for row in by_key.values()]
    frame = pd.DataFrame.from_records(records, columns=list(COLUMNS))
    types = dict.fromkeys(_FLOATS, "float64") | {"peak_bytes": "Int64"}
    types |= dict.fromkeys(("schema", "size", "channels", "repeat", "samples"), "int64") | {"matrix_free": "bool"}
    return frame.astype(types)


def load_environment(run: Path) -> dict[str, Any]:
    """``environment.json`` of a run.

    Raises
    ------
    FileNotFoundError, ValueError
        It is missing or broken.
    """
    return read_json((run.parent if run.is_file() else run) / ENVIRONMENT_FILE)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, with an error that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {path.parent} the folder of a run?")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(plain(content), indent=1) + "\n")
    os.replace(temporary, path)


def list_runs(results: Path) -> list[Path]:
    """Folders of all runs below ``results``, oldest first."""
    if not results.is_dir():
        return []
    runs = [p for p in results.iterdir() if (p / ENVIRONMENT_FILE).is_file()]
    return sorted(runs, key=lambda p: (_started(p), p.name))


def _started(run: Path) -> str:
    try:
        return str(load_environment(run).get("started", ""))
    except ValueError:
        return ""


def find_run(results: Path | str, run: str | Path = LATEST) -> Path:
    """Folder of a run given by its id, by its path, or as "latest".

    Raises
    ------
    FileNotFoundError
        There is none; the message lists those there are.
    """
    results = Path(results)
    if str(run) != LATEST:
        for path in (results / run, Path(run)):
            if (path / ENVIRONMENT_FILE).is_file():
                return path
            if path.is_file() and path.name == ROWS_FILE:
                return path.parent
    runs = list_runs(results)
    if not runs:
        raise FileNotFoundError(f"no run in {results}; make one with: semrsm-bench run")
    if str(run) == LATEST:
        return runs[-1]
    raise FileNotFoundError(f"no run {str(run)!r} in {results}; there are {', '.join(p.name for p in runs[-8:])}")
