"""The whole gate: two revisions in; findings and an exit code out, as text, as Markdown for a pull request and as JSON."""

from __future__ import annotations

import contextlib
import difflib
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semrsm_bench.bench.gate.measure import Gate, load_problems
from semrsm_bench.bench.gate.options import EVERYTHING, GateLimits, GateOptions, limits_of
from semrsm_bench.bench.gate.sides import (
    GateSide,
    Repository,
    SideError,
    build,
    has_package,
    project_of,
    requirements_of,
    worker_setup,
)
from semrsm_bench.bench.gate.verdict import Finding, GateCell, exit_code, judge
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.bench.pool import Observer, Scratch, Workers, claimed_core
from semrsm_bench.bench.process import WorkerProcess
from semrsm_bench.core.escape import escape_markdown
from semrsm_bench.solvers.registry import SOLVERS

_HEADINGS = {
    "regression": "WORSE",
    "failure": "FAILED",
    "unmeasured": "NOT MEASURED",
    "improvement": "BETTER",
    "note": "NOTE",
}
_VERDICTS = {
    0: "PASS: nothing got worse",
    1: "FAIL: something got worse",
    3: "FAIL: a solver failed",
    4: "NOT COMPARED",
}


@dataclass(frozen=True)
class GateReport:
    """What the gate found: ``revision`` and ``commit`` of each side, and notices about the comparison itself beside the verdict."""

    base: dict[str, str]
    head: dict[str, str]
    findings: list[Finding]
    cells: list[GateCell]
    limits: GateLimits
    exit_code: int
    notices: list[str]


