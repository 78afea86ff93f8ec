"""Where figures come from: machine, versions, data, code, and the command that measures the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from semrsm_bench.bench.plan import RunOptions
from semrsm_bench.core.options import OptionInfo, command_words, describe
from semrsm_bench.core.task import Task
from semrsm_bench.report.results import TaskResults

LIBRARIES = ("semrsm-bench", "numpy", "scipy", "numba", "ortools", "lapjv", "lap", "lapx")
# Name and text, in order.
Facts = list[tuple[str, str]]


def _cpu(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is recorded of the CPU; early runs have its name alone."""
    cpu = environment.get("cpu")
    return cpu if isinstance(cpu, Mapping) else {"model": cpu} if cpu else {}


def _recorded(environment: Mapping[str, Any], name: str, words: Callable[[Mapping[str, Any]], str]) -> list[str]:
    """A recorded list, such as the data, entry by entry in words; each once."""
    found = environment.get(name)
    texts = [words(entry).strip() for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []
    return list(dict.fromkeys(filter(None, texts)))


def _blas(environment: Mapping[str, Any], *keys: str) -> list[str]:
    return _recorded(environment, "blas", lambda blas: " ".join(str(blas[k]) for k in keys if blas.get(k)))


def machine(environment: Mapping[str, Any]) -> str:
    """CPU, cores, threads and operating system; "unknown machine" for an empty record."""
    cpu, threads = _cpu(environment), environment.get("threads")
    parts = [
        (cpu.get("model") or "unknown CPU") if cpu else "",
        f"{cpu['cores']} cores" if cpu.get("cores") else "",
        "1 thread" if threads == 1 else f"{threads} threads" if threads else "",
        environment.get("os"),
    ]
    return ", ".join(str(part) for part in parts if part) or "unknown machine"


def _versions(environment: Mapping[str, Any]) -> str:
    """Python and the libraries that do the work, with the BLAS and the commit."""
    packages, commit = environment.get("packages"), environment.get("commit")
    parts = [f"Python {environment['python']}"] if environment.get("python") else []
    if isinstance(packages, Mapping):
        parts += [f"{name} {packages[name]}" for name in LIBRARIES if name in packages]
    parts += _blas(environment, "api", "version")
    if commit:
        parts.append(f"commit {str(commit)[:10]}{' with local changes' if environment.get('dirty') else ''}")
    return ", ".join(parts) or "unknown versions"


def day(environment: Mapping[str, Any]) -> str:
    """Day on which the run was started; "" where it is not recorded."""
    return str(environment.get("started") or "")[:10]


def origin(results: TaskResults) -> list[str]:
    """For the foot of a table: machine, versions, data, run."""
    environment = results.environment
    data = _recorded(
        environment, "data", lambda c: f"{c.get('name') or ''} (sha256 {str(c.get('sha256'))[:10]})".strip()
    )
    parts = [f"Data: {', '.join(data)}" if data else "", f"run {results.run}" if results.run else "", day(environment)]
    return [
        f"Machine: {machine(environment)}.",
        f"Versions: {_versions(environment)}.",
        *([f"{'; '.join(filter(None, parts))}."] if any(parts) else []),
    ]


def figure_caption(results: TaskResults, cells: str) -> str:
    """One line under a figure of these cells."""
    run = f"run {results.run}" if results.run else ""
    return " · ".join(filter(None, (machine(results.environment), day(results.environment), cells, run)))


def environment_facts(environment: Mapping[str, Any]) -> Facts:
    """Machine, libraries, code and data of a run, in words; what is not recorded is left out."""
    cpu, memory, packages = _cpu(environment), environment.get("memory_bytes"), environment.get("packages")
    commit, dirty = environment.get("commit"), environment.get("dirty")
    changes = ", with local changes" if dirty else ", no local changes" if dirty is False else ""

    def hashed(name: str) -> str:
        return "; ".join(_recorded(environment, name, lambda c: f"{c.get('name')} (sha256 {c.get('sha256')})"))

    cores = {"physical": cpu.get("cores"), "logical": cpu.get("logical")}
    facts = {
        "CPU": cpu.get("model"),
        "Cores": " / ".join(f"{count} {which}" for which, count in cores.items() if count),
        "Frequency governor": cpu.get("governor"),
        "Memory": f"{memory / 2**30:.1f} GiB" if isinstance(memory, int | float) else None,
        "Threads used": environment.get("threads"),
        "Operating system": environment.get("os"),
        "Python": environment.get("python"),
        "BLAS": "; ".join(_blas(environment, "api", "version", "architecture")),
        "Packages": ", ".join(f"{k} {v}" for k, v in packages.items()) if isinstance(packages, Mapping) else None,
        "Commit": f"{commit}{changes}" if commit else None,
        "Code sha256": environment.get("code_sha256"),
        "Data": hashed("data"),
        "Plugins": hashed("plugins"),
        "Started": environment.get("started"),
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]


def plan_facts(description: Mapping[str, Any], results: Sequence[TaskResults]) -> Facts:
    """What was to be measured, from a run's ``run.json``; empty where there is none."""
    plan = description.get("plan")
    if not isinstance(plan, Mapping) or not isinstance(plan.get("tasks"), Mapping):
        return []
    tasks = [one.task for one in results if one.task.name in plan["tasks"]]
    commands = [shlex.join(_command(task, plan, plan["tasks"][task.name])) for task in tasks]
    finished = str(description.get("finished") or "not yet")
    return [*(("Command that measures the same", command) for command in commands), ("Finished", finished)]


def _command(task: Task, plan: Mapping[str, Any], planned: Mapping[str, Any]) -> list[str]:
    infos = {info.field: info for info in describe(task.options)}
    given = {name: _option(infos[name], value) for name, value in planned["options"].items() if name in infos}
    profile = task.profiles.get(plan["profile"])
    limits = {name: planned[name] for name in ("deadline", "budget") if getattr(profile, name, None) != planned[name]}
    facts = {"methods": tuple(planned["methods"]), "repeats": plan["repeats"], "memory": plan["memory"]}
    run = RunOptions(profile=plan["profile"], **facts, **limits)
    words = ["semrsm-bench", "run", task.name, *command_words(run), *command_words(task.options(**given))]
    return words if "--profile" in words else [*words, "--profile", plan["profile"]]


def _option(info: OptionInfo, value: Any) -> Any:
    """A value as it was before it became JSON."""
    if isinstance(value, list):
        return tuple(_option(info, item) for item in value)
    return Path(value) if info.kind == "path" and isinstance(value, str) else value
