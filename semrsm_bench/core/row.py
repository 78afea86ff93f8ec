"""One line of a run's results: its schema, its key, and how rows of earlier schemas are read."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = 2

Status = Literal["ok", "timeout", "memory", "crashed", "invalid", "wrong", "error", "skipped"]
STATUSES: tuple[Status, ...] = ("ok", "timeout", "memory", "crashed", "invalid", "wrong", "error", "skipped")
# A timeout, a memory limit or a skip is an answer about the method; these are faults.
METHOD_FAULTS: tuple[Status, ...] = ("crashed", "invalid", "wrong", "error")

# In a row's raw values: "machine" where it failed by the machine's fault, and is measured again when the run is resumed.
FAULT_BY = "fault"

_LONGEST_TEXT = 2000
# Limits of what a method said about its work, as JSON: a row stays a short line.
_LONGEST_INFO = 8000
_MOST_ENTRIES = 100
_LARGEST_INTEGER = 1 << 63
_DEEPEST = 6


@dataclass(frozen=True)
class Row:
    """One observation: one method on one case, one repeat. Unknown numbers are None."""

    run_id: str
    task: str
    kind: str  # kind of the method: solver, rsm, metric, instance
    method: str
    case: str  # "" in a row that speaks for a whole cell (skipped)
    status: Status
    category: str = ""  # how tables group the method
    options: Mapping[str, Any] = field(default_factory=dict)  # everything that was passed to the method's function
    version: str = ""  # version of the distribution that does the work
    code: str = ""  # digest of the method's code, libraries and files, and of the task's
    cell: Mapping[str, Any] = field(default_factory=dict)  # what its cases share: model, layer, size, kernel ...
    units: Mapping[str, Sequence[str]] = field(default_factory=dict)  # ids of what intervals resample: images ...
    data_sha256: str = ""  # digest of the file that the case comes from
    repeat: int = 0
    seed: int = 0  # what a method that draws numbers was given, where several seeds were asked for
    message: str = ""  # why the status is not ok
    seconds: float | None = None  # median of the timed calls
    seconds_min: float | None = None
    seconds_max: float | None = None
    samples: int = 0  # timed calls
    shared_seconds: float | None = None  # median of what several methods need alike and is timed apart: the affinity
    program_seconds: float | None = None  # what an external program says that it took
    # The whole observation as the parent saw it, without starting a worker and without a warm-up that came to its end; budgets
    # and estimates are made of it.
    wall_seconds: float | None = None
    peak_bytes: int | None = None  # memory that one call took beyond its inputs
    reference_seconds: float | None = (
        None  # of a fixed kernel, at most two seconds before the observation, or after it: the longer one
    )
    scores: Mapping[str, float | None] = field(default_factory=dict)  # a score that needs many rows is not here
    raw: Mapping[str, Any] = field(default_factory=dict)  # what the scores were made of: k, k_opt, k_rand, k_upper ...
    arrays: str = ""  # file with the arrays of the answer, relative to the run's folder
    environment: str = ""  # in which the method ran, "" for this one
    replaces: str = ""  # why an earlier row of the same key no longer counts
    info: Mapping[str, Any] = field(default_factory=dict)  # what the method said about its work
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"a row's status is one of {', '.join(STATUSES)}, got {self.status!r}")

    def as_dict(self) -> dict[str, Any]:
        """All fields, the schema first, JSON-ready; what a method said is cut short, what the task said is not."""
        found = {name: plain(getattr(self, name), bounded=name == "message") for name in COLUMNS if name != "info"}
        return found | {"info": short_info(self.info)}

    def to_json(self) -> str:
        """One line of JSON without the line break; non-finite numbers become null."""
        return json.dumps(self.as_dict(), allow_nan=False)


COLUMNS: tuple[str, ...] = ("schema", *(f.name for f in dataclasses.fields(Row) if f.name != "schema"))


def resume_key(row: Mapping[str, Any]) -> str:
    """What a resumed run recognises an observation by; in a row that speaks for a whole cell, the cell stands for the case."""
    names = ("task", "method", "options", "code", "data_sha256", "repeat")
    about = row["case"] or cell_key(row["cell"])
    return json.dumps([about, *(plain(row[name], bounded=False) for name in names)], sort_keys=True)


def cell_key(cell: Mapping[str, Any]) -> str:
    """A cell as one string: its values joined by slashes."""
    return "/".join(str(value) for value in cell.values())


def natural(text: str) -> list[Any]:
    """Sort key of names in which 10 comes after 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def short_info(said: Any) -> dict[str, Any]:
    """What a method said about its work, as many entries as a row has room for, and how many there were."""
    info = plain(said)
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

    ValueError: a newer version of the package wrote it, or a field is missing or of another type.
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
    empty = vars(Row("", "", "", "", "", "ok"))
    if schema == SCHEMA:
        return _typed({**empty, **row})
    known = {name: value for name, value in row.items() if value is not None}
    pair = str(known.get("pair", ""))
    cell = {"model": "", "layer": "", "size": 0, "channels": 0, "centring": "none"}
    cell |= {name: known[name] for name in cell if name in known}
    figures = ("k", "k_opt", "k_rand", "k_upper", "optimum_solver", "optimum_certificate", "matrix_free")
    return _typed(
        {
            **empty,
            **{name: known[name] for name in COLUMNS if name in known},
            "task": "matching",
            "kind": "solver",
            "category": known.get("kind", ""),
            "method": row["solver"],
            "version": known.get("solver_version", ""),
            "case": f"{cell['model']}/{cell['layer']}/{cell['centring']}/{pair}" if pair else "",
            "cell": cell,
            "units": {"pair": [pair], "image": pair.split("-")} if pair else {},
            "scores": {"c": known.get("chance_corrected"), "quality": known.get("quality")},
            "raw": {name: known[name] for name in figures if name in known},
            "shared_seconds": known.get("affinity_seconds"),
        }
    )


