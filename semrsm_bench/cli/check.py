"""``semrsm-bench check``: does a solver, built in or your own, do what every solver must?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.core.options import check as check_options
from semrsm_bench.core.options import option


@dataclass(frozen=True)
class CheckOptions:
    """Which cases, and how they are run."""

    plugins: tuple[Path, ...] = option((), help="File that registers methods; repeatable.", name="plugin")
    cases: tuple[str, ...] = option((), help="Only this case; repeatable. --list-cases names them.", name="case")
    list_cases: bool = option(False, help="Print the cases with what they try, and run none.")
    timeout: float = option(60.0, help="Seconds that one case may take before the method is killed.", positive=True)
    verbose: bool = option(False, help="Let through what the method prints, and full tracebacks.")

    def __post_init__(self) -> None:
        check_options(self)


@click.command()
@click.argument("targets", metavar="NAME|FILE.py...", nargs=-1)
@options_from(leave_out=("results", "quiet"))
def check(targets: tuple[str, ...], options: CheckOptions, output: OutputOptions) -> int:
    """Try solvers on everything that activations can be: empty, tied, constant, tiny, huge, and more.

    A target is the name of a solver, or a Python file whose solvers are all checked. Every case runs in a child process under
    a deadline. Exit code 0: all passed; 1: something failed; 2: there was nothing to check.
    """
    from semrsm_bench.solvers.check import CaseResult, check_solver
    from semrsm_bench.solvers.check_cases import CASES
    from semrsm_bench.solvers.registry import load_plugin
    from semrsm_bench.solvers.solver import SolverUnavailableError

    if options.list_cases:
        for case, function in CASES.items():
            click.echo(f"{case:<26}{(function.__doc__ or '').splitlines()[0]}")
        return 0
    if not targets:
        raise click.UsageError("name a solver, or a Python file that registers some")
    files = list(options.plugins)
    names: list[str] = []
    for plugin in options.plugins:
        load_plugin(plugin)
    for target in targets:
        if target.endswith(".py"):
            files.append(Path(target))
            names.extend(load_plugin(target))
        else:
            names.append(target)

    def show(result: CaseResult) -> None:
        if not output.json:
            mark = {"passed": "ok", "failed": "FAILED", "not run": "not run"}[result.status]
            click.echo(f"  {mark:<8}{result.case}" + (f": {result.reason}" if result.reason else ""))

    everything = []
    failed = 0
    for name in dict.fromkeys(names):
        if not output.json:
            click.echo(name)
        try:
            results = check_solver(
                name,
                files,
                timeout=options.timeout,
                cases=options.cases or None,
                report=show,
                show_output=options.verbose,
            )
        except SolverUnavailableError as error:
            raise click.UsageError(str(error)) from None
        passed = sum(r.status == "passed" for r in results)
        failed += len(results) - passed
        everything.append({"solver": name, "passed": passed == len(results), "cases": [asdict(r) for r in results]})
        if not output.json:
            click.echo(f"  {passed} of {len(results)} cases passed")
    if output.json:
        click.echo(json.dumps(everything, indent=2))
    return 1 if failed else 0
