"""The whole gate: two revisions in, findings and an exit code out."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semrsm_bench.bench.cores import claimed_core
from semrsm_bench.bench.engine import Observer, Workers
from semrsm_bench.bench.gate.measure import Gate, GatePlan
from semrsm_bench.bench.gate.options import GateOptions
from semrsm_bench.bench.gate.problems import load_problems
from semrsm_bench.bench.gate.revisions import (
    Repository,
    own_package,
    prepare,
    settings_of,
    wants_isolation,
)
from semrsm_bench.bench.gate.side import Commit, Side, SideError, solver_union
from semrsm_bench.bench.gate.verdict import Finding, GateCell, GateLimits, exit_code, judge
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.process import Scratch
from semrsm_bench.solvers.registry import SOLVERS


@dataclass(frozen=True)
class GateReport:
    """What the gate found.

    Attributes
    ----------
    base, head : dict
        ``revision`` and ``commit`` of each side.
    findings : list of Finding
    cells : list of GateCell
    limits : GateLimits
    exit_code : int
    notices : list of str
        About the comparison itself.
    """

    base: dict[str, str]
    head: dict[str, str]
    findings: list[Finding]
    cells: list[GateCell]
    limits: GateLimits
    exit_code: int
    notices: list[str] = field(default_factory=list)


def limits_of(settings: Mapping[str, Any], limits: GateLimits | None = None) -> GateLimits:
    """GateLimits from ``[tool.semrsm-bench.gate]``: keys ``quality``, ``exact``, ``time`` and ``solvers.NAME.quality|time``.

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
        limits or GateLimits(),
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
    report: Callable[[str], None] = lambda text: None,
) -> GateReport:
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
    report : callable
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
    commits = {revision: repository.commit(revision) for revision in (base, head)}
    notices = []
    if repository.dirty:
        notices.append("the working tree has uncommitted changes; they are not part of the comparison")
    limits = _overridden(limits_of(settings_of(repository.export(commits[head]))), wanted.quality, wanted.time)
    isolated = wants_isolation(repository, (base, head), wanted.environment)
    report(f"base {base} ({commits[base][:10]}), head {head} ({commits[head][:10]})")
    report("making sure of the optima")
    broken = ""
    with claimed_core() as core, Scratch() as scratch, contextlib.ExitStack() as stack:
        with Workers(core) as workers:
            exact = Observer(workers.of, scratch).exact
            problems = load_problems(wanted, lambda problem: OptimumCache().get(problem, exact))
        unproved = [p for p in problems if p.k_opt is None]
        if unproved:
            notices.append(
                f"{len(unproved)} of {len(problems)} problems have no proved optimum: only their times count"
            )

        def started(revision: str, label: str) -> Side:
            made = stack.enter_context(
                Side(prepare(repository, revision, label, wanted.plugins, isolated), scratch, core)
            )
            made.start()
            return made

        head_side = started(head, "head")
        base_side: Side | None = None
        try:
            base_side = started(base, "base")
        except SideError as error:
            broken = f"the base cannot be measured: {error}"
        chosen = _chosen(wanted.methods, base_side.known if base_side else {}, head_side.known, head_side.commit)
        slow = _slow(chosen, {p.size for p in problems})
        if slow:
            left_out = ", ".join(f"{name} at S={size}" for name, size in slow)
            notices.append(f"left out, they take longer than all others together: {left_out}")
        plan = GatePlan(chosen, limits, wanted.deadline, frozenset(slow))
        cells = Gate(base_side, head_side, problems, plan).measure(quiet=quiet)
    findings = [finding for cell in cells for finding in judge(cell, limits)]
    code = exit_code(cells, findings)
    if broken:
        notices.append(f"{broken}; the head was measured alone, and nothing compared")
        code = code or (0 if wanted.allow_broken_base else 4)
    described = ({"revision": revision, "commit": commits[revision]} for revision in (base, head))
    return GateReport(next(described), next(described), findings, cells, limits, code, notices)


def _overridden(limits: GateLimits, quality: Mapping[str, float], time: Mapping[str, float]) -> GateLimits:
    return replace(
        limits,
        quality=quality.get("", limits.quality),
        time=time.get("", limits.time),
        quality_of={**limits.quality_of, **{k: v for k, v in quality.items() if k}},
        time_of={**limits.time_of, **{k: v for k, v in time.items() if k}},
    )


def _slow(names: Sequence[str], sizes: Iterable[int]) -> list[tuple[str, int]]:
    """Cells that quick runs leave out too, as this package declares it: a commit has no say in what is held against it."""
    starts = {name: solver.slow_from for name in names if (solver := SOLVERS.find(name)) is not None}
    return [(n, size) for n, start in starts.items() for size in sorted(sizes) if start is not None and size >= start]


def _chosen(
    solvers: Sequence[str], base: Mapping[str, Any], head: Mapping[str, Any], commit: Commit
) -> tuple[str, ...]:
    known = solver_union(base, head)
    if not solvers:
        # A repository that uses this package answers for the solvers it adds.
        mine = own_package(commit.tree)
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
