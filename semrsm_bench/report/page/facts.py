"""Where a run or a study comes from, as pairs of a name and a text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from semrsm_bench.report.formatting import NOTHING

# Name and text, in order.
Facts = list[tuple[str, str]]


def environment_facts(environment: Mapping[str, Any]) -> Facts:
    """Machine, libraries, code and data of a run or study, in words; what is not recorded is left out."""
    cpu = environment.get("cpu")
    cpu = cpu if isinstance(cpu, Mapping) else {"model": cpu} if cpu else {}
    memory = environment.get("memory_bytes")
    commit, dirty = environment.get("commit"), environment.get("dirty")
    facts = {
        "CPU": cpu.get("model"),
        "Cores": " / ".join(
            f"{cpu[k]} {told}" for k, told in (("cores", "physical"), ("logical", "logical")) if cpu.get(k)
        ),
        "Frequency governor": cpu.get("governor"),
        "Memory": f"{memory / 2**30:.1f} GiB" if isinstance(memory, int | float) else None,
        "Threads used": environment.get("threads"),
        "Operating system": environment.get("os"),
        "Python": environment.get("python"),
        "BLAS": "; ".join(
            " ".join(str(b[k]) for k in ("api", "version", "architecture") if b.get(k))
            for b in _mappings(environment.get("blas"))
        ),
        "Packages": ", ".join(f"{k} {v}" for k, v in environment["packages"].items())
        if isinstance(environment.get("packages"), Mapping)
        else None,
        "Commit": f"{commit}{', with local changes' if dirty else ', no local changes' if dirty is False else ''}"
        if commit
        else None,
        "Code sha256": environment.get("code_sha256"),
        "Data": "; ".join(f"{c.get('name')} (sha256 {c.get('sha256')})" for c in _mappings(environment.get("data"))),
        "Plugins": "; ".join(
            f"{c.get('name')} (sha256 {c.get('sha256')})" for c in _mappings(environment.get("plugins"))
        ),
        "Started": environment.get("started"),
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]


def plan_facts(description: Mapping[str, Any]) -> Facts:
    """What was to be measured, from a run's ``run.json``; empty where there is none."""
    plan = description.get("plan")
    if not isinstance(plan, Mapping):
        return []
    words = ["semrsm-bench", "run", "--profile", str(plan.get("profile"))]
    lists = {"--solvers": plan.get("solvers"), "--centring": plan.get("centrings")}
    lists["--layers"] = list(dict.fromkeys(str(x).rpartition("/")[2] for x in plan.get("layers") or []))
    for option, values in lists.items():
        words += [option, ",".join(map(str, values))] if values else []
    for option in ("pairs", "repeats", "deadline", "budget", "memory"):
        words += [f"--{option}", f"{plan[option]}"] if plan.get(option) is not None else []
    return [
        ("Command that measures the same", shlex.join(words)),
        ("Finished", str(description.get("finished") or "not yet")),
    ]


def facts_of(content: Mapping[str, Any]) -> Facts:
    """Options or inputs of a study, one line each."""
    return [(str(name), _told(value)) for name, value in content.items()]


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_told(v)}" for k, v in value.items()) or NOTHING
    if isinstance(value, list | tuple):
        return "; ".join(_told(v) for v in value) or NOTHING
    return NOTHING if value is None else str(value)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
