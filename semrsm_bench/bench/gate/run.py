"""The whole gate: two revisions in, findings and an exit code out."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semrsm_bench.bench.cores import claimed_core
from semrsm_bench.bench.gate.measure import Gate
from semrsm_bench.bench.gate.options import EVERYTHING, GateLimits, GateOptions, limits_of
from semrsm_bench.bench.gate.problems import GateProblem, load_problems
from semrsm_bench.bench.gate.revisions import Repository, own_package, prepare, requirements_of, settings_of
from semrsm_bench.bench.gate.side import GateSide, SideError
from semrsm_bench.bench.gate.verdict import Finding, GateCell, exit_code, judge
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.pool import Observer, Scratch, Workers
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
    revisions = {"base": base, "head": head}
    commits = {label: repository.commit(revision) for label, revision in revisions.items()}
    trees = {label: repository.export(commit) for label, commit in commits.items()}
    notices = []
    if repository.dirty:
        notices.append("the working tree has uncommitted changes; they are not part of the comparison")
    limits = limits_of(settings_of(trees["head"]), wanted)
    own = any(map(own_package, trees.values()))
    isolated = wanted.environment == "isolated"
    if wanted.environment == "auto" and own:
        isolated = len(set(map(requirements_of, trees.values()))) > 1
    report(f"base {base} ({commits['base'][:10]}), head {head} ({commits['head'][:10]})")
    report("finding and proving the optima")
    with claimed_core() as core, Scratch() as scratch, contextlib.ExitStack() as stack:
        problems = _problems(wanted, scratch, core)
        if unproved := sum(p.k_opt is None for p in problems):
            notices.append(f"{unproved} of {len(problems)} problems have no proved optimum: only their times count")
        sides: dict[str, GateSide] = {}
        for label in ("head", "base"):
            try:
                setup = prepare(
                    repository, revisions[label], plugins=wanted.plugins, isolated=isolated, own=own, core=core
                )
                sides[label] = stack.enter_context(GateSide(setup, scratch))
            except SideError as error:
                if label == "head":
                    raise
                notices.append(
                    f"the base cannot be measured: {error}; the head was measured alone, and nothing compared"
                )
        solvers = _chosen(wanted, sides, own)
        # As this package declares it: a commit has no say in what is held against it.
        slow = {n: s.slow_from for n in solvers if (s := SOLVERS.find(n)) is not None and s.slow_from is not None}
        if left_out := [f"{n} at S={size}" for n in slow for size in _sizes(problems) if size >= slow[n]]:
            notices.append(f"left out, they take longer than all others together: {', '.join(left_out)}")
        gate = Gate(sides, problems, limits, wanted.deadline)
        cells = gate.cells(solvers, slow)
        gate.measure(cells, quiet=quiet)
    findings = [finding for cell in cells for finding in judge(cell, limits)]
    code = exit_code(cells, findings)
    if "base" not in sides:
        code = code or (0 if wanted.allow_broken_base else 4)
    described = {label: {"revision": revisions[label], "commit": commits[label]} for label in revisions}
    return GateReport(described["base"], described["head"], findings, cells, limits, code, notices)


def _problems(options: GateOptions, scratch: Scratch, core: int | None) -> list[GateProblem]:
    with Workers(core) as workers:
        exact = Observer(workers.of, scratch).exact
        return load_problems(options, lambda problem: OptimumCache().get(problem, exact))


def _sizes(problems: list[GateProblem]) -> list[int]:
    return sorted({problem.case.size for problem in problems})


def _chosen(options: GateOptions, sides: Mapping[str, GateSide], own: bool) -> tuple[str, ...]:
    """Names of the solvers that are measured, in the head's order; a place in a list means nothing here."""
    known: dict[str, Any] = {}
    for side in sides.values():
        known = {**known, **{name: entry for name, entry in side.known.items() if name not in known}}
    # A repository that uses this package answers for the solvers it adds.
    own_solvers = [name for name, entry in known.items() if own or not entry["own"]]
    if not options.methods and not own_solvers:
        raise ValueError(
            "neither commit registers a solver of its own; name the file with --plugin, or solvers with --methods"
        )
    for name in (*options.methods, *(n for n in options.missing if n != EVERYTHING)):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"neither commit has a solver {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return tuple(dict.fromkeys(options.methods or own_solvers))
