"""Where a run comes from, as pairs of a name and a text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semrsm_bench.bench.plan import RunOptions
from semrsm_bench.core.options import OptionInfo, command_words, describe
from semrsm_bench.core.task import Task
from semrsm_bench.report.caption import blas_told, cpu_of, recorded
from semrsm_bench.report.results import TaskResults

# Name and text, in order.
Facts = list[tuple[str, str]]


def environment_facts(environment: Mapping[str, Any]) -> Facts:
    """Machine, libraries, code and data of a run, in words; what is not recorded is left out."""
    cpu, memory, packages = cpu_of(environment), environment.get("memory_bytes"), environment.get("packages")
    commit, dirty = environment.get("commit"), environment.get("dirty")
    changes = ", with local changes" if dirty else ", no local changes" if dirty is False else ""

    def hashed(name: str) -> str:
        return "; ".join(recorded(environment, name, lambda c: f"{c.get('name')} (sha256 {c.get('sha256')})"))

    cores = {"physical": cpu.get("cores"), "logical": cpu.get("logical")}
    facts = {
        "CPU": cpu.get("model"),
        "Cores": " / ".join(f"{count} {which}" for which, count in cores.items() if count),
        "Frequency governor": cpu.get("governor"),
        "Memory": f"{memory / 2**30:.1f} GiB" if isinstance(memory, int | float) else None,
        "Threads used": environment.get("threads"),
        "Operating system": environment.get("os"),
        "Python": environment.get("python"),
        "BLAS": "; ".join(blas_told(environment, "api", "version", "architecture")),
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
    commands = [
        shlex.join(_command(one.task, plan, plan["tasks"][one.task.name]))
        for one in results
        if one.task.name in plan["tasks"]
    ]
    return [
        *(("Command that measures the same", command) for command in commands),
        ("Finished", str(description.get("finished") or "not yet")),
    ]


def _command(task: Task, plan: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    infos = {info.field: info for info in describe(task.options)}
    given = {name: _option(infos[name], value) for name, value in told["options"].items() if name in infos}
    profile = task.profiles.get(plan["profile"])
    limits = {name: told[name] for name in ("deadline", "budget") if getattr(profile, name, None) != told[name]}
    facts = {"methods": tuple(told["methods"]), "repeats": plan["repeats"], "memory": plan["memory"]}
    run = RunOptions(profile=plan["profile"], **facts, **limits)
    words = ["semrsm-bench", "run", task.name, *command_words(run), *command_words(task.options(**given))]
    return words if "--profile" in words else [*words, "--profile", plan["profile"]]


def _option(info: OptionInfo, value: Any) -> Any:
    """A value as it was before it became JSON."""
    if isinstance(value, list):
        return tuple(_option(info, item) for item in value)
    return Path(value) if info.kind == "path" and isinstance(value, str) else value
