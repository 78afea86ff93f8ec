"""The whole gate: two revisions in, findings and an exit code out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semrsm_bench.bench.cases import SLOW_FROM
from semrsm_bench.bench.cores import claimed_core
from semrsm_bench.bench.gate.measure import Gate, GatePlan
from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.bench.gate.problems import load_problems, sizes_available
from semrsm_bench.bench.gate.revisions import (
    Repository,
    own_package,
    prepare,
    settings_of,
    wants_isolation,
)
from semrsm_bench.bench.gate.side import Side, SideError, Source, solver_union
from semrsm_bench.bench.gate.verdict import Finding, GateCell, Limits, exit_code, judge


@dataclass(frozen=True)
class Report:
    """What the gate found.

    Attributes
    ----------
    base, head : dict
        ``revision`` and ``commit`` of each side.
    findings : list of Finding
    cells : list of GateCell
    limits : Limits
    exit_code : int
    notices : list of str
        About the comparison itself.
    """

    base: dict[str, str]
    head: dict[str, str]
    findings: list[Finding]
    cells: list[GateCell]
    limits: Limits
    exit_code: int
    notices: list[str] = field(default_factory=list)


def limits_of(settings: Mapping[str, Any], limits: Limits | None = None) -> Limits:
    """Limits from ``[tool.semrsm-bench.gate]``: keys ``quality``, ``exact``, ``time`` and ``solvers.NAME.quality|time``.

    Raises
    ------
    ValueError
        An unknown key or a limit that makes no sense.
    """
    known = {"quality", "exact", "time", "solvers"}
    solvers = settings.get("solvers", {})
    keys = [(k, known) for k in settings] + [(k, {"quality", "time"}) for entry in solvers.values() for k in entry]
    for key, allowed in keys:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            raise ValueError(
                f"pyproject.toml: [tool.semrsm-bench.gate] has no {key!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(allowed))}")
            )
    general = {key: float(settings[key]) for key in ("quality", "exact", "time") if key in settings}
    return replace(
        limits or Limits(),
        **general,  # type: ignore[arg-type]
        quality_of={name: float(entry["quality"]) for name, entry in solvers.items() if "quality" in entry},
        time_of={name: float(entry["time"]) for name, entry in solvers.items() if "time" in entry},
    )


def run_gate(
    base: str,
    head: str = "HEAD",
    options: GateOptions | None = None,
    *,
    folder: Path | None = None,
    quiet: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Compare two commits of the repository around ``folder``.

    Parameters
    ----------
    base, head : str
        Anything git knows as a commit.
    options : GateOptions, optional
    folder : Path, optional
        Default: the current one.
    quiet : bool
        No progress bars.
    tell : callable
        Called with one line at a time about what goes on.

    Raises
    ------
    ValueError
        No repository, commit, size or solver of that name.
    SideError
        The head cannot be measured.
    """
    wanted = options or GateOptions()
    repository = Repository(folder or Path.cwd())
    revisions = (base, head)
    commits = {revision: repository.commit(revision) for revision in revisions}
    notices = []
    if repository.dirty:
        notices.append("the working tree has uncommitted changes; they are not part of the comparison")
    head_tree = repository.export(commits[head])
    limits = _overridden(limits_of(settings_of(head_tree)), wanted.quality, wanted.time)
    isolated = wants_isolation(repository, revisions, wanted.environment)
    tell(f"base {base} ({commits[base][:10]}), head {head} ({commits[head][:10]})")
    known_sizes = sizes_available(wanted.data)
    tell("making sure of the optima")
    problems = load_problems(wanted.data, wanted.sizes or list(known_sizes), wanted.centrings, wanted.pairs)
    unproved = [p for p in problems if p.k_opt is None]
    if unproved:
        notices.append(f"{len(unproved)} of {len(problems)} problems have no proved optimum: only their times count")
    with claimed_core() as core:
        head_source = prepare(repository, head, "head", wanted.plugins, isolated)
        broken = ""
        with Side(head_source, core) as head_side:
            head_known = head_side.hello()
            base_side: Side | None = None
            base_known: dict[str, dict[str, Any]] = {}
            try:
                base_side = Side(prepare(repository, base, "base", wanted.plugins, isolated), core)
                base_known = base_side.hello()
            except SideError as error:
                broken = f"the base cannot be measured: {error}"
                base_side = None
            chosen = _chosen(wanted.methods, base_known, head_known, head_source)
            slow = _slow(known_sizes)
            left_out = [f"{n} at S={s}" for n, s in slow if n in chosen and any(p.size == s for p in problems)]
            if left_out:
                notices.append(f"left out, they take longer than all others together: {', '.join(left_out)}")
            plan = GatePlan(chosen, limits, wanted.deadline, frozenset(slow))
            gate = Gate(base_side, head_side, (base_known, head_known), problems, plan)
            try:
                cells = gate.measure(quiet=quiet)
            finally:
                if base_side is not None:
                    base_side.close()
    findings = [finding for cell in cells for finding in judge(cell, limits)]
    code = exit_code(cells, findings)
    if broken:
        notices.append(f"{broken}; the head was measured alone, and nothing compared")
        code = code or (0 if wanted.allow_broken_base else 4)
    described = ({"revision": revision, "commit": commits[revision]} for revision in revisions)
    return Report(next(described), next(described), findings, cells, limits, code, notices)


def _overridden(limits: Limits, quality: Mapping[str, float], time: Mapping[str, float]) -> Limits:
    return replace(
        limits,
        quality=quality.get("", limits.quality),
        time=time.get("", limits.time),
        quality_of={**limits.quality_of, **{k: v for k, v in quality.items() if k}},
        time_of={**limits.time_of, **{k: v for k, v in time.items() if k}},
    )


def _slow(sizes: Mapping[int, Any]) -> list[tuple[str, int]]:
    return [(name, size) for name, start in SLOW_FROM.items() for size in sizes if size >= start]


def _chosen(
    solvers: Sequence[str], base: Mapping[str, Any], head: Mapping[str, Any], source: Source
) -> tuple[str, ...]:
    known = solver_union(base, head)
    if not solvers:
        # A repository that uses this package answers for the solvers it adds.
        mine = own_package(source.tree)
        chosen = tuple(n for n in known if mine or not (head.get(n) or base[n])["own"])
        if not chosen:
            raise ValueError(
                "neither commit registers a solver of its own; name the file with --plugin, or solvers with --methods"
            )
        return chosen
    for name in solvers:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"neither commit has a solver {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return tuple(dict.fromkeys(solvers))