_TYPES = {"str": str, "Status": str, "int": int, "float": (int, float), "Mapping": dict}
# Name, type in words, and whether None will do, of each field.
_FIELDS = [
    (f.name, str(f.type).partition("[")[0].removesuffix(" | None"), "None" in str(f.type))
    for f in dataclasses.fields(Row)
]


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """The row, if its values are of the types of `Row`'s fields; else ValueError."""
    for name, kind, optional in _FIELDS:
        value = row[name]
        if not isinstance(value, _TYPES[kind]) and not (optional and value is None):  # type: ignore[arg-type]
            raise ValueError(f"{name} is {json.dumps(value)[:100]}; needed is {kind}")
    for name, allowed in (("units", list), ("scores", (int, float, type(None)))):
        for key, value in row[name].items():
            if not isinstance(value, allowed):
                raise ValueError(f"{name} of {key} is {json.dumps(value)[:100]}")
    if row["status"] not in STATUSES:
        raise ValueError(f"status is {row['status']!r}; there are {', '.join(STATUSES)}")
    return row


def plain(value: Any, *, bounded: bool = True, depth: int = 0) -> Any:
    """The value as JSON knows it; ``bounded`` keeps it short.

    NumPy scalars are unpacked, non-finite floats become null, integers beyond 64 bits and anything strange become text, without
    the addresses that differ from process to process;
    bounded, long texts and long or deep collections are cut with a mark.
    """
    if type(value) is float:  # most of what a row holds
        return value if math.isfinite(value) else None
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
        inner = functools.partial(plain, bounded=bounded, depth=depth + 1)
        if isinstance(value, (Mapping, list, tuple)) and (depth < _DEEPEST or not bounded):
            most = _MOST_ENTRIES if bounded else sys.maxsize
            over = f"{len(value)} entries" if len(value) > most else ""
            if isinstance(value, Mapping):
                found = {str(inner(k)): inner(v) for k, v in itertools.islice(value.items(), most)}
                return found | ({"...": over} if over else {})
            return [*map(inner, value[:most]), *([f"... ({over})"] if over else [])]
        return inner(re.sub(r" at 0x[0-9a-f]+", "", str(value)))
    except Exception as error:  # a value whose methods raise must not end the run
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"
