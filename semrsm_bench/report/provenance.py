"""Where figures come from: machine, versions, data, code, and the command that measures the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from semrsm_bench.bench.drift import steadiness
from semrsm_bench.report.results import Row, TaskResults

LIBRARIES = ("semrsm-bench", "numpy", "scipy", "numba", "ortools", "lapjv", "lap", "lapx")
Environment = Mapping[str, Any]
# Name and text, in order.
Facts = list[tuple[str, str]]


def _hashed(files: Iterable[tuple[Any, Any]], digits: int | None = None) -> list[str]:
    """Names and sha256 of files in words; names that share a file, such as families made of one cache, stand beside each other."""
    names: dict[str, dict[str, None]] = {}
    for name, sha256 in files:
        names.setdefault(str(sha256), {})[str(name)] = None
    return [f"{' and '.join(found)} (sha256 {sha256[:digits]})" for sha256, found in names.items()]


def _recorded(environment: Environment, name: str) -> list[tuple[Any, Any]]:
    return [(file.get("name"), file.get("sha256")) for file in environment.get(name) or []]


def _data(environment: Environment, rows: Sequence[Row]) -> list[tuple[Any, Any]]:
    """The data of these rows by the names of their cells; where they say nothing, what is recorded of the run."""
    found = [(row["cell"].get("model") or row["task"], row["data_sha256"]) for row in rows if row["data_sha256"]]
    return found or _recorded(environment, "data")


def _blas(environment: Environment, *keys: str) -> list[str]:
    return list(dict.fromkeys(" ".join(str(b[k]) for k in keys if b.get(k)) for b in environment.get("blas") or []))


def machine(environment: Environment) -> str:
    """CPU, cores, threads and operating system; "unknown machine" for an empty record."""
    cpu, threads = environment.get("cpu") or {}, environment.get("threads")
    parts = [
        (cpu.get("model") or "unknown CPU") if cpu else "",
        f"{cpu['cores']} cores" if cpu.get("cores") else "",
        "1 thread" if threads == 1 else f"{threads} threads" if threads else "",
        environment.get("os"),
    ]
    return ", ".join(str(part) for part in parts if part) or "unknown machine"


def day(environment: Environment) -> str:
    """Day on which the run was started; "" where it is not recorded."""
    return str(environment.get("started") or "")[:10]


def origin(results: TaskResults, rows: Sequence[Row]) -> list[str]:
    """The foot of a table: machine, how steady it was by these rows, versions, data, run."""
    environment = results.environment
    packages, commit = environment.get("packages") or {}, environment.get("commit")
    versions = [f"Python {environment['python']}"] if environment.get("python") else []
    versions += [f"{name} {packages[name]}" for name in LIBRARIES if name in packages]
    versions += _blas(environment, "api", "version")
    if commit:
        versions.append(f"commit {str(commit)[:10]}{' with local changes' if environment.get('dirty') else ''}")
    data = _hashed(_data(environment, rows), 10)
    parts = [f"Data: {', '.join(data)}" if data else "", f"run {results.run}" if results.run else "", day(environment)]
    return [
        f"Machine: {machine(environment)}.",
        *([f"Steadiness: {steady}."] if (steady := steadiness(rows)) else []),
        f"Versions: {', '.join(versions) or 'unknown versions'}.",
        *([f"{'; '.join(filter(None, parts))}."] if any(parts) else []),
    ]


def figure_caption(results: TaskResults, cells: str) -> str:
    """One line under a figure of these cells."""
    run = f"run {results.run}" if results.run else ""
    return " · ".join(filter(None, (machine(results.environment), day(results.environment), cells, run)))


def environment_facts(environment: Environment, rows: Sequence[Row] = ()) -> Facts:
    """Machine, libraries, code and data of a run of these rows, in words; what is not recorded is left out."""
    cpu, memory = environment.get("cpu") or {}, environment.get("memory_bytes")
    changes = ", with local changes" if environment.get("dirty") else ", no local changes"
    cores = {"physical": cpu.get("cores"), "logical": cpu.get("logical")}
    facts = {
        "CPU": cpu.get("model"),
        "Cores": " / ".join(f"{count} {which}" for which, count in cores.items() if count),
        "Frequency governor": cpu.get("governor"),
        "Memory": f"{memory / 2**30:.1f} GiB" if memory else "",
        "Threads used": environment.get("threads"),
        "Operating system": environment.get("os"),
        "Python": environment.get("python"),
        "BLAS": "; ".join(_blas(environment, "api", "version", "architecture")),
        "Packages": ", ".join(f"{name} {version}" for name, version in (environment.get("packages") or {}).items()),
        "Commit": f"{environment['commit']}{changes}" if environment.get("commit") else "",
        "Code sha256": environment.get("code_sha256"),
        "Data": "; ".join(_hashed(_data(environment, rows))),
        "Plugins": "; ".join(_hashed(_recorded(environment, "plugins"))),
        "Started": environment.get("started"),
    }
    return [(name, str(value)) for name, value in facts.items() if value]


def plan_facts(description: Mapping[str, Any]) -> Facts:
    """How to measure the same, and when it was finished, from a run's ``run.json``; empty where there is none."""
    commands = [("Command that measures the same", str(command)) for command in description.get("commands") or ()]
    return [*commands, ("Finished", str(description.get("finished") or "not yet"))] if description.get("plan") else []
