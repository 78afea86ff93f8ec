"""The sentences under every table and figure: what was measured, where, with which versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from semrsm_bench.core.task import Score
from semrsm_bench.report.formatting import format_score, plurals
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.notes import case_noun
from semrsm_bench.report.results import TaskResults

LIBRARIES = ("semrsm-bench", "numpy", "scipy", "numba", "ortools", "lapjv", "lap", "lapx")


def cpu_of(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is recorded of the CPU; early runs have its name alone."""
    cpu = environment.get("cpu")
    return cpu if isinstance(cpu, Mapping) else {"model": cpu} if cpu else {}


def recorded(environment: Mapping[str, Any], name: str, told: Callable[[Mapping[str, Any]], str]) -> list[str]:
    """A recorded list, such as the data, entry by entry in words; each once."""
    found = environment.get(name)
    texts = [told(entry).strip() for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []
    return list(dict.fromkeys(filter(None, texts)))


def blas_told(environment: Mapping[str, Any], *keys: str) -> list[str]:
    """The BLAS libraries with these of their facts."""
    return recorded(environment, "blas", lambda blas: " ".join(str(blas[k]) for k in keys if blas.get(k)))


def machine(environment: Mapping[str, Any]) -> str:
    """CPU, cores, threads and operating system; "unknown machine" for an empty record."""
    cpu, threads = cpu_of(environment), environment.get("threads")
    parts = [
        (cpu.get("model") or "unknown CPU") if cpu else "",
        f"{cpu['cores']} cores" if cpu.get("cores") else "",
        "1 thread" if threads == 1 else f"{threads} threads" if threads else "",
        environment.get("os"),
    ]
    return ", ".join(str(part) for part in parts if part) or "unknown machine"


def versions(environment: Mapping[str, Any]) -> str:
    """Python and the libraries that do the work, with the BLAS and the commit."""
    packages, commit = environment.get("packages"), environment.get("commit")
    parts = [f"Python {environment['python']}"] if environment.get("python") else []
    if isinstance(packages, Mapping):
        parts += [f"{name} {packages[name]}" for name in LIBRARIES if name in packages]
    parts += blas_told(environment, "api", "version")
    if commit:
        parts.append(f"commit {str(commit)[:10]}{' with local changes' if environment.get('dirty') else ''}")
    return ", ".join(parts) or "unknown versions"


def day(environment: Mapping[str, Any]) -> str:
    """Day on which the run was started; "" where it is not recorded."""
    return str(environment.get("started") or "")[:10]


def columns_told(layout: Layout) -> str:
    """What the columns of a task's table mean."""
    task, shared = layout.results.task, bool(layout.results.shared)
    told = [scores_told(layout.scores())]
    if layout.is_timed:
        time = f"{layout.time_title}: median time per {case_noun(task.unit)}"
        if layout.end_to_end and shared:
            time += " of the call and of the affinity, where a method needs one"
        elif shared:
            time += " of the call alone; the affinity stands in a line of its own"
        told.append(time)
    if task.unit:
        how = "jackknife" if task.resampling == "jackknife" else "bootstrap"
        told.append(f"±: the farther end of a 95 % {how} interval over {plurals(task.unit)}")
    return f"{'. '.join(filter(None, told))}."


def origin_told(results: TaskResults) -> list[str]:
    """Where figures come from: machine, versions, data, run."""
    environment = results.environment
    data = recorded(environment, "data", lambda c: f"{c.get('name') or ''} (sha256 {str(c.get('sha256'))[:10]})")
    origin = [f"Data: {', '.join(data)}" if data else "", f"run {results.run}" if results.run else "", day(environment)]
    return [
        f"Machine: {machine(environment)}.",
        f"Versions: {versions(environment)}.",
        *([f"{'; '.join(filter(None, origin))}."] if any(origin) else []),
    ]


def scores_told(scores: Sequence[Score]) -> str:
    """What scores are, which way is better where that is down, and what chance reaches."""
    told = []
    for score in scores:
        facts = [
            f"= {score.meaning}" if score.meaning else "",
            "lower is better" if score.best == "min" else "",
            f"chance {format_score(score, score.chance)}" if score.chance else "",
        ]
        if any(facts):
            told.append(f"{score.title}{' ' if facts[0] else ': '}{', '.join(filter(None, facts))}")
    return "; ".join(told)


def figure_caption(results: TaskResults, cells: str) -> str:
    """One line under a figure of these cells."""
    environment, run = results.environment, results.run
    parts = [machine(environment), day(environment), cells, f"run {run}" if run else ""]
    return " · ".join(part for part in parts if part)
