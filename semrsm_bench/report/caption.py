"""The sentences under every table and figure: what was measured, where, with which versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semrsm_bench.core.task import Score
from semrsm_bench.report.formatting import format_score, plurals
from semrsm_bench.report.layout import Layout
from semrsm_bench.report.notes import case_noun
from semrsm_bench.report.results import TaskResults

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
    told = [f"{c.get('name') or ''} (sha256 {str(c.get('sha256'))[:10]})" for c in caches if isinstance(c, Mapping)]
    return ", ".join(dict.fromkeys(text.strip() for text in told))


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
    data = data_sources(environment)
    origin = [f"Data: {data}" if data else "", f"run {results.run}" if results.run else "", day(environment)]
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
