"""The sentences under every table and figure: what was measured, where, with which versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LIBRARIES = ("semrsm-bench", "numpy", "scipy", "numba", "ortools", "lapjv", "lap", "lapx")


def machine(environment: Mapping[str, Any]) -> str:
    """CPU, cores, threads and operating system; "unknown machine" for an empty record."""
    cpu = environment.get("cpu")
    parts = []
    if isinstance(cpu, Mapping):
        parts.append(str(cpu.get("model") or "unknown CPU"))
        if cpu.get("cores"):
            parts.append(f"{cpu['cores']} cores")
    elif cpu:
        parts.append(str(cpu))
    if environment.get("threads"):
        parts.append("1 thread" if environment["threads"] == 1 else f"{environment['threads']} threads")
    if environment.get("os"):
        parts.append(str(environment["os"]))
    return ", ".join(parts) or "unknown machine"


def versions(environment: Mapping[str, Any]) -> str:
    """Python and the libraries that do the work, with the BLAS and the commit."""
    parts = [f"Python {environment['python']}"] if environment.get("python") else []
    packages = environment.get("packages")
    if isinstance(packages, Mapping):
        parts += [f"{name} {packages[name]}" for name in LIBRARIES if name in packages]
    blas = environment.get("blas")
    if isinstance(blas, Sequence) and not isinstance(blas, str):
        parts += [" ".join(str(b[k]) for k in ("api", "version") if b.get(k)) for b in blas if isinstance(b, Mapping)]
    if environment.get("commit"):
        parts.append(
            f"commit {str(environment['commit'])[:10]}" + (" with local changes" if environment.get("dirty") else "")
        )
    return ", ".join(dict.fromkeys(p for p in parts if p)) or "unknown versions"


def data_sources(environment: Mapping[str, Any]) -> str:
    """Names and short hashes of the caches; "" where none is recorded."""
    caches = environment.get("data")
    if not isinstance(caches, Sequence) or isinstance(caches, str):
        return ""
    return ", ".join(f"{c.get('name')} (sha256 {str(c.get('sha256'))[:10]})" for c in caches if isinstance(c, Mapping))


def day(environment: Mapping[str, Any]) -> str:
    """Day on which the run was started; "" where it is not recorded."""
    return str(environment.get("started") or "")[:10]


def table_caption(environment: Mapping[str, Any], run: str, *, end_to_end: bool) -> list[str]:
    """Sentences for a table: what the columns mean, then where the figures come from."""
    time = (
        "T + affinity: median time per pair of the solve and of the affinity, where a solver needs one"
        if end_to_end
        else "T: median time per pair of the solve alone; the affinity stands in a line of its own"
    )
    sentences = [
        "k/k_opt and c = (k - k_rand)/(k_opt - k_rand): means over pairs. "
        + f"{time}. ±: the farther end of a 95 % bootstrap interval over pairs.",
        f"Machine: {machine(environment)}.",
        f"Versions: {versions(environment)}.",
    ]
    data = data_sources(environment)
    origin = [f"Data: {data}" if data else "", f"run {run}" if run else "", day(environment)]
    if any(origin):
        sentences.append("; ".join(x for x in origin if x) + ".")
    return sentences


def figure_caption(environment: Mapping[str, Any], pairs: str, run: str) -> str:
    """One line under a figure."""
    parts = [machine(environment), day(environment), pairs, f"run {run}" if run else ""]
    return " · ".join(part for part in parts if part)
