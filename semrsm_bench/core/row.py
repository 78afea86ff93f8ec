"""One line of a run: its schema, its key, and how rows of earlier schemas are read."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = 2

Status = Literal["ok", "timeout", "memory", "crashed", "invalid", "wrong", "error", "skipped"]
STATUSES: tuple[Status, ...] = ("ok", "timeout", "memory", "crashed", "invalid", "wrong", "error", "skipped")
# A timeout, a memory limit or a skip is an answer about the method; these are faults.
FAULTS: tuple[Status, ...] = ("crashed", "invalid", "wrong", "error")

# In a row's raw values: "machine" where it failed by the machine's fault, and is measured again when the run is resumed.
FAULT = "fault"

_LONGEST_TEXT = 2000
# Of what a method said about its work, as JSON; whatever it says, the row stays a short line.
_LONGEST_INFO = 8000
_MOST_ENTRIES = 100
_LARGEST_INTEGER = 1 << 63
_DEEPEST = 6


@dataclass(frozen=True)
class Row:
    """One observation: one method on one case, one repeat. Unknown numbers are None.

    Attributes
    ----------
    run_id, task, kind, category, method : str
        ``kind`` is that of the method (solver, rsm, metric, instance), ``category`` how tables group it.
    options : mapping
        Everything that was passed to the method's function.
    version, code : str
        Of the distribution that does the work; digest of the method's code, libraries and files, and of the task's.
    case : str
        Name of the case; "" in a row that speaks for a whole cell (skipped).
    cell : mapping
        What the cases of a cell share: model, layer, size, channels, centring, kernel ...
    units : mapping of str to sequence of str
        Ids of what intervals resample: images, networks, pairs.
    data_sha256 : str
        Of the file that the case comes from.
    repeat, seed : int
    status, message : str
        One of `STATUSES`, and why it is not "ok".
    seconds, seconds_min, seconds_max : float or None
        Median, fastest and slowest of the timed calls.
    samples : int
        Timed calls.
    shared_seconds : float or None
        Median time of what several methods need alike and what is therefore timed apart: the affinity of a solver.
    program_seconds : float or None
        What an external program says that it took.
    wall_seconds : float or None
        The whole observation as the parent saw it, without starting a worker and without a warm-up that came to its end; budgets
        and estimates are made of it.
    peak_bytes : int or None
        Memory that one call took beyond its inputs.
    drift : float or None
        How far the machine's speed moved during the observation, as a ratio.
    scores : mapping of str to float or None
        By name; a score that exists only over many rows is not here.
    raw : mapping
        What the scores were made of: ``k``, ``k_opt``, ``k_rand``, ``k_upper`` ...
    arrays : str
        File with the arrays of the answer, relative to the run's folder; "" where none are kept.
    family, environment : str
        Family of generated instances; environment in which the method ran, "" for this one.
    replaces : str
        Why an earlier row of the same key no longer counts; "" for a first row.
    info : mapping
        What the method said about its own work.
    """

    run_id: str
    task: str
    kind: str
    method: str
    case: str
    status: Status
    category: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    code: str = ""
    cell: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, Sequence[str]] = field(default_factory=dict)
    data_sha256: str = ""
    repeat: int = 0
    seed: int = 0
    message: str = ""
    seconds: float | None = None
    seconds_min: float | None = None
    seconds_max: float | None = None
    samples: int = 0
    shared_seconds: float | None = None
    program_seconds: float | None = None
    wall_seconds: float | None = None
    peak_bytes: int | None = None
    drift: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    arrays: str = ""
    family: str = ""
    environment: str = ""
    replaces: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"a row's status is one of {', '.join(STATUSES)}, got {self.status!r}")

    @property
    def key(self) -> str:
        """What a resumed run recognises the row by."""
        return resume_key(self.as_dict())

    @property
    def cell_key(self) -> str:
        """The row's cell as one string."""
        return cell_key(self.cell)

    def as_dict(self) -> dict[str, Any]:
        """All fields, the schema first, JSON-ready; what a method said is cut short, what the task said is not."""
        found = {name: plain(getattr(self, name), bounded=name == "message") for name in COLUMNS if name != "info"}
        return found | {"info": short_info(self.info)}

    def to_json(self) -> str:
        """One line of JSON without the line break; non-finite numbers become null."""
        return json.dumps(self.as_dict(), allow_nan=False)


COLUMNS: tuple[str, ...] = ("schema", *(f.name for f in dataclasses.fields(Row) if f.name != "schema"))


def resume_key(row: Mapping[str, Any]) -> str:
    """The identity of an observation inside a run: method, options, code, task, case, data and repeat.

    A row that speaks for a whole cell has no case; its cell stands for it.
    """
    names = ("task", "method", "options", "code", "data_sha256", "repeat")
    about = row["case"] or cell_key(row["cell"])
    return json.dumps([about, *(plain(row[name], bounded=False) for name in names)], sort_keys=True)