def run_gate(
    base: str,
    head: str,
    options: GateOptions,
    *,
    folder: Path | None = None,
    quiet: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> GateReport:
    """Compare two commits of the repository around ``folder``, default: the current one; ``report`` gets lines of progress.

    ValueError: no repository, commit, size or solver of that name. SideError: the head cannot be measured.
    """
    repository = Repository(folder or Path.cwd())
    revisions = {"base": base, "head": head}
    commits = {label: repository.commit(revision) for label, revision in revisions.items()}
    trees = {label: repository.export(commit, options.build) for label, commit in commits.items()}
    for file in options.plugins:
        if not any(repository.plugin(tree, file) for tree in trees.values()):
            raise ValueError(f"plugin {file} is in neither commit: commit it, and name that commit as the head")
    notices = []
    if repository.dirty:
        notices.append("the working tree has uncommitted changes; they are not part of the comparison")
    limits = limits_of(project_of(trees["head"]), options)
    package = any(map(has_package, trees.values()))
    isolated = options.environment == "isolated"
    if options.environment == "auto" and package:
        isolated = len(set(map(requirements_of, trees.values()))) > 1
    report(f"base {base} ({commits['base'][:10]}), head {head} ({commits['head'][:10]})")
    report("finding and proving the optima")
    with claimed_core() as core, Scratch() as scratch, contextlib.ExitStack() as stack:
        with Workers(core) as workers:
            exact = Observer(workers.of, scratch).exact
            problems = load_problems(options, lambda problem: OptimumCache().get(problem, exact))
        if unproved := sum(problem.truth[2].k_opt is None for problem in problems):
            notices.append(f"{unproved} of {len(problems)} problems have no proved optimum: only their times count")
        sides: dict[str, GateSide] = {}
        for label in ("head", "base"):
            plugins = [path for file in options.plugins if (path := repository.plugin(trees[label], file)) is not None]
            try:
                if options.build:
                    report(f"building the {label}: {options.build}")
                    build(trees[label], options.build)
                setup = worker_setup(trees[label], plugins, isolated=isolated, package=package, core=core)
                sides[label] = GateSide(stack.enter_context(WorkerProcess(setup)), scratch)
            except SideError as error:
                if label == "head":
                    raise
                notices.append(f"the base cannot be measured: {error}; nothing was compared")
        solvers = _chosen(options, sides, package)
        # As the installed package declares it, not as the commits do.
        slow = {n: s.slow_from for n in solvers if (s := SOLVERS.find(n)) is not None and s.slow_from is not None}
        sizes = dict.fromkeys(problem.case.size for problem in problems)
        if left_out := [f"{name} at S={size}" for name in slow for size in sizes if size >= slow[name]]:
            notices.append(f"left out, they take longer than all others together: {', '.join(left_out)}")
        gate = Gate(sides, problems, limits, options.deadline)
        cells = gate.cells(solvers, slow)
        gate.measure(cells, quiet=quiet)
    findings = [finding for cell in cells for finding in judge(cell, limits)]
    code = exit_code(cells, findings)
    if "base" not in sides:
        code = code or (0 if options.allow_broken_base else 4)
    described = {label: {"revision": revisions[label], "commit": commits[label]} for label in revisions}
    return GateReport(described["base"], described["head"], findings, cells, limits, code, notices)


def _chosen(options: GateOptions, sides: Mapping[str, GateSide], package: bool) -> tuple[str, ...]:
    """Names of the solvers that are measured, in the head's order; without ``package`` only those that the repository adds."""
    known: dict[str, Any] = {}
    for side in sides.values():
        known |= {name: entry for name, entry in side.known.items() if name not in known}
    added = [name for name, entry in known.items() if package or not entry["own"]]
    if not options.methods and not added:
        raise ValueError("neither commit adds a solver; name its file with --plugin, or use --methods")
    for name in (*options.methods, *(n for n in options.missing if n != EVERYTHING)):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"neither commit has a solver {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return tuple(dict.fromkeys(options.methods or added))


def as_text(report: GateReport) -> str:
    """Findings first, the worst of them on top, then one line for the verdict."""
    compared = [cell.solver for cell in report.cells if cell.comparable]
    again = sum(cell.attempts > 1 for cell in report.cells)
    verdict = (
        f"{_VERDICTS[report.exit_code]} ({len(compared)} cells of {len(set(compared))} solvers compared, {again} of them "
        f"measured again; base {report.base['commit'][:10]}, head {report.head['commit'][:10]})"
    )
    notices = [f"notice: {notice}" for notice in report.notices]
    return "\n".join([*notices, *(f"{heading}  {text}" for heading, text in _said(report)), verdict])


def _said(report: GateReport) -> list[tuple[str, str]]:
    """Heading and text of each finding, the worst first; a note that is the same at every size comes once."""
    said = []
    for severity, heading in _HEADINGS.items():
        texts: dict[str, list[str]] = {}
        for finding in (finding for finding in report.findings if finding.severity == severity):
            place = f" at S={finding.size} ({finding.centring})" if severity == "note" else ""
            texts.setdefault(finding.text.replace(place, "", 1), []).append(finding.text)
        said += [(heading, key if len(same) > 1 else same[0]) for key, same in texts.items()]
    return said


def as_markdown(report: GateReport) -> str:
    """The report for a summary or a comment under a pull request: verdict, findings, table of all cells."""
    lines = [f"### Gate: {_VERDICTS[report.exit_code]}", ""]
    lines += [f"Base `{report.base['commit'][:10]}`, head `{report.head['commit'][:10]}`.", ""]
    lines += [f"> {escape_markdown(notice)}" for notice in report.notices]
    lines += [f"- **{heading.lower()}** {escape_markdown(text)}" for heading, text in _said(report)]
    lines += ["", "<details><summary>All cells</summary>", ""]
    lines += ["| solver | S | centring | c base | c head | ms base | ms head | times as long (interval) |"]
    lines += ["|---|---:|---|---:|---:|---:|---:|---:|"]
    lines += [_line(cell) for cell in report.cells if cell.base.ok or cell.head.ok]
    return "\n".join([*lines, "", "</details>", ""])


def _line(cell: GateCell) -> str:
    qualities, times = [], []
    for side in (cell.base, cell.head):
        qualities.append(f"{side.mean_quality():.4f}" if side.ok and side.quality else "" if side.ok else side.status)
        times.append(f"{1e3 * statistics.median(side.seconds):.3g}" if side.ok and side.seconds else "")
    ratio = cell.time_ratio()
    change = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if math.isfinite(ratio.value) else ""
    return f"| {' | '.join((cell.solver, str(cell.size), cell.centring, *qualities, *times, change))} |"


def as_json(report: GateReport) -> dict[str, Any]:
    """Everything, for machines."""
    found = {**asdict(report), "verdict": _VERDICTS[report.exit_code]}
    for entry, cell in zip(found["cells"], report.cells):
        entry |= {"kind": cell.kind, "time_ratio": [v if math.isfinite(v) else None for v in cell.time_ratio()]}
        for label, side in cell.sides.items():
            mean = side.mean_quality()
            entry[label]["chance_corrected"] = mean if math.isfinite(mean) else None
    return found
