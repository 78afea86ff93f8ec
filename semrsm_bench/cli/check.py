"""``semrsm-bench check | doctor``: is a method correct enough, or this machine quiet enough, to be measured?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click

from semrsm_bench.cli.options import DataOptions, OutputOptions, PluginOptions, options_from
from semrsm_bench.cli.text import print_json, say
from semrsm_bench.core.options import option

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_MARKS = {"passed": "ok", "failed": "FAILED", "not run": "not run"}


@dataclass(frozen=True)
class CheckOptions(PluginOptions):
    """Which cases, and how they are run."""

    kind: Literal["solver", "rsm", "metric", "instance"] | None = option(
        None, help="Only methods, or cases, of this kind; rsm with a solver's name checks the RSM that it matches."
    )
    cases: tuple[str, ...] = option((), help="Only this case; repeatable. --list-cases names them.", name="case")
    list_cases: bool = option(False, help="Print the cases with what they try, and run none.")
    timeout: float = option(60.0, help="Seconds that one case may take before the method is killed.", positive=True)
    commands: Mapping[str, str] = option(
        {}, help="A program as a solver, as for `run`; repeatable.", name="command", metavar="NAME=COMMAND"
    )
    verbose: bool = option(False, help="Let through what the method prints, and full tracebacks.")


@click.command()
@click.argument("targets", metavar="NAME|FILE.py...", nargs=-1)
@options_from(leave_out=("results", "quiet"))
def check(targets: tuple[str, ...], options: CheckOptions, output: OutputOptions) -> int:
    """Try methods on everything that activations can be: empty, tied, constant, tiny, huge, and more.

    A target is the name of a solver, RSM method, metric or score of single stimuli, or a Python file whose methods are all checked.
    Of a file those that lack a library or an environment are named and left out. Every case runs in a worker under a deadline. Exit
    code 0: all passed; 1: something failed; 2: there was nothing to check.
    """
    from semrsm_bench.bench.check import CaseResult, cases_of, check_method
    from semrsm_bench.bench.methods import KINDS, find_methods
    from semrsm_bench.core.method import UnavailableError

    def shown(text: str, **style: Any) -> None:
        if not output.json:
            say(text, **style)

    if options.list_cases:
        kinds = [options.kind] if options.kind else KINDS
        known = {kind: {c: (f.__doc__ or "").splitlines()[0] for c, f in cases_of(kind).items()} for kind in kinds}
        for kind, cases in known.items():
            shown(kind, bold=True)
            for case, text in cases.items():
                shown(f"  {case:<26}{text}")
        if output.json:
            print_json(known)
        return 0
    targets = (*targets, *(name for name in options.commands if name not in targets))
    if not targets:
        raise click.UsageError("name a method, or a Python file that registers some")
    try:
        methods = find_methods(targets, options.plugins, options.kind, options.commands)
    except UnavailableError as error:
        raise click.UsageError(str(error)) from None

    def show(result: CaseResult) -> None:
        shown(f"  {_MARKS[result.status]:<8}{result.case}" + (f": {result.reason}" if result.reason else ""))

    everything: list[dict[str, Any]] = []
    for method in methods:
        facts = {"kind": method.kind, method.kind: method.name}
        shown(method.name if method.kind == "solver" else f"{method.name} ({method.kind})")
        if method.reason:
            shown(f"  not checked, for it is not available: {method.reason}")
            everything.append({**facts, "passed": None, "reason": method.reason, "cases": []})
            continue
        results = check_method(
            method, timeout=options.timeout, cases=options.cases or None, report=show, show_output=options.verbose
        )
        passed = sum(r.status == "passed" for r in results)
        everything.append({**facts, "passed": passed == len(results), "cases": [asdict(r) for r in results]})
        shown(f"  {passed} of {len(results)} cases passed")
    if output.json:
        print_json(everything)
    return 0 if all(one["passed"] is not False for one in everything) else 1


@click.command()
@click.argument("run", metavar="[RUN]", required=False)
@options_from(leave_out=("quiet",))
def doctor(run: str | None, options: DataOptions, output: OutputOptions) -> int:
    """Check cores, threads, noise, memory, limits, folders, solvers, data and code. Exit code 1: a run would stop here.

    With RUN, a run's id or folder, also whether the machine kept its speed while that was measured.
    """
    from semrsm_bench.bench.doctor import diagnose
    from semrsm_bench.bench.results import find_run

    findings = []
    for finding in diagnose(options.data, find_run(output.results, run) if run else None):
        findings.append(finding)
        if not output.json:
            advice = f"\n{'':19}-> {finding.advice}" if finding.advice else ""
            say(f"{finding.status:<5}", nl=False, fg=_COLOURS[finding.status])
            say(f"{finding.name:<14}{finding.found}{advice}")
    if output.json:
        print_json([asdict(finding) for finding in findings])
    else:
        count = sum(finding.status != "ok" for finding in findings)
        say(f"{count} of {len(findings)} need attention" if count else "no problem found")
    return int(any(finding.status == "fail" for finding in findings))