def cell_key(cell: Mapping[str, Any]) -> str:
    """A cell as one string: its values joined by slashes."""
    return "/".join(str(value) for value in cell.values())


def short_info(told: Any) -> dict[str, Any]:
    """What a method said about its work, fit for a row whatever it is: as many entries as fit, and how many there were."""
    info = plain(told)
    kept: dict[str, Any] = {}
    left = _LONGEST_INFO
    for name, value in info.items() if isinstance(info, dict) else {"info": info}.items():
        left -= len(json.dumps({name: value}))
        if left < 0:
            return kept | {"...": f"{len(info)} entries, too long to keep"}
        kept[name] = value
    return kept


def current(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of any schema up to this one as a row of this one.

    Raises
    ------
    ValueError
        A newer version of the package wrote it, or a field that nothing can stand in for is missing.
    """
    schema = row.get("schema", 0)
    if not isinstance(schema, int):
        raise ValueError(f"schema {schema!r}: this is no row of a run")
    if schema > SCHEMA:
        raise ValueError(f"schema {schema}, this version reads up to {SCHEMA}; update semrsm-bench")
    needed = ("task", "method", "case", "status") if schema == SCHEMA else ("solver", "size", "status")
    missing = [name for name in needed if name not in row]
    if missing:
        raise ValueError(f"no {', '.join(missing)}: this is no row of a run")
    if schema == SCHEMA:
        return {**_defaults(), **row}
    pair = str(row.get("pair") or "")
    cell = {name: row.get(name, default) for name, default in _CELL_1.items()}
    figures = ("k", "k_opt", "k_rand", "k_upper", "optimum_solver", "optimum_certificate", "matrix_free")
    return {
        **_defaults(),
        "run_id": row.get("run_id", ""),
        "task": "matching",
        "kind": "solver",
        "category": row.get("kind", ""),
        "method": row["solver"],
        "options": row.get("options") or {},
        "version": row.get("solver_version", ""),
        "case": f"{cell['model']}/{cell['layer']}/{cell['centring']}/{pair}" if pair else "",
        "cell": cell,
        "units": {"pair": [pair], "image": pair.split("-")} if pair else {},
        "scores": {"c": row.get("chance_corrected"), "quality": row.get("quality")},
        "raw": {name: row[name] for name in figures if row.get(name) is not None},
        "shared_seconds": row.get("affinity_seconds"),
        "schema": schema,
        **{
            name: row[name]
            for name in (
                *("status", "message", "repeat", "data_sha256", "seconds", "seconds_min", "seconds_max"),
                *("samples", "wall_seconds", "peak_bytes", "info"),
            )
            if row.get(name) is not None
        },
    }


_CELL_1 = {"model": "", "layer": "", "size": 0, "channels": 0, "centring": "none"}
_DEFAULTS = {f.name: "" if f.default is dataclasses.MISSING else f.default for f in dataclasses.fields(Row)}
_MAPPINGS = tuple(f.name for f in dataclasses.fields(Row) if f.default_factory is not dataclasses.MISSING)


def _defaults() -> dict[str, Any]:
    return {**_DEFAULTS, **{name: {} for name in _MAPPINGS}}


def plain(value: Any, *, bounded: bool = True) -> Any:
    """The value as JSON knows it. Bounded, whatever a method put there leaves a row a short line.

    NumPy scalars are unpacked, non-finite floats become null, integers beyond 64 bits and anything strange become text;
    bounded, long texts and long or deep collections are cut with a mark.
    """
    return _plain(value, 0, bounded)


def _plain(value: Any, depth: int, bounded: bool) -> Any:
    try:
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, int):
            small = -_LARGEST_INTEGER <= value < _LARGEST_INTEGER
            return int(value) if small else f"an integer of {value.bit_length()} bits"
        if isinstance(value, str):
            cut = bounded and len(value) > _LONGEST_TEXT
            text = f"{value[:_LONGEST_TEXT]}... ({len(value)} characters)" if cut else value
            return text.encode(errors="replace").decode()  # lone surrogates are no text
        most = _MOST_ENTRIES if bounded else sys.maxsize
        if (depth < _DEEPEST or not bounded) and isinstance(value, Mapping):
            pairs = itertools.islice(value.items(), most)
            found = {str(_plain(k, depth + 1, bounded)): _plain(v, depth + 1, bounded) for k, v in pairs}
            return found | ({"...": f"{len(value)} entries"} if len(value) > most else {})
        if (depth < _DEEPEST or not bounded) and isinstance(value, (list, tuple)):
            listed = [_plain(v, depth + 1, bounded) for v in value[:most]]
            return listed + ([f"... ({len(value)} entries)"] if len(value) > most else [])
        return _plain(str(value), depth + 1, bounded)
    except Exception as error:  # a value whose own methods raise must not end the run
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"
